/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A parent that waits in vfork(2) does not stop. Its child is let go until it has called exec,
 * which changes what the observer sees; when that does not come in time, the checkpoint is refused.
 *
 * TEST exec round-trip observe=no -- exec
 * TEST exit round-trip observe=no -- exit
 * TEST stuck refuse code=task.state checkpoint="--timeout 1" -- stuck
 * TEST stuck-at-once refuse code=task.state checkpoint="--timeout 0" -- stuck
 */
#include <sys/wait.h>

#include "cases.h"

static void wait_for(pid_t pid, int code)
{
	CHECK(pid > 0);
	subject_wait_go();
	subject_check_exit(pid, code);
}

static void with_exec(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		subject_mark("ready");
		usleep(300000);
		execl("/proc/self/exe", "vfork", "child", NULL);
		_exit(99);
	}
	wait_for(pid, 21);
}

static void with_exit(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		subject_mark("ready");
		usleep(300000);
		_exit(22);
	}
	wait_for(pid, 22);
}

static void stuck(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		subject_mark("ready");
		subject_wait_go();
		_exit(23);
	}
	wait_for(pid, 23);
}

static void in_child(void)
{
	subject_wait_go();
	_exit(21);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE_NAMED("exec", with_exec),
	                     CASE_NAMED("exit", with_exit), CASE(stuck),
	                     CASE_NAMED("child", in_child));
}
