/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said of mappings: madvise(2), locks, guard regions, NUMA policies, seals, huge pages.
 * That the words in VmFlags are the same is compared by the observer; here is what they do.
 *
 * TEST advice round-trip
 * TEST fork round-trip -- fork
 * TEST sealed-elsewhere restart-refuse needs=mseal code=not.supported under="env STASIS_WITHOUT=mseal" -- sealed
 * TEST droppable-elsewhere restart-refuse needs=map_droppable code=not.supported under="env STASIS_WITHOUT=map_droppable" -- droppable
 * TEST guard-elsewhere restart-refuse needs=madv_guard,pagemap_scan_guard code=not.supported under="env STASIS_WITHOUT=madv_guard" -- guard
 * TEST droppable round-trip needs=map_droppable -- droppable
 * TEST sealed round-trip needs=mseal -- sealed
 * TEST guard round-trip needs=madv_guard,pagemap_scan_guard -- guard
 * TEST numa round-trip -- numa
 * TEST numa-large round-trip -- numa-large
 * TEST thp round-trip observe=no -- thp
 * TEST ksm round-trip -- ksm
 * TEST hugetlb round-trip -- hugetlb
 * TEST name round-trip -- name
 *
 * thp is not observed: khugepaged fills the hole whenever it likes.
 */
#include <linux/mempolicy.h>
#include <sys/file.h>

#include "mm.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif
#ifndef __NR_mseal
#define __NR_mseal 462
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* each word on anonymous memory, shared memory and a file where the kernel takes it */
static void advice(void)
{
	static const struct {
		int advice;
		const char *word;
		bool anonymous_only;
	} all[] = {
		{ MADV_DONTFORK, "dc", false },   { MADV_WIPEONFORK, "wf", true },
		{ MADV_DONTDUMP, "dd", false },   { MADV_MERGEABLE, "mg", true },
		{ MADV_HUGEPAGE, "hg", true },    { MADV_NOHUGEPAGE, "nh", true },
		{ MADV_SEQUENTIAL, "sr", false }, { MADV_RANDOM, "rr", false },
	};
	char *p[8][4];
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(ftruncate(fd, 16 * PAGE) == 0);
	for (int i = 0; i < 8; i++) {
		p[i][0] = mm_anon(16, PROT_READ | PROT_WRITE, 0);
		p[i][1] = mm_anon(16, PROT_READ | PROT_WRITE, MAP_SHARED);
		p[i][2] = mmap(NULL, 16 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
		p[i][3] = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		for (int k = 0; k < (all[i].anonymous_only ? 1 : 4); k++) {
			CHECK(madvise(p[i][k] + PAGE, 14 * PAGE, all[i].advice) == 0);
			CHECK(mm_flag(p[i][k] + PAGE, all[i].word));
		}
		mm_fill(p[i][0], 16, i);
	}
	subject_checkpoint();
	for (int i = 0; i < 8; i++) {
		mm_check(p[i][0], 16, i);
		for (int k = 0; k < (all[i].anonymous_only ? 1 : 4); k++) {
			CHECK(mm_flag(p[i][k] + PAGE, all[i].word));
			CHECK(mm_flag(p[i][k] + 14 * PAGE, all[i].word));
			CHECK(!mm_flag(p[i][k], all[i].word));
			CHECK(!mm_flag(p[i][k] + 15 * PAGE, all[i].word));
		}
	}
}

/* what fork(2) does with them: before, in a child that is restarted as well, and after */
static void fork_advice(void)
{
	char *dont = mm_anon(4, PROT_READ | PROT_WRITE, 0), *wipe, *plain;
	pid_t child;

	wipe = mm_anon(4, PROT_READ | PROT_WRITE, 0);
	plain = mm_anon(4, PROT_READ | PROT_WRITE, 0);
	mm_fill(dont, 4, 1), mm_fill(wipe, 4, 2), mm_fill(plain, 4, 3);
	CHECK(madvise(dont, 4 * PAGE, MADV_DONTFORK) == 0);
	CHECK(madvise(wipe, 4 * PAGE, MADV_WIPEONFORK) == 0);
	for (int i = 0; i < 2; i++) {
		child = fork();
		if (child == 0) {
			if (i == 0)
				subject_wait_go();
			CHECK(write(2, dont, 0) == 0 && msync(dont, PAGE, MS_ASYNC) == -1);
			mm_check_zero(wipe, 4);
			mm_check(plain, 4, 3);
			_exit(0);
		}
		if (i == 0) {
			subject_wait_call(child, SYS_clock_nanosleep);
			subject_checkpoint();
		}
		mm_reap(child);
	}
	mm_check(dont, 4, 1), mm_check(wipe, 4, 2), mm_check(plain, 4, 3);
}

static void droppable(void)
{
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_DROPPABLE | MAP_ANONYMOUS, -1,
	               0);

	if (p == MAP_FAILED)
		SKIP("no MAP_DROPPABLE here");
	mm_fill(p, 8, 1);
	subject_checkpoint();
	CHECK(mm_flag(p, "dp"));
	for (int i = 0; i < 8; i++) /* any page may have been dropped */
		if (*(uint64_t *)(p + i * PAGE))
			CHECK_EQ(*(uint64_t *)(p + i * PAGE + 8), mm_word(1, i, 1));
}

static void sealed(void)
{
	char *p = mm_anon(16, PROT_READ | PROT_WRITE, 0),
	     *q = mm_anon(16, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, 16, 1), mm_fill(q, 8, 2);
	CHECK(mprotect(q, 16 * PAGE, PROT_READ) == 0);
	if (syscall(__NR_mseal, p, 8 * PAGE, 0) < 0)
		SKIP("no mseal here");
	CHECK(syscall(__NR_mseal, q, 16 * PAGE, 0) == 0);
	subject_checkpoint();
	mm_check(p, 16, 1), mm_check(q, 8, 2);
	CHECK(munmap(p, PAGE) == -1 && errno == EPERM);
	CHECK(mprotect(p, PAGE, PROT_READ) == -1 && errno == EPERM);
	CHECK(mprotect(q, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EPERM);
	CHECK(munmap(p + 8 * PAGE, PAGE) == 0);
}

static void guard(void)
{
	char *p = mm_anon(64, PROT_READ | PROT_WRITE, 0), *s, *f;
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	mm_fill(p, 64, 1);
	if (madvise(p + 8 * PAGE, 8 * PAGE, MADV_GUARD_INSTALL) < 0)
		SKIP("no guard regions here");
	CHECK(madvise(p + 32 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0);
	CHECK(madvise(p + 63 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0);
	CHECK(ftruncate(fd, 8 * PAGE) == 0);
	s = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	f = mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	bool on_files = madvise(s + PAGE, PAGE, MADV_GUARD_INSTALL) == 0;
	if (on_files) /* Linux 6.15 */
		CHECK(madvise(f + 2 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL) == 0);
	subject_checkpoint();
	for (int i = 0; i < 64; i++) {
		bool is_guard = (i >= 8 && i < 16) || i == 32 || i == 63;
		CHECK_EQ(write(fd, p + i * PAGE, 1), is_guard ? -1 : 1);
		if (!is_guard)
			CHECK_EQ(*(uint64_t *)(p + i * PAGE), mm_word(1, i, 0));
	}
	if (on_files)
		for (int i = 0; i < 8; i++) {
			CHECK_EQ(write(fd, s + i * PAGE, 1), i == 1 ? -1 : 1);
			CHECK_EQ(write(fd, f + i * PAGE, 1), i == 2 || i == 3 ? -1 : 1);
		}
}

static int policy_at(void *p, unsigned long *mask)
{
	int mode = -1;

	CHECK(syscall(SYS_get_mempolicy, &mode, mask, 1024ul, p, MPOL_F_ADDR) == 0);
	return mode;
}

/*
 * one node is all that this machine has: bound to node 0, interleaved over it, preferring it, local
 */
static void numa(void)
{
	static const int modes[] = { MPOL_BIND,
		                     MPOL_INTERLEAVE,
		                     MPOL_PREFERRED,
		                     5 /* PREFERRED_MANY */,
		                     MPOL_BIND | MPOL_F_STATIC_NODES,
		                     MPOL_PREFERRED | MPOL_F_RELATIVE_NODES,
		                     MPOL_LOCAL };
	unsigned long nodes = 1, mask[16];
	char *p[7], *s = mm_anon(16, PROT_READ | PROT_WRITE, MAP_SHARED);
	int got[7];

	for (int i = 0; i < 7; i++) {
		p[i] = mm_anon(16, PROT_READ | PROT_WRITE, 0);
		bool local = modes[i] == MPOL_LOCAL;
		if (syscall(SYS_mbind, p[i] + PAGE, 8 * PAGE, modes[i], local ? NULL : &nodes,
		            local ? 0ul : 64ul, 0) < 0)
			SKIP("mbind of mode %d: %s", modes[i], strerror(errno));
		mm_fill(p[i], 16, i);
		got[i] = policy_at(p[i] + PAGE, mask);
	}
	CHECK(syscall(SYS_mbind, s, 4 * PAGE, MPOL_BIND, &nodes, 64ul, 0) == 0);
	mm_fill(s, 2, 50);
	subject_checkpoint();
	for (int i = 0; i < 7; i++) {
		memset(mask, 0, sizeof(mask));
		CHECK_EQ(policy_at(p[i] + PAGE, mask), got[i]);
		if (modes[i] != MPOL_LOCAL)
			CHECK_EQ(mask[0], 1);
		CHECK_EQ(policy_at(p[i], mask), MPOL_DEFAULT);
		CHECK_EQ(policy_at(p[i] + 9 * PAGE, mask), MPOL_DEFAULT);
		mm_check(p[i], 16, i);
	}
	CHECK_EQ(policy_at(s, mask), MPOL_BIND);
	CHECK_EQ(policy_at(s + 4 * PAGE, mask), MPOL_DEFAULT);
	mm_check(s, 2, 50);
}

/* with so many pages that the task is asked for policies before numa_maps is read */
static void numa_large(void)
{
	char *p = mm_anon(40000, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, 40000, 7);
	numa();
	mm_check(p, 40000, 7);
}

/* a huge page whole, one with a hole, and one of which a part has been zeroed */
static void thp(void)
{
	char *room = mm_anon(4096, PROT_NONE, MAP_NORESERVE);
	char *p = (char *)(((uintptr_t)room + (2 << 20) - 1) & ~((2ul << 20) - 1));

	CHECK(mprotect(p, 6 << 20, PROT_READ | PROT_WRITE) == 0);
	if (madvise(p, 6 << 20, MADV_HUGEPAGE) < 0)
		SKIP("no transparent huge pages here");
	mm_fill(p, 1536, 1);
	CHECK(madvise(p + (3 << 20), 16 * PAGE, MADV_DONTNEED) == 0);
	memset(p + (5 << 20), 0, 100 * PAGE);
	subject_checkpoint();
	mm_check(p, 768, 1);
	mm_check_zero(p + (3 << 20), 16);
	mm_check_zero(p + (5 << 20), 100);
	CHECK_EQ(*(uint64_t *)(p + 1535 * PAGE), mm_word(1, 1535, 0));
}

/* pages that the kernel has merged: within one process, and with a child; each is its own on
 * writing */
static void ksm(void)
{
	char *p = mm_anon(64, PROT_READ | PROT_WRITE, 0);
	char text[16] = "";

	for (int i = 0; i < 64; i++)
		mm_fill(p + i * PAGE, 1, i / 32);
	if (madvise(p, 64 * PAGE, MADV_MERGEABLE) < 0)
		SKIP("no KSM here");
	pid_t child = fork();
	if (child == 0) {
		mm_fill(p, 1, 0); /* its own, and the same */
		subject_mark("child");
		subject_wait_go();
		for (int i = 0; i < 64; i++)
			mm_check(p + i * PAGE, 1, i / 32);
		mm_fill(p, 64, 9);
		mm_check(p, 64, 9);
		_exit(0);
	}
	subject_wait("child");
	FILE *run = fopen("/sys/kernel/mm/ksm/run", "r+e");
	if (!run) {
		subject_mark("go");
		SKIP("KSM cannot be started");
	}
	CHECK(fgets(text, sizeof(text), run));
	rewind(run);
	CHECK(fputs("1\n", run) >= 0 && fflush(run) == 0);
	for (int i = 0; i < 200; i++) { /* until most are merged, or not: both must hold */
		uint64_t merged = 0;
		for (int k = 0; k < 64; k++)
			merged += (mm_pagemap(p + k * PAGE) >> 56 & 1) == 0;
		if (merged > 50)
			break;
		usleep(20000);
	}
	rewind(run);
	CHECK(fputs(text, run) >= 0 && fclose(run) == 0);
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child);
	for (int i = 0; i < 64; i++)
		mm_check(p + i * PAGE, 1, i / 32);
	mm_fill(p, 64, 3);
	mm_check(p, 64, 3);
}

static long huge_pages(long want)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	if (want >= 0) {
		int n = snprintf(text, sizeof(text), "%ld\n", want);
		CHECK(pwrite(fd, text, (size_t)n, 0) == n);
	}
	close(fd);
	return atol(text);
}

/*
 * Huge pages proper, private and shared with a child. The number of them is the machine's: a
 * guardian outside the set raises it and puts it back when the last that uses it has gone; one test
 * at a time.
 */
static void hugetlb(void)
{
	const size_t size = 6 << 20;
	int lock = open("/tmp/stasis-hugetlb.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666), ready[2];
	pid_t helper;
	char byte;

	CHECK(lock >= 0 && pipe2(ready, O_CLOEXEC) == 0);
	helper = fork();
	if (helper == 0) {
		if (fork() != 0)
			_exit(0);
		setsid();
		for (int i = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC); i < 3; i++)
			dup2(null, i); /* what the set has open is not held outside */
		CHECK(flock(lock, LOCK_EX) == 0);
		long before = huge_pages(-1), after = huge_pages(before + 12);
		CHECK(write(ready[1], "x", 1) == 1);
		subject_wait("done");
		if (after == before + 12)
			huge_pages(before);
		_exit(0);
	}
	close(lock);
	mm_reap(helper);
	CHECK(read(ready[0], &byte, 1) == 1);
	close(ready[0]), close(ready[1]);
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	char *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
	               -1, 0);
	if (p == MAP_FAILED || s == MAP_FAILED) {
		subject_mark("done");
		SKIP("no huge pages to be had");
	}
	mm_fill(p, 512, 1);
	mm_fill(p + (4 << 20), 1, 2);
	mm_fill(s + (2 << 20), 512, 3);
	pid_t child = fork();
	if (child == 0) {
		subject_wait_go();
		mm_check(s + (2 << 20), 512, 3);
		mm_check(p, 512, 1);
		mm_fill(s, 1, 4);
		_exit(0);
	}
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child);
	CHECK(mm_flag(p, "ht") && mm_flag(s, "ht"));
	mm_check(p, 512, 1);
	mm_check(p + (4 << 20), 1, 2);
	mm_check_zero(p + (4 << 20) + PAGE, 511);
	mm_check(s + (2 << 20), 512, 3);
	mm_check(s, 1, 4);
	munmap(p, size), munmap(s, size);
	subject_mark("done");
}

static void name(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, 0), *s = mm_anon(4, PROT_READ, MAP_SHARED);

	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * PAGE, "my memory") < 0)
		SKIP("this kernel has no names of mappings");
	CHECK(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, s, 4 * PAGE, "shared memory") == 0);
	mm_fill(p, 4, 1);
	subject_checkpoint(); /* the observer compares the names */
	mm_check(p, 4, 1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{ "advice", advice },         { "fork", fork_advice }, { "droppable", droppable },
		{ "sealed", sealed },         { "guard", guard },      { "numa", numa },
		{ "numa-large", numa_large }, { "thp", thp },          { "ksm", ksm },
		{ "hugetlb", hugetlb },       { "name", name }
	};

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(tests[i].name, argc > 1 ? argv[1] : "advice"))
			tests[i].run();
	return 0;
}
