/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects with pid namespaces share: inits, and those who look at them from outside. */
#pragma once

#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include "cases.h"
#include "text.h"

static volatile pid_t thread_id;

/* a thread that keeps its number */
static inline void *idle(void *arg)
{
	thread_id = (pid_t)syscall(SYS_gettid);
	subject_mark("thread");
	subject_wait_go();
	CHECK_EQ(syscall(SYS_gettid), thread_id);
	return arg;
}

/* a child of an init that leads a group of its own */
static inline pid_t new_child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(setpgid(0, 0) == 0);
		subject_mark("child");
		subject_wait_go();
		CHECK(getppid() == 1 && getpgrp() == getpid());
		_exit(9);
	}
	subject_wait("child");
	return pid;
}

/* a child that is the init of a pid namespace of its own */
static inline pid_t new_init(void (*run)(void))
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(getpid(), 1);
		run();
		_exit(0);
	}
	return pid;
}

/* its next children are born in the namespace that @init is in */
static inline void enter_pid_ns(pid_t init)
{
	int fd = (int)syscall(SYS_pidfd_open, init, 0);

	CHECK(fd >= 0 && setns(fd, CLONE_NEWPID) == 0 && close(fd) == 0);
}

/* it has ended, and is not waited for */
static inline void await_end(pid_t pid)
{
	CHECK(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
}

/* waits for this child, which must have been killed */
static inline void check_killed(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	      WTERMSIG(status) == SIGKILL);
}

/* until all others have said what they found */
static inline void idle_init(void)
{
	subject_settle("init");
	subject_wait("over");
	while (wait(NULL) > 0)
		;
}

static inline void end_idle(pid_t init)
{
	subject_mark("over");
	subject_check_exit(init, 0);
}

/* an init with one child */
static inline void small_init(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		subject_settle("child");
		CHECK(getpid() == 2 && getppid() == 1);
		_exit(5);
	}
	CHECK_EQ(pid, 2);
	subject_wait("child");
	subject_settle("init");
	CHECK(getpid() == 1 && getppid() == 0);
	CHECK_EQ(getsid(0), 0);
	CHECK_EQ(getpgrp(), 0);
	CHECK_EQ(kill(1, SIGTERM), 0); /* nothing to it */
	subject_check_exit(pid, 5);
	pid = fork();
	if (pid == 0)
		_exit(0);
	CHECK_EQ(pid, 3);
	subject_check_exit(pid, 0);
}

/* two namespaces next to each other: the same numbers twice */
static inline void second_init(void)
{
	pid_t pid = fork();

	CHECK(pid == 2 || pid == 0);
	if (pid == 0) {
		subject_settle("second-child");
		_exit(getpid() + 10);
	}
	subject_wait("second-child");
	subject_settle("second");
	subject_check_exit(2, 12);
}

static inline void threaded_init(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	CHECK_EQ(thread_id, 2);
	subject_settle("init");
	CHECK(pthread_join(t, NULL) == 0);
}

static inline ino_t inode_of(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	return st.st_ino;
}
