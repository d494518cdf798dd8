/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked memory: mlock(2), mlock2(2), mlockall(2). The observer compares VmLck and Locked.
 *
 * TEST ranges round-trip
 * TEST all-current round-trip -- current
 * TEST all-future round-trip -- future
 * TEST all-future-onfault round-trip -- onfault
 * TEST all-both round-trip -- both
 */
#include <sys/resource.h>

#include "mm.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

/* older kernels have no word for it */
static bool on_fault(const char *p)
{
	return mm_flag(p, "lf") || mm_flag(p, "??");
}

static void ranges(void)
{
	char *p = mm_anon(32, PROT_READ | PROT_WRITE, 0), *q, *none, *read_only;

	q = mm_anon(32, PROT_READ | PROT_WRITE, 0);
	none = mm_anon(8, PROT_READ | PROT_WRITE, 0);
	read_only = mm_anon(8, PROT_READ | PROT_WRITE, 0);
	CHECK(mlock(p + 8 * PAGE, 8 * PAGE) == 0);
	CHECK(mlock2(q, 16 * PAGE, MLOCK_ONFAULT) == 0);
	mm_fill(q, 3, 1);
	mm_fill(none, 3, 2), mm_fill(read_only, 3, 3);
	CHECK(mprotect(none, 8 * PAGE, PROT_NONE) == 0);
	CHECK(mprotect(read_only, 8 * PAGE, PROT_READ) == 0);
	CHECK(mlock(none, 8 * PAGE) == -1 && errno == ENOMEM); /* locked, but not populated */
	CHECK(mlock(read_only, 8 * PAGE) == 0);
	CHECK(mm_flag(none, "lo"));
	subject_checkpoint();
	CHECK_EQ(mm_present(p, 32), 8);
	CHECK(mm_flag(p + 8 * PAGE, "lo") && !mm_flag(p, "lo"));
	CHECK(on_fault(q) && mm_flag(none, "lo") && mm_flag(read_only, "lo"));
	CHECK_EQ(mm_present(q, 32), 3);
	mm_check(q, 3, 1);
	CHECK_EQ(mm_present(none, 8), 3);
	CHECK(munlock(none, 8 * PAGE) == 0 && mprotect(none, 8 * PAGE, PROT_READ) == 0);
	mm_check(none, 3, 2), mm_check(read_only, 3, 3);
}

/* what a mapping made now is: 0 = not locked, MCL_FUTURE, or with MCL_ONFAULT */
static int future(void)
{
	char *p = mm_anon(4, PROT_READ | PROT_WRITE, 0);
	int r = mm_flag(p, "lo") ? MCL_FUTURE : 0;

	if (on_fault(p))
		r |= MCL_ONFAULT;
	CHECK_EQ(mm_present(p, 4), r == MCL_FUTURE ? 4 : 0);
	munmap(p, 4 * PAGE);
	return r;
}

static void all(int flags)
{
	char *before = mm_anon(8, PROT_READ | PROT_WRITE, 0);
	int expected = flags & MCL_FUTURE ? flags & ~MCL_CURRENT : 0;

	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
	CHECK(mlockall(flags) == 0);
	char *after = mm_anon(8, PROT_READ | PROT_WRITE, 0);
	CHECK_EQ(future(), expected);
	subject_checkpoint();
	CHECK_EQ(future(), expected);
	CHECK_EQ(mm_flag(before, "lo"), (flags & MCL_CURRENT) != 0);
	CHECK_EQ(mm_flag(after, "lo"), (flags & MCL_FUTURE) != 0);
	CHECK(munlockall() == 0);
	CHECK_EQ(future(), 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "ranges";

	if (!strcmp(what, "current"))
		all(MCL_CURRENT);
	else if (!strcmp(what, "future"))
		all(MCL_FUTURE);
	else if (!strcmp(what, "onfault"))
		all(MCL_FUTURE | MCL_ONFAULT);
	else if (!strcmp(what, "both"))
		all(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	else
		ranges();
	return 0;
}
