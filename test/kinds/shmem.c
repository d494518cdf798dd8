/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared anonymous memory: within a process, between relatives, mapped in parts, sparse.
 *
 * TEST alone round-trip -- alone
 * TEST relatives round-trip -- relatives
 * TEST parts round-trip needs=map_files -- parts
 * TEST sparse round-trip -- sparse
 * TEST orphans round-trip -- orphans
 * TEST protections round-trip -- protections
 * TEST large round-trip -- large
 * TEST outsider refuse code=leak -- outsider
 *
 * Without map_files, seen through the mappings of the tasks:
 * TEST seen-alone round-trip without=map_files -- alone
 * TEST seen-relatives round-trip without=map_files -- relatives
 * TEST seen-sparse round-trip without=map_files -- sparse
 * TEST seen-orphans round-trip without=map_files -- orphans
 * TEST seen-protections round-trip without=map_files -- protections
 * TEST seen-large round-trip without=map_files -- large
 * TEST seen-together round-trip without=map_files -- together
 * TEST seen-named round-trip without=map_files -- named
 * TEST seen-parts refuse without=map_files code=mm.shared-parts -- parts
 * TEST seen-start refuse without=map_files code=mm.shared-parts -- start
 * TEST seen-grown refuse without=map_files code=mm.shared-parts -- grown
 * TEST private restart-refuse needs=map_files without=map_files code=not.supported -- private
 * TEST reserved restart-refuse needs=map_files without=map_files code=not.supported -- reserved
 */
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>

#include "cases.h"
#include "mm.h"

static void alone(void)
{
	char *p = mm_anon(64, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *q = mremap(p, 0, 64 * PAGE, MREMAP_MAYMOVE); /* the same memory once more */

	CHECK(q != MAP_FAILED);
	mm_fill(p, 10, 1);
	memset(p + 20 * PAGE, 0, 5 * PAGE);
	subject_checkpoint();
	mm_check(q, 10, 1);
	mm_check_zero(q + 10 * PAGE, 54);
	mm_fill(q + 30 * PAGE, 1, 2);
	mm_check(p + 30 * PAGE, 1, 2);
}

/* child and grandchild write, all see it; two segments are not one */
static void relatives(void)
{
	volatile uint64_t *p = mm_anon(16, PROT_READ | PROT_WRITE, MAP_SHARED);
	volatile uint64_t *q = mm_anon(16, PROT_READ | PROT_WRITE, MAP_SHARED);
	pid_t child;

	mm_fill((void *)(p + 512), 3, 1);
	mm_fill((void *)(q + 512), 3, 2);
	child = fork();
	if (child == 0) {
		pid_t grandchild = fork();
		if (grandchild == 0) {
			p[4] = (uint64_t)getpid();
			p[1] = 11;
			subject_wait_go();
			mm_check((void *)(p + 512), 3, 1);
			p[2] = 22, q[2] = 33;
			_exit(0);
		}
		while (p[1] != 11)
			usleep(1000);
		p[0] = 1;
		subject_wait_go();
		mm_reap(grandchild);
		CHECK(p[2] == 22 && q[2] == 33);
		p[3] = 44;
		_exit(0);
	}
	while (p[0] != 1)
		usleep(1000);
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_wait_call((pid_t)p[4], SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child);
	CHECK(p[0] == 1 && p[1] == 11 && p[2] == 22 && p[3] == 44 && q[2] == 33 && q[0] == 0);
	mm_check((void *)(q + 512), 3, 2);
}

/* the child has kept the middle only, elsewhere; the parent the ends; the first page nobody maps */
static void parts(void)
{
	char *p = mm_anon(32, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *room = mm_anon(64, PROT_NONE, 0);
	pid_t child;

	mm_fill(p, 32, 1);
	child = fork();
	if (child == 0) {
		CHECK(munmap(p, 8 * PAGE) == 0 && munmap(p + 24 * PAGE, 8 * PAGE) == 0);
		char *q = mremap(p + 8 * PAGE, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		                 room + 5 * PAGE);
		CHECK(q == room + 5 * PAGE);
		subject_mark("child");
		subject_wait_go();
		for (int i = 0; i < 16; i++)
			CHECK_EQ(*(uint64_t *)(q + i * PAGE), mm_word(1, 8 + i, 0));
		*(volatile uint64_t *)(q + 16 * PAGE - 8) =
			4711; /* page 23: the parent has it, too */
		_exit(0);
	}
	subject_wait("child");
	CHECK(munmap(p, PAGE) == 0 && munmap(p + 4 * PAGE, 12 * PAGE) == 0);
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child);
	CHECK_EQ(*(uint64_t *)(p + 24 * PAGE - 8), 4711);
	for (int i = 1; i < 4; i++)
		CHECK_EQ(*(uint64_t *)(p + i * PAGE), mm_word(1, i, 0));
	for (int i = 16; i < 32; i++)
		CHECK_EQ(*(uint64_t *)(p + i * PAGE), mm_word(1, i, 0));
}

static void sparse(void)
{
	const uint64_t n = 1ul << 20;
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE);

	for (uint64_t i = 0; i < n; i += n / 32)
		mm_fill(p + i * PAGE, 1, i);
	CHECK(madvise(p, PAGE, MADV_REMOVE) == 0); /* a hole */
	subject_checkpoint();
	mm_check_zero(p, 2);
	for (uint64_t i = n / 32; i < n; i += n / 32)
		mm_check(p + i * PAGE, 1, i);
}

/* only the two children have it: the parent has unmapped it */
static void orphans(void)
{
	volatile uint64_t *p = mm_anon(4, PROT_READ | PROT_WRITE, MAP_SHARED);
	pid_t child[2];

	mm_fill((void *)(p + 512), 3, 1);
	for (int i = 0; i < 2; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			subject_wait_go();
			mm_check((void *)(p + 512), 3, 1);
			p[i] = 1;
			while (!p[1 - i])
				usleep(1000);
			_exit(0);
		}
	}
	CHECK(munmap((void *)p, 4 * PAGE) == 0);
	subject_wait_call(child[0], SYS_clock_nanosleep);
	subject_wait_call(child[1], SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child[0]);
	mm_reap(child[1]);
}

static void protections(void)
{
	char *p = mm_anon(12, PROT_READ | PROT_WRITE, MAP_SHARED);

	mm_fill(p, 12, 1);
	CHECK(mprotect(p, 4 * PAGE, PROT_NONE) == 0);
	CHECK(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ) == 0);
	subject_checkpoint();
	CHECK(write(2, p, 1) == -1 && errno == EFAULT);
	CHECK(mprotect(p, 12 * PAGE, PROT_READ | PROT_WRITE) == 0);
	mm_check(p, 12, 1);
	mm_fill(p, 12, 2);
	mm_check(p, 12, 2);
}

/* no task has all of it, but one the one part and another the other; they overlap */
static void together(void)
{
	char *p = mm_anon(16, PROT_READ | PROT_WRITE, MAP_SHARED);
	pid_t child;

	mm_fill(p, 10, 1);
	mm_fill(p + 13 * PAGE, 1, 2);
	child = fork();
	if (child == 0) {
		CHECK(munmap(p, 4 * PAGE) == 0);
		subject_mark("child");
		subject_wait_go();
		CHECK_EQ(*(uint64_t *)(p + 5 * PAGE), mm_word(1, 5, 0));
		mm_check(p + 13 * PAGE, 1, 2);
		_exit(0);
	}
	subject_wait("child");
	CHECK(munmap(p + 8 * PAGE, 8 * PAGE) == 0);
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child);
	mm_check(p, 8, 1);
}

static void named(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, MAP_SHARED);

	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4 * PAGE, "called so"); /* Linux 6.2 */
	mm_fill(p, 3, 1);
	subject_checkpoint();
	mm_check(p, 3, 1);
}

/* what comes behind it nobody sees */
static void start(void)
{
	char *p = mm_anon(8, PROT_READ | PROT_WRITE, MAP_SHARED);

	mm_fill(p, 8, 1);
	CHECK(munmap(p + 4 * PAGE, 4 * PAGE) == 0);
	subject_checkpoint();
	mm_check(p, 4, 1);
}

/* where there is nothing */
static void grown(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, MAP_SHARED);

	mm_fill(p, 4, 1);
	p = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	subject_checkpoint();
	mm_check(p, 4, 1);
}

/* the file of it, which the kernel shows those who may see it */
static int open_file(char *p, size_t pages)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p,
	         (unsigned long)(p + pages * PAGE));
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	return fd;
}

static void private(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, MAP_SHARED);
	int fd = open_file(p, 4);

	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	close(fd);
	subject_checkpoint();
}

static void reserved(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, MAP_SHARED);
	int fd = open_file(p, 4);

	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0) != MAP_FAILED);
	close(fd);
	subject_checkpoint();
}

/* a child has left the set, since its parent has ended */
static void outsider(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, MAP_SHARED);

	mm_fill(p, 4, 1);
	mm_leave_outside();
	subject_checkpoint();
	mm_check(p, 4, 1);
}

static void large(void)
{
	const uint64_t n = 16384; /* 64 MiB */
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, MAP_SHARED);

	mm_fill(p, n, 1);
	subject_checkpoint();
	mm_check(p, n, 1);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(relatives), CASE(parts), CASE(sparse), CASE(orphans),
	                     CASE(protections), CASE(large), CASE(alone), CASE(together),
	                     CASE(named), CASE(start), CASE(grown), CASE(private), CASE(reserved),
	                     CASE(outsider));
}
