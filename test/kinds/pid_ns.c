/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: a container whose init is the subject, seen from outside; what cannot be
 * restored.
 *
 * TEST init round-trip start="unshare -p -f" -- init
 * TEST owners round-trip start="unshare -p -f" -- owners
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "cases.h"

static volatile pid_t thread_id;

static void *idle(void *arg)
{
	thread_id = (pid_t)syscall(SYS_gettid);
	subject_mark("thread");
	subject_wait_go();
	CHECK_EQ(syscall(SYS_gettid), thread_id);
	return arg;
}

static pid_t child(void)
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

/* pids, also those that come next; an orphan that came to the init; signals that it ignores */
static void init(void)
{
	int status;
	pthread_t t;

	CHECK_EQ(getpid(), 1);
	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	pid_t pid = child(), zombie = fork();
	CHECK(zombie >= 0);
	if (zombie == 0)
		_exit(7);
	CHECK(waitid(P_PID, (id_t)zombie, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	int last = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	CHECK(last >= 0 && write(last, "20000", 5) == 5 && close(last) == 0);
	subject_checkpoint();
	CHECK_EQ(getpid(), 1);
	pid_t next = fork();
	if (next == 0)
		_exit(0);
	CHECK(next > 20000 && next < 20100 && waitpid(next, NULL, 0) == next);
	CHECK(kill(1, SIGTERM) == 0); /* no handler: an init does not mind */
	CHECK(waitpid(zombie, &status, 0) == zombie && WEXITSTATUS(status) == 7);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
	CHECK(pthread_join(t, NULL) == 0);
}

/* numbers that the kernel keeps as references: owners of files, threads of timers, locks */
static void owners(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct f_owner_ex group = { F_OWNER_PGRP, 0 }, seen;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	pthread_t t;
	timer_t timer;
	int p[2], status;

	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	pid_t pid = child();
	group.pid = pid;
	CHECK(pipe(p) == 0 && fcntl(p[0], F_SETOWN_EX, &group) == 0 &&
	      fcntl(p[1], F_SETOWN, pid) == 0);
	event._sigev_un._tid = thread_id;
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	int fd = open("locked", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
	subject_checkpoint();
	CHECK(fcntl(p[0], F_GETOWN_EX, &seen) == 0 && seen.type == F_OWNER_PGRP && seen.pid == pid);
	CHECK_EQ(fcntl(p[1], F_GETOWN), pid);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
	CHECK(pthread_join(t, NULL) == 0);
}

static void subtree(void)
{
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	static const struct subject_case cases[] = {
		{ "init", init },
		{ "owners", owners },
		{ "subtree", subtree },
	};

	return SUBJECT_CASES(cases, argc, argv);
}
