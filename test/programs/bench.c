/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tools/bench checkpoints: memory of a size, processes of a number, mappings. Waits for ever.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../kinds/subject.h"

static void *fill(size_t size, bool text)
{
	static const char words[] = "the quick brown fox jumps over the lazy dog 0123456789\n";
	uint64_t x = 88172645463325252ull;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (size_t i = 0; i < size; i += 8) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		memcpy(p + i, text ? (const void *)(words + x % 48) : (const void *)&x, 8);
	}
	return p;
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void *idle(void *unused)
{
	(void)unused;
	wait_for_ever();
	return NULL;
}

static void make_threads(long n)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	while (n-- > 0)
		CHECK(pthread_create(&thread, &attr, idle, NULL) == 0);
}

/* each an open file description of its own, of one file */
static void open_descriptors(long n)
{
	struct rlimit limit = { 65536, 65536 };

	setrlimit(RLIMIT_NOFILE, &limit);
	while (n-- > 0)
		CHECK(open("bytes", O_RDWR | O_CREAT, 0600) >= 0);
}

/* one mount in ten is a tmpfs of its own, the others show a directory of the first */
static void make_mounts(long n)
{
	char path[32];

	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("bench", "/mnt", "tmpfs", 0, NULL) == 0);
	for (long i = 1; i < n; i++) {
		snprintf(path, sizeof(path), "/mnt/%ld", i);
		CHECK(mkdir(path, 0755) == 0);
		CHECK(i % 10 ? mount("/mnt/1", path, NULL, MS_BIND, NULL) == 0
		             : mount("bench", path, "tmpfs", 0, NULL) == 0);
	}
}

/* a tmpfs of its own, with files of 1 MiB */
static void make_content(long mib, bool text)
{
	char path[32], *bytes = fill(1 << 20, text);

	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("bench", "/mnt", "tmpfs", 0, "size=90%") == 0);
	for (long i = 0; i < mib; i++) {
		snprintf(path, sizeof(path), "/mnt/%ld", i);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		memcpy(bytes, &i, sizeof(i)); /* no two are the same */
		CHECK(fd >= 0 && write(fd, bytes, 1 << 20) == 1 << 20);
		close(fd);
	}
	CHECK(munmap(bytes, 1 << 20) == 0);
}

/* one process of a container, which says so; the first of them is its init */
static void live_in_container(int to, long n)
{
	CHECK(setsid() > 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
	CHECK(mount("bench", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(sethostname("bench", 5) == 0);
	while (n-- > 1)
		if (fork() == 0)
			break;
	CHECK(write(to, "x", 1) == 1);
}

/* @containers of @n processes each */
static void make_containers(const int fds[2], long containers, long n)
{
	unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD;
	char byte;

	for (long i = 0; i < containers; i++) {
		if (syscall(SYS_clone, flags, 0, 0, 0, 0) == 0) {
			live_in_container(fds[1], n);
			close(fds[0]), close(fds[1]);
			wait_for_ever();
		}
	}
	for (long i = 0; i < containers * n; i++)
		CHECK(read(fds[0], &byte, 1) == 1);
}

int main(int argc, char **argv)
{
	long a = argc > 2 ? atol(argv[2]) : 0, b = argc > 3 ? atol(argv[3]) : 0;
	int fds[2];
	char byte;

	CHECK(argc > 1 && pipe(fds) == 0);
	if (!strcmp(argv[1], "memory"))
		fill((size_t)a << 20, !strcmp(argv[3], "text"));
	if (!strcmp(argv[1], "content"))
		make_content(a, !strcmp(argv[3], "text"));
	if (!strcmp(argv[1], "forked"))
		fill((size_t)b << 20, false);
	if (!strcmp(argv[1], "threads"))
		make_threads(a);
	if (!strcmp(argv[1], "containers"))
		make_containers(fds, a, b);
	if (!strcmp(argv[1], "alone") || !strcmp(argv[1], "forked") ||
	    !strcmp(argv[1], "descriptors") || !strcmp(argv[1], "mounts")) {
		for (long i = 0; i < a; i++) {
			if (fork() == 0) {
				if (!strcmp(argv[1], "descriptors"))
					open_descriptors(b);
				if (!strcmp(argv[1], "mounts"))
					make_mounts(b);
				if (!strcmp(argv[1], "alone"))
					fill((size_t)b << 20, false);
				CHECK(write(fds[1], "x", 1) == 1);
				close(fds[0]), close(fds[1]);
				wait_for_ever();
			}
		}
		for (long i = 0; i < a; i++)
			CHECK(read(fds[0], &byte, 1) == 1);
	}
	if (!strcmp(argv[1], "mappings")) {
		for (long i = 0; i < a; i++) {
			char *p = mmap(NULL, 8192, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
			               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			CHECK(p != MAP_FAILED);
			if (i % 2 == 0)
				*p = 1;
		}
	}
	close(fds[0]), close(fds[1]);
	subject_mark("ready");
	wait_for_ever();
}
