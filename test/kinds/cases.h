/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For subjects with several tests: the first argument names the case to run. */
#pragma once

#include "subject.h"

struct subject_case {
	const char *name;
	void (*run)(void);
};

static inline int subject_run_case(int argc, char **argv, const struct subject_case *cases)
{
	for (; argc > 1 && cases->name; cases++) {
		if (strcmp(argv[1], cases->name))
			continue;
		cases->run();
		return 0;
	}
	FAIL("no case %s", argc > 1 ? argv[1] : "given");
}

/* runs the one that argv[1] names; 0 when it returns */
#define SUBJECT_CASES(argc, argv, ...) \
	subject_run_case((argc), (argv), (const struct subject_case[]){ __VA_ARGS__, { 0 } })

#define CASE_NAMED(name, function) ((struct subject_case){ name, function })
#define CASE(function)             CASE_NAMED(#function, function)
#define TEST_CASE(name)            CASE_NAMED(#name, test_##name)

/*
 * For children and threads: says that it is set up, and waits for the end. All that waiting needs
 * has been used before, so that no page changes hands between the observer's looks. The parent
 * waits for the name before its own subject_checkpoint().
 */
static __attribute__((unused)) void subject_settle(const char *name)
{
	access("go", F_OK);
	nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
	subject_mark(name);
	subject_wait_go();
}

/* a copy of the subject that is orphaned, so not of the set, and stays until the end */
static __attribute__((unused)) void subject_leave_outside(void)
{
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		subject_mark("outside");
		subject_wait_go();
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
	subject_wait("outside");
}

/*
 * For threads, at their beginning: the pages of the stack that stasis lays its return frame on have
 * been used before. They would be there after a checkpoint where they were not before.
 */
static __attribute__((noinline, unused)) void subject_use_stack(void)
{
	volatile char stack[32768];

	for (size_t i = 0; i < sizeof(stack); i += 512)
		stack[i] = 0;
}
