/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces: every sort that there is has a kind of its own. A task that is in one of stasis's,
 * and its parent is not, is refused: nobody below could find the way back.
 *
 * TEST own round-trip -- own
 * TEST return refuse code=namespace.other -- back
 */
#include <sched.h>
#include <sys/wait.h>

#include "cases.h"

static void own(void)
{
	subject_checkpoint();
}

static void back(void)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && unshare(CLONE_NEWUTS) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(setns(fd, CLONE_NEWUTS) == 0);
		close(fd);
		subject_mark("child");
		subject_wait_go();
		_exit(0);
	}
	close(fd);
	subject_wait("child");
	subject_checkpoint();
	CHECK(waitpid(pid, NULL, 0) == pid);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(back));
}
