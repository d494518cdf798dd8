/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resource limits.
 *
 * TEST lowered round-trip -- lowered
 * TEST untouched round-trip -- untouched
 * TEST child round-trip -- child
 * TEST thread-of-dead-leader round-trip needs=pidfd_thread -- dead_leader
 * TEST no-descriptors-left round-trip -- nofile
 * TEST soft-limits-here round-trip needs=address_limit under="prlimit --as=40000000: --data=8000000: --fsize=0: --memlock=0: --nofile=40:" -- deleted_file
 * TEST raised restart-refuse code=rlimit.raise under="setpriv --bounding-set=-sys_resource prlimit --msgqueue=100:100" -- untouched
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

#define N 16

static void set(int resource, rlim_t soft, rlim_t hard)
{
	const struct rlimit limit = { soft, hard };

	CHECK(setrlimit(resource, &limit) == 0);
}

static void check(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit limit;

	CHECK(getrlimit(resource, &limit) == 0);
	CHECK_EQ(limit.rlim_cur, soft);
	CHECK_EQ(limit.rlim_max, hard);
}

/* each one to values of its own, in a way that leaves the subject alive */
static void lower_all(void)
{
	set(RLIMIT_CPU, 1000, 1001);
	set(RLIMIT_FSIZE, 10 << 20, 11 << 20);
	set(RLIMIT_DATA, 1 << 30, 2u << 30);
	set(RLIMIT_STACK, 1 << 20, 2 << 20);
	set(RLIMIT_CORE, 4096, 8192);
	set(RLIMIT_RSS, 3 << 20, 4 << 20);
	set(RLIMIT_NPROC, 500, 600);
	set(RLIMIT_NOFILE, 20, 30);
	set(RLIMIT_MEMLOCK, 4096, 65536);
	set(RLIMIT_AS, 3ull << 30, 4ull << 30);
	set(RLIMIT_LOCKS, 7, 8);
	set(RLIMIT_SIGPENDING, 100, 101);
	set(RLIMIT_MSGQUEUE, 1000, 1001);
	set(RLIMIT_NICE, 0, 0);
	set(RLIMIT_RTPRIO, 0, 0);
	set(RLIMIT_RTTIME, 1000000, RLIM_INFINITY);
}

static void read_all(struct rlimit limits[N])
{
	for (int i = 0; i < N; i++)
		CHECK(getrlimit(i, &limits[i]) == 0);
}

static void check_all(const struct rlimit limits[N])
{
	for (int i = 0; i < N; i++)
		check(i, limits[i].rlim_cur, limits[i].rlim_max);
}

static void lowered(void)
{
	struct rlimit limits[N];

	lower_all();
	read_all(limits);
	subject_checkpoint();
	check_all(limits);
	check(RLIMIT_NOFILE, 20, 30);
}

static void untouched(void)
{
	struct rlimit limits[N];

	read_all(limits);
	subject_checkpoint();
	check_all(limits);
}

static void child(void)
{
	struct rlimit limits[N];

	read_all(limits);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		lower_all();
		read_all(limits);
		subject_mark("child");
		subject_wait_go();
		check_all(limits);
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	check_all(limits);
	subject_check_exit(pid, 0);
}

static void *survivor(void *arg)
{
	char text[64];
	int state = 0;

	/* the leader is a zombie while this thread lives */
	while (state != 'Z') {
		FILE *f = fopen("/proc/self/stat", "re");
		CHECK(f && fgets(text, sizeof(text), f));
		fclose(f);
		state = strrchr(text, ')')[2];
	}
	subject_checkpoint();
	check(RLIMIT_CORE, 4096, 8192);
	exit(0);
}

static void dead_leader(void)
{
	pthread_t t;

	set(RLIMIT_CORE, 4096, 8192);
	CHECK(pthread_create(&t, NULL, survivor, NULL) == 0);
	pthread_exit(NULL);
}

/* fewer descriptors than are open: the limit comes after them */
static void nofile(void)
{
	for (int i = 0; i < 8; i++)
		CHECK(open("/dev/null", O_RDONLY) >= 0);
	set(RLIMIT_NOFILE, 2, 2);
	/* with no descriptor to be had, the files are looked for by access(2) alone */
	CHECK(mknod("ready", 0100644, 0) == 0);
	subject_wait("go");
	check(RLIMIT_NOFILE, 2, 2);
}

/* what takes a restart address space, memory and a file of its own */
static void deleted_file(void)
{
	size_t size = 64 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("gone", O_CREAT | O_RDWR, 0600);

	CHECK(memory != MAP_FAILED && fd >= 0 && unlink("gone") == 0);
	CHECK(write(fd, "contents", 8) == 8);
	memory[size - 1] = 1;
	subject_checkpoint();
	CHECK_EQ(memory[size - 1], 1);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(lowered), CASE(untouched), CASE(child),
	                     CASE(dead_leader), CASE(nofile), CASE(deleted_file));
}
