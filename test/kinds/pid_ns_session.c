/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: sessions and process groups in them and across their border.
 *
 * TEST session round-trip -- session
 * TEST groups round-trip -- groups
 * TEST left-groups round-trip -- left_groups
 * TEST before-setsid round-trip -- before_setsid
 */
#include <sys/prctl.h>

#include "pid_ns.h"

static void session_init(void)
{
	CHECK_EQ(getsid(0), 0);
	CHECK_EQ(setsid(), 1);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(setpgid(0, 0) == 0);
		subject_settle("child");
		CHECK(getsid(0) == 1 && getpgrp() == getpid());
		_exit(0);
	}
	subject_wait("child");
	subject_settle("init");
	CHECK(getsid(0) == 1 && getpgrp() == 1 && getpgid(pid) == pid);
	subject_check_exit(pid, 0);
}

static void session(void)
{
	pid_t init = new_init(session_init);

	subject_wait("init");
	CHECK_EQ(getsid(init), init);
	subject_checkpoint();
	CHECK_EQ(getsid(init), init);
	subject_check_exit(init, 0);
}

static void grouped_init(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		subject_settle("child");
		CHECK_EQ(getpgrp(), 0);
		_exit(0);
	}
	subject_wait("child");
	subject_settle("init");
	CHECK_EQ(getpgrp(), 0);
	subject_check_exit(pid, 0);
}

/*
 * As a shell with job control has them: a pipeline whose second process began a pid namespace; the
 * first leads the group, which those inside cannot name.
 */
static void groups(void)
{
	pid_t first = fork();

	if (first == 0) {
		subject_settle("first");
		_exit(0);
	}
	CHECK(setpgid(first, first) == 0);
	pid_t second = fork();
	if (second == 0) {
		while (getpgrp() != first)
			;
		pid_t init = new_init(grouped_init);
		subject_wait("init");
		subject_settle("second");
		CHECK(getpgid(init) == first);
		subject_check_exit(init, 0);
		_exit(0);
	}
	CHECK(setpgid(second, first) == 0);
	subject_wait("first");
	subject_wait("second");
	subject_checkpoint();
	subject_check_exit(first, 0);
	subject_check_exit(second, 0);
}

/* the same when the first is gone; and a group of one inside that is gone */
static void left_groups(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t first = fork();

	if (first == 0) {
		CHECK(setpgid(0, 0) == 0);
		new_init(grouped_init);
		subject_wait("init");
		_exit(0);
	}
	subject_check_exit(first, 0);
	subject_checkpoint();
	subject_check_exit(-1, 0);
}

static void nameless_init(void)
{
	subject_settle("nameless");
	CHECK(getpgrp() == 0 && getsid(0) == 0);
}

static void leading_init(void)
{
	subject_settle("leading");
	CHECK(getpgrp() == 1 && getsid(0) == 0);
}

/* an init made before the setsid(2) of its parent, in a group that the init of another leads */
static void before_setsid(void)
{
	pid_t session = getsid(0), first = new_init(leading_init);

	CHECK(setpgid(first, first) == 0);
	pid_t second = fork();
	if (second == 0) {
		pid_t init = new_init(nameless_init);
		CHECK(setpgid(init, first) == 0);
		CHECK_EQ(setsid(), getpid());
		subject_wait("nameless");
		subject_settle("second");
		CHECK(getpgid(init) == first && getsid(init) == session);
		subject_check_exit(init, 0);
		_exit(0);
	}
	subject_wait("leading");
	subject_wait("second");
	subject_checkpoint();
	CHECK(getpgid(first) == first && getsid(second) == second);
	subject_check_exit(first, 0);
	subject_check_exit(second, 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(session), CASE(groups), CASE(left_groups),
	                     CASE(before_setsid));
}
