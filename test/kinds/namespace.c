/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces: every sort that there is has a kind of its own. A task that is in one of stasis's,
 * and its parent or its process' first thread is not, is refused: nobody below could find the way
 * back.
 *
 * TEST own round-trip -- own
 * TEST return refuse code=namespace.other -- back
 * TEST mount-stayed refuse code=namespace.other -- mount_stayed
 * TEST mount-stayed-container refuse code=namespace.other start="unshare -pf" checkpoint=--subtree -- mount_stayed
 * TEST thread-stayed refuse code=namespace.other -- thread_stayed
 * TEST mount-thread-stayed refuse code=namespace.other -- mount_thread_stayed
 */
#include <pthread.h>
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

static void mount_stayed(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		subject_settle("child");
		_exit(0);
	}
	subject_wait("child");
	CHECK(unshare(CLONE_NEWNS) == 0);
	subject_checkpoint();
	CHECK(waitpid(pid, NULL, 0) == pid);
}

static void *stay(void *unused)
{
	CHECK(unshare(CLONE_FS) == 0);
	subject_settle("thread");
	return unused;
}

static void leave_thread(int type)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, stay, NULL) == 0);
	subject_wait("thread");
	CHECK(unshare(type) == 0);
	subject_checkpoint();
	CHECK(pthread_join(thread, NULL) == 0);
}

static void thread_stayed(void)
{
	leave_thread(CLONE_NEWUTS);
}

static void mount_thread_stayed(void)
{
	leave_thread(CLONE_NEWNS);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(back), CASE(mount_stayed),
	                     CASE(thread_stayed), CASE(mount_thread_stayed));
}
