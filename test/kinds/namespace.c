/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces other than the coordinator's are refused, those of threads and those that are only for
 * children to come as well.
 *
 * TEST cgroup refuse code=namespace.other -- cgroup
 * TEST child refuse code=namespace.other -- child
 * TEST thread refuse code=namespace.other -- thread
 * TEST own round-trip -- own
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cases.h"

static void with(int flag)
{
	CHECK(unshare(flag) == 0);
	subject_checkpoint();
}

static void cgroup(void)
{
	with(CLONE_NEWCGROUP);
}

static void mnt(void)
{
	with(CLONE_NEWNS);
}

static void child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWCGROUP) == 0);
		subject_mark("child");
		subject_wait_go();
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK(waitpid(pid, NULL, 0) == pid);
}

static void *unshared(void *arg)
{
	subject_use_stack();
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	subject_mark("thread");
	subject_wait_go();
	return NULL;
}

static void thread(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, unshared, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
}

static void own(void)
{
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	static const struct subject_case cases[] = {
		{ "cgroup", cgroup },
		{ "mnt", mnt },
		{ "child", child },
		{ "thread", thread },
		{ "own", own },
	};

	return SUBJECT_CASES(cases, argc, argv);
}
