/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: inits that have ended, and with them the namespace; zombies and orphans in it.
 *
 * TEST ended round-trip -- ended
 * TEST ended-init round-trip -- ended_init
 * TEST ended-fault refuse code=task.init-death -- ended_fault
 * TEST ended-reboot round-trip -- ended_reboot
 * TEST zombie round-trip -- zombie
 * TEST orphan round-trip -- orphan
 */
#include <sys/prctl.h>
#include <sys/reboot.h>

#include "pid_ns.h"

/* they went where the first was the init, which is gone, and with it the namespace */
static void ended(void)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t init = fork();
	if (init == 0)
		_exit(0);
	subject_check_exit(init, 0);
	CHECK(fork() < 0 && errno == ENOMEM);
	subject_checkpoint();
	CHECK(fork() < 0 && errno == ENOMEM);
	enter_pid_ns(getpid());
	init = fork();
	if (init == 0)
		_exit(0);
	subject_check_exit(init, 0);
}

/* the same, not waited for yet: of itself, and killed */
static void ended_init(void)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t a = fork();
	if (a == 0)
		_exit(4);
	await_end(a);
	enter_pid_ns(getpid());
	pid_t b = new_init(idle_init);
	subject_wait("init");
	CHECK(kill(b, SIGKILL) == 0);
	await_end(b);
	subject_checkpoint();
	subject_check_exit(a, 4);
	check_killed(b);
}

/* by a fault of its own, which nothing outside can make */
static void faulting_init(void)
{
	prctl(PR_SET_DUMPABLE, 0); /* no core */
	*(volatile int *)8 = 1;    /* NOLINT */
}

static void ended_fault(void)
{
	pid_t pid = new_init(faulting_init);

	await_end(pid);
	subject_checkpoint();
	CHECK(waitpid(pid, NULL, 0) == pid);
}

static void rebooting_init(void)
{
	CHECK(reboot(RB_AUTOBOOT) == 0);
}

static void ended_reboot(void)
{
	int status;
	pid_t pid = new_init(rebooting_init);

	await_end(pid);
	subject_checkpoint();
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, SIGHUP);
}

static void zombies_init(void)
{
	pid_t a = fork();

	if (a == 0)
		_exit(4);
	pid_t b = fork();
	if (b == 0) {
		raise(SIGKILL);
		_exit(0);
	}
	await_end(a);
	await_end(b);
	subject_settle("init");
	CHECK(a == 2 && b == 3);
	subject_check_exit(a, 4);
	check_killed(b);
}

static void zombie(void)
{
	pid_t init = new_init(zombies_init);

	subject_wait("init");
	/* one whose parent is outside */
	enter_pid_ns(init);
	pid_t pid = fork();
	if (pid == 0)
		_exit(6);
	await_end(pid);
	subject_checkpoint();
	subject_check_exit(pid, 6);
	subject_check_exit(init, 0);
}

/* a process that its parent leaves behind; in the parent's session, which may end as well */
static void leave(const char *name, bool new_session)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid) {
		subject_check_exit(pid, 0);
		return;
	}
	if (new_session)
		CHECK(setsid() == getpid());
	if (fork() == 0) {
		while (getppid() == pid)
			;
		pid_t sid = getsid(0), group = getpgrp();
		subject_settle(name);
		CHECK(getppid() == (getpid() == 1 ? 0 : 1));
		CHECK_EQ(getsid(0), sid);
		CHECK_EQ(getpgrp(), group);
		_exit(0);
	}
	_exit(0);
}

static void orphans_init(void)
{
	leave("orphan", false);
	leave("session-orphan", true);
	subject_wait("orphan");
	subject_wait("session-orphan");
	subject_settle("init");
	while (wait(NULL) > 0)
		;
}

/* left behind inside; by one that had entered from outside, in the session of the outside */
static void orphan(void)
{
	pid_t init = new_init(orphans_init);

	subject_wait("init");
	enter_pid_ns(init);
	pid_t pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			subject_settle("entered-orphan");
			CHECK_EQ(getppid(), 1);
			_exit(0);
		}
		_exit(0);
	}
	subject_check_exit(pid, 0);
	subject_wait("entered-orphan");
	enter_pid_ns(getpid());
	subject_checkpoint();
	subject_check_exit(init, 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(ended), CASE(ended_init), CASE(ended_fault),
	                     CASE(ended_reboot), CASE(zombie), CASE(orphan));
}
