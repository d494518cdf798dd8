/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transparent huge pages: a program has them where it had them, alone or shared since fork, and
 * nowhere else: what was partly there does not become whole.
 *
 * TEST own round-trip -- own
 * TEST parts round-trip -- parts
 * TEST shared round-trip -- shared
 * TEST shared-parts round-trip -- shared-parts
 * TEST split round-trip -- split
 * TEST zeros round-trip -- zeros
 * TEST disabled round-trip -- disabled
 */
#include <sys/prctl.h>

#include "cases.h"
#include "mm.h"

#define HUGE_PAGES 512ul /* small ones in a huge one */
#define N          4ul   /* huge ones */

/* room for N huge pages, not looked at by khugepaged yet */
static char *room(void)
{
	char *p = mm_anon((N + 1) * HUGE_PAGES, PROT_NONE, 0);
	char *start = (char *)(((uintptr_t)p + HUGE_PAGES * PAGE - 1) & ~(HUGE_PAGES * PAGE - 1));

	CHECK(mprotect(start, N * HUGE_PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(madvise(start, N * HUGE_PAGES * PAGE, MADV_NOHUGEPAGE) == 0);
	return start;
}

/* kB of AnonHugePages of the mapping at p */
static unsigned long huge_kb(const void *p)
{
	char line[4096];
	unsigned long start, end, kb = 0, found = 0;
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (here && sscanf(line, "AnonHugePages: %lu", &kb) == 1)
			found = kb;
	}
	fclose(f);
	return found;
}

/* huge pages, if the machine has any to give */
static char *huge_room(void)
{
	char *p = room();

	CHECK(madvise(p, N * HUGE_PAGES * PAGE, MADV_HUGEPAGE) == 0);
	mm_fill(p, N * HUGE_PAGES, 1);
	if (!huge_kb(p))
		SKIP("the kernel gives no transparent huge pages");
	return p;
}

static void own(void)
{
	char *p = huge_room();
	unsigned long before = huge_kb(p);

	CHECK(mprotect(p, HUGE_PAGES * PAGE, PROT_READ) == 0);
	subject_checkpoint();
	CHECK_EQ(huge_kb(p) + huge_kb(p + HUGE_PAGES * PAGE), before);
	mm_check(p, N * HUGE_PAGES, 1);
}

/* small pages in what may have huge ones by now */
static void parts(void)
{
	char *p = room();

	for (uint64_t i = 0; i < N; i++)
		mm_fill(p + (i * HUGE_PAGES + 7) * PAGE, 3, i);
	CHECK(madvise(p, N * HUGE_PAGES * PAGE, MADV_HUGEPAGE) == 0);
	subject_checkpoint();
	CHECK_EQ(mm_present(p, N * HUGE_PAGES), 3 * N);
	for (uint64_t i = 0; i < N; i++)
		mm_check(p + (i * HUGE_PAGES + 7) * PAGE, 3, i);
}

/* both are set up when it returns to the parent */
static pid_t with_child(void)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child) {
		subject_wait("child");
		return child;
	}
	subject_settle("child");
	return 0;
}

static void end(pid_t child)
{
	if (!child)
		_exit(0);
	mm_reap(child);
}

static void shared(void)
{
	char *p = huge_room();
	unsigned long before = huge_kb(p);
	pid_t child = with_child();

	if (child)
		subject_checkpoint();
	CHECK_EQ(huge_kb(p), before);
	mm_check(p, N * HUGE_PAGES, 1);
	end(child);
}

static void shared_parts(void)
{
	char *p = room();
	pid_t child;

	for (uint64_t i = 0; i < N; i++)
		mm_fill(p + (i * HUGE_PAGES + 7) * PAGE, 3, i);
	CHECK(madvise(p, N * HUGE_PAGES * PAGE, MADV_HUGEPAGE) == 0);
	child = with_child();
	if (child)
		subject_checkpoint();
	CHECK_EQ(mm_present(p, N * HUGE_PAGES), 3 * N);
	CHECK_EQ(huge_kb(p), 0);
	for (uint64_t i = 0; i < N; i++)
		mm_check(p + (i * HUGE_PAGES + 7) * PAGE, 3, i);
	end(child);
}

/* a child has its own of some pages, and shares the others */
static void split(void)
{
	char *p = huge_room();
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child) {
		for (uint64_t i = 0; i < N; i++)
			mm_fill(p + i * HUGE_PAGES * PAGE, 300, i + 2);
		subject_settle("child");
		for (uint64_t i = 0; i < N; i++)
			mm_check(p + i * HUGE_PAGES * PAGE, 300, i + 2);
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	mm_check(p, N * HUGE_PAGES, 1);
	end(child);
}

/* a huge page of zeros that was written, and one that was only read */
static void zeros(void)
{
	char *p = huge_room();

	memset(p, 0, HUGE_PAGES * PAGE);
	CHECK(madvise(p + HUGE_PAGES * PAGE, HUGE_PAGES * PAGE, MADV_DONTNEED) == 0);
	CHECK_EQ(*(volatile char *)(p + HUGE_PAGES * PAGE), 0);
	unsigned long before = huge_kb(p);
	subject_checkpoint();
	CHECK_EQ(huge_kb(p), before);
	mm_check_zero(p, 2 * HUGE_PAGES);
}

/* what it had before it switched them off, but no new ones */
static void disabled(void)
{
	char *p = huge_room();
	unsigned long before = huge_kb(p);

	CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
	subject_checkpoint();
	CHECK_EQ(huge_kb(p), before);
	CHECK_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
	p = mm_anon(2 * HUGE_PAGES, PROT_READ | PROT_WRITE, 0);
	CHECK(madvise(p, 2 * HUGE_PAGES * PAGE, MADV_HUGEPAGE) == 0);
	mm_fill(p, 2 * HUGE_PAGES, 1);
	CHECK_EQ(huge_kb(p), 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(parts), CASE(shared),
	                     CASE_NAMED("shared-parts", shared_parts), CASE(split), CASE(zeros),
	                     CASE(disabled));
}
