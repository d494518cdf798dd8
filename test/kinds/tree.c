/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trees of processes: parents, groups, sessions, orphans, names. Each process looks at its own
 * place when it is over; the root collects what they find.
 *
 * TEST nested round-trip -- nested
 * TEST groups round-trip -- groups
 * TEST sessions round-trip -- sessions
 * TEST dead-group-leader round-trip -- dead_group
 * TEST dead-session-leader round-trip -- dead_session
 * TEST orphans round-trip -- orphans
 * TEST orphans-of-one-session round-trip -- orphans_of_one_session
 * TEST thread-of-a-dead-session round-trip -- thread_of_dead_session
 * TEST siblings-of-leaders round-trip -- siblings
 * TEST subreapers round-trip -- subreapers
 * TEST exit-signals round-trip -- exit_signals
 * TEST names round-trip -- names
 * TEST hundred round-trip -- hundred
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cases.h"

static volatile int *alive; /* shared: how many processes are in their places */

static void here(void)
{
	__atomic_add_fetch(alive, 1, __ATOMIC_SEQ_CST);
}

static void await(int n)
{
	while (*alive < n)
		usleep(1000);
}

/* in its place until it is over; the place must be the same then */
static void stay(void)
{
	pid_t parent = getppid(), group = getpgrp(), session = getsid(0), self = getpid();

	here();
	subject_wait_go();
	CHECK_EQ(syscall(SYS_getpid), self);
	CHECK_EQ(getppid(), parent);
	CHECK_EQ(getpgrp(), group);
	CHECK_EQ(getsid(0), session);
}

static void reap(int n)
{
	for (int i = 0; i < n; i++) {
		int status;
		CHECK(wait(&status) > 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	CHECK(wait(NULL) < 0 && errno == ECHILD);
}

static pid_t child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	return pid;
}

/* three generations, two children each */
static void nested(void)
{
	for (int i = 0; i < 2; i++) {
		if (child())
			continue;
		for (int k = 0; k < 2; k++)
			if (!child()) {
				stay();
				_exit(0);
			}
		stay();
		reap(2);
		_exit(0);
	}
	await(6);
	subject_checkpoint();
	reap(2);
}

static void groups(void)
{
	pid_t first = child();

	if (!first) {
		CHECK(setpgid(0, 0) == 0);
		stay();
		_exit(0);
	}
	await(1);
	for (int i = 0; i < 2; i++)
		if (!child()) { /* one joins the first's group, one stays in ours */
			if (i)
				CHECK(setpgid(0, first) == 0);
			stay();
			_exit(0);
		}
	await(3);
	subject_checkpoint();
	reap(3);
}

static void sessions(void)
{
	if (!child()) {
		CHECK(setsid() == getpid());
		if (!child()) {
			CHECK(setpgid(0, 0) == 0);
			stay();
			_exit(0);
		}
		if (!child()) {
			CHECK(setsid() == getpid());
			stay();
			_exit(0);
		}
		stay();
		reap(2);
		_exit(0);
	}
	await(3);
	subject_checkpoint();
	reap(1);
}

/* the one that gave the group its number has gone */
static void dead_group(void)
{
	pid_t leader = child();

	if (!leader) {
		CHECK(setpgid(0, 0) == 0);
		here();
		while (*alive < 3)
			usleep(1000);
		_exit(0);
	}
	await(1);
	for (int i = 0; i < 2; i++)
		if (!child()) {
			CHECK(setpgid(0, leader) == 0);
			stay();
			CHECK_EQ(getpgrp(), leader);
			_exit(0);
		}
	CHECK(waitpid(leader, NULL, 0) == leader);
	await(3);
	subject_checkpoint();
	CHECK(kill(leader, 0) < 0 && errno == ESRCH);
	reap(2);
}

/* as setsid(1) leaves it: the session lives on without its leader; its members are ours now */
static void dead_session(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t leader = child();
	if (!leader) {
		CHECK(setsid() == getpid());
		for (int i = 0; i < 2; i++)
			if (!child()) {
				pid_t session = getsid(0);
				if (i)
					CHECK(setpgid(0, 0) == 0);
				while (getppid() == session)
					usleep(1000);
				stay();
				CHECK_EQ(getsid(0), session);
				_exit(0);
			}
		_exit(0);
	}
	CHECK(waitpid(leader, NULL, 0) == leader);
	await(2);
	subject_checkpoint();
	reap(2);
}

/* grandchildren that have come to us when their parents died */
static void orphans(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	for (int i = 0; i < 3; i++) {
		pid_t middle = child();
		if (!middle) {
			pid_t parent = getpid();
			if (child())
				_exit(0);
			while (getppid() == parent)
				usleep(1000);
			stay();
			_exit(0);
		}
		CHECK(waitpid(middle, NULL, 0) == middle);
	}
	await(3);
	subject_checkpoint();
	reap(3);
}

/*
 * Two that leave a session for their own, each with a child that stays in it; and the one that led
 * it ends. They come to us, and neither is above the other.
 */
static void orphans_of_one_session(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t leader = child();
	if (!leader) {
		CHECK(setsid() == getpid());
		for (int i = 0; i < 2; i++) {
			pid_t session = getsid(0);
			if (child())
				continue;
			if (!child()) {
				await(2);
				stay();
				CHECK_EQ(getsid(0), session);
				_exit(0);
			}
			CHECK(setsid() == getpid());
			while (getppid() == session)
				usleep(1000);
			here();
			stay();
			reap(1);
			_exit(0);
		}
		_exit(0);
	}
	CHECK(waitpid(leader, NULL, 0) == leader);
	await(6);
	subject_checkpoint();
	reap(2);
}

/* a child that a thread makes, which alone can wait for it so; the others have no such child */
static void *make_child(void *arg)
{
	pid_t (*make)(void) = arg, pid = make();

	here();
	subject_wait_go();
	int status;
	CHECK(waitpid(pid, &status, __WALL | __WNOTHREAD) == pid && status == 0);
	return NULL;
}

static pid_t child_that_stays(void)
{
	pid_t pid = child();

	if (pid)
		return pid;
	stay();
	_exit(0);
}

/* made by a thread before its process left a session, whose leader has ended since */
static void thread_of_dead_session(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t leader = child();
	if (!leader) {
		pid_t session = setsid();
		if (child())
			_exit(0);
		pthread_t thread;
		CHECK(pthread_create(&thread, NULL, make_child, (void *)child_that_stays) == 0);
		await(2);
		CHECK(setsid() == getpid());
		while (getppid() == session)
			usleep(1000);
		stay();
		CHECK(waitpid(-1, NULL, __WALL | __WNOTHREAD | WNOHANG) < 0 && errno == ECHILD);
		CHECK(pthread_join(thread, NULL) == 0);
		_exit(0);
	}
	CHECK(waitpid(leader, NULL, 0) == leader);
	await(3);
	subject_checkpoint();
	reap(1);
}

/* of one that leads a session, and in it; from a thread of ours */
static pid_t sibling_of_leader(void)
{
	volatile pid_t *made = (volatile pid_t *)(alive + 1);
	pid_t leader = child();

	if (!leader) {
		CHECK(setsid() == getpid());
		pid_t pid = (pid_t)syscall(SYS_clone, CLONE_PARENT, NULL, NULL, NULL, 0);
		CHECK(pid >= 0);
		if (!pid) {
			while (!*made)
				usleep(1000);
			stay();
			_exit(0);
		}
		*made = pid;
		_exit(0);
	}
	CHECK(waitpid(leader, NULL, 0) == leader);
	return *made;
}

static void siblings(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, make_child, (void *)sibling_of_leader) == 0);
	await(2);
	subject_checkpoint();
	CHECK(waitpid(-1, NULL, __WALL | __WNOTHREAD | WNOHANG) < 0 && errno == ECHILD);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* where orphans go afterwards follows from who is a subreaper, and from who its descendants are */
static void subreapers(void)
{
	if (!child()) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
		pid_t reaper = getpid();
		pid_t middle = child();
		if (!middle) {
			if (!child()) {
				pid_t parent = getppid();
				here();
				subject_wait_go();
				while (getppid() == parent)
					usleep(1000);
				CHECK_EQ(getppid(), reaper);
				_exit(0);
			}
			stay();
			_exit(0);
		}
		stay();
		reap(2);
		_exit(0);
	}
	await(3);
	subject_checkpoint();
	reap(1);
}

/* ---- children made with another signal than SIGCHLD, or none ---- */

static volatile int usr1;

static void on_usr1(int sig)
{
	(void)sig;
	usr1++;
}

static pid_t child_with(int sig)
{
	pid_t pid = (pid_t)syscall(SYS_clone, sig, NULL, NULL, NULL, 0);

	CHECK(pid >= 0);
	if (pid)
		return pid;
	stay();
	_exit(0);
}

static void exit_signals(void)
{
	CHECK(signal(SIGUSR1, on_usr1) != SIG_ERR);
	pid_t loud = child_with(SIGUSR1), silent = child_with(0);
	await(2);
	subject_checkpoint();
	CHECK(waitpid(silent, NULL, 0) < 0 && errno == ECHILD); /* only with __WCLONE, waitpid(2) */
	CHECK(waitpid(silent, NULL, __WCLONE) == silent);
	CHECK(waitpid(loud, NULL, __WCLONE) == loud);
	CHECK_EQ(usr1, 1);
}

static void names(void)
{
	static const char *const all[] = { "", "a) S 1 2", "two\nlines", "fifteen bytes..",
		                           "\xff\xfe" };
	char name[16];

	for (size_t i = 0; i < 5; i++)
		if (!child()) {
			CHECK(prctl(PR_SET_NAME, all[i]) == 0);
			stay();
			CHECK(prctl(PR_GET_NAME, name) == 0);
			CHECK(!strcmp(name, all[i]));
			_exit(0);
		}
	await(5);
	subject_checkpoint();
	reap(5);
}

static void hundred(void)
{
	for (int i = 0; i < 100; i++)
		if (!child()) {
			if (i % 3 == 0)
				CHECK(setpgid(0, 0) == 0);
			stay();
			_exit(0);
		}
	await(100);
	subject_checkpoint();
	reap(100);
}

int main(int argc, char **argv)
{
	alive = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(alive != MAP_FAILED);
	return SUBJECT_CASES(argc, argv, CASE(nested), CASE(groups), CASE(sessions),
	                     CASE(dead_group), CASE(dead_session), CASE(orphans),
	                     CASE(orphans_of_one_session), CASE(thread_of_dead_session),
	                     CASE(siblings), CASE(subreapers), CASE(exit_signals), CASE(names),
	                     CASE(hundred));
}
