/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tasks share besides memory, files and signals: I/O contexts and lists of semaphore
 * adjustments. Who shares with whom is compared by the observer, before and after; and by kcmp.
 *
 * TEST io-context round-trip -- io
 * TEST io-context-of-threads round-trip -- io_threads
 * TEST io-context-unshared round-trip -- io_unshared
 * TEST io-context-under-ionice round-trip under="ionice -c 2 -n 3" -- io_none
 * TEST undo-list-of-threads round-trip -- undo_threads
 * TEST undo-list-of-processes round-trip -- undo_processes
 * TEST undo-list-separate round-trip -- undo_separate
 * TEST semaphores-of-others round-trip -- undo_others
 * TEST semaphores-without-undo round-trip -- plain
 * TEST semaphores-of-many-values round-trip -- undo_values
 * TEST gap refuse code=sharing.gap -- gap
 * TEST undo refuse code=sysvsem.undo -- undo
 * TEST undo-of-less refuse code=sysvsem.undo -- undo_less
 * TEST undo-of-the-highest refuse code=sysvsem.undo -- undo_highest
 * TEST undo-since-others refuse code=sysvsem.undo -- undo_since
 * TEST undo-of-one-in-many refuse code=sysvsem.undo -- undo_in_many
 * TEST undo-without-access refuse code=sysvsem.undo -- undo_closed
 * TEST undo-of-threads refuse code=sysvsem.undo -- undo_with_thread
 */
#include <linux/ioprio.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

#ifndef CLONE_IO
#define CLONE_IO 0x80000000
#endif

static bool same(pid_t a, pid_t b, int what)
{
	long r = syscall(SYS_kcmp, a, b, what, 0, 0);

	CHECK(r >= 0);
	return r == 0;
}

static void set_io_priority(int data)
{
	CHECK(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
	              IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, data)) == 0);
}

static int io_priority(pid_t pid)
{
	return IOPRIO_PRIO_DATA((int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid));
}

/* a child that shares what @flags say and waits for the end */
static pid_t child_with(unsigned long flags, void (*run)(void))
{
	static int n;
	char name[16];
	snprintf(name, sizeof(name), "child%d", n++);
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	CHECK(pid >= 0);
	if (pid == 0) {
		if (run)
			run();
		subject_mark(name);
		subject_wait("end");
		_exit(0);
	}
	subject_wait(name);
	return (pid_t)pid;
}

static void end_children(void)
{
	int status;

	subject_mark("end");
	while (wait(&status) > 0)
		CHECK_EQ(status, 0);
}

static void io(void)
{
	set_io_priority(3);
	pid_t shares = child_with(CLONE_IO, NULL);
	pid_t other = child_with(0, NULL);
	CHECK(same(getpid(), shares, KCMP_IO));
	CHECK(!same(getpid(), other, KCMP_IO));
	subject_checkpoint();
	CHECK(same(getpid(), shares, KCMP_IO));
	CHECK(!same(getpid(), other, KCMP_IO));
	/* it is one: what one sets, the other has */
	set_io_priority(5);
	CHECK_EQ(io_priority(shares), 5);
	CHECK_EQ(io_priority(other), 3);
	end_children();
}

static void *set_own(void *arg)
{
	subject_use_stack();
	set_io_priority(6);
	subject_mark("thread");
	subject_wait_go();
	CHECK_EQ(io_priority(0), 6);
	return NULL;
}

/* POSIX threads do not share it */
static void io_threads(void)
{
	pthread_t t;

	set_io_priority(2);
	CHECK(pthread_create(&t, NULL, set_own, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK_EQ(io_priority(0), 2);
	CHECK(pthread_join(t, NULL) == 0);
}

static void set_four(void)
{
	set_io_priority(4);
}

static void io_unshared(void)
{
	pid_t pid = child_with(0, set_four);

	subject_checkpoint();
	CHECK_EQ(io_priority(pid), 4);
	end_children();
}

/* the middle one has left an address space that its parent and its child go on sharing */
static char gap_stacks[2][65536] __attribute__((aligned(16)));

static int gap_last(void *arg)
{
	subject_mark("last");
	pause();
	return 0;
}

static int gap_middle(void *arg)
{
	CHECK(clone(gap_last, gap_stacks[1] + sizeof(gap_stacks[1]), CLONE_VM | SIGCHLD, NULL) > 0);
	execlp("sleep", "sleep", "1000", NULL);
	return 1;
}

static void gap(void)
{
	char comm[32] = "", path[64];

	pid_t pid = clone(gap_middle, gap_stacks[0] + sizeof(gap_stacks[0]), CLONE_VM | SIGCHLD,
	                  NULL);
	CHECK(pid > 0);
	subject_wait("last");
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	while (strcmp(comm, "sleep\n")) {
		FILE *f = fopen(path, "re");
		CHECK(f && fgets(comm, sizeof(comm), f));
		fclose(f);
	}
	subject_checkpoint();
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *f = fopen(path, "re");
	int last = 0;
	CHECK(f && fscanf(f, "%d", &last) == 1);
	CHECK(kill(last, SIGKILL) == 0 && kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

/* none of them has one: nothing is shared */
static void io_none(void)
{
	pid_t a = child_with(0, NULL), b = child_with(0, NULL);

	subject_checkpoint();
	for (int i = 0; i < 3; i++)
		CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS,
		                 i == 0   ? 0
		                 : i == 1 ? a
		                          : b),
		         0);
	end_children();
}

static void *wait_here(void *arg)
{
	subject_use_stack();
	*(pid_t *)arg = gettid();
	subject_mark("thread");
	subject_wait("end");
	return NULL;
}

static void undo_threads(void)
{
	pthread_t t;
	pid_t tid;

	CHECK(pthread_create(&t, NULL, wait_here, &tid) == 0);
	subject_wait("thread");
	pid_t pid = child_with(0, NULL);
	CHECK(same(getpid(), tid, KCMP_SYSVSEM));
	subject_checkpoint();
	CHECK(same(getpid(), tid, KCMP_SYSVSEM));
	CHECK(!same(getpid(), pid, KCMP_SYSVSEM));
	end_children();
	CHECK(pthread_join(t, NULL) == 0);
}

static void undo_processes(void)
{
	pid_t shares = child_with(CLONE_SYSVSEM, NULL);
	pid_t other = child_with(0, NULL);

	subject_checkpoint();
	CHECK(same(getpid(), shares, KCMP_SYSVSEM));
	CHECK(!same(getpid(), other, KCMP_SYSVSEM));
	end_children();
}

static void undo_separate(void)
{
	pid_t a = child_with(CLONE_SYSVSEM, NULL);

	CHECK(unshare(CLONE_SYSVSEM) == 0);
	pid_t b = child_with(CLONE_SYSVSEM, NULL);
	subject_checkpoint();
	CHECK(same(getpid(), b, KCMP_SYSVSEM));
	CHECK(!same(a, b, KCMP_SYSVSEM));
	end_children();
}

static int semaphore = -1;

static void make_semaphore(void)
{
	semaphore = semget(IPC_PRIVATE, 1, 0600);
	CHECK(semaphore >= 0);
}

static void remove_semaphore(void)
{
	CHECK(semctl(semaphore, 0, IPC_RMID) == 0);
}

static void operate(int value, int flags)
{
	struct sembuf op = { 0, (short)value, (short)flags };

	CHECK(semop(semaphore, &op, 1) == 0);
}

/* a list, and semaphores that only a process outside of it has touched */
static void undo_others(void)
{
	pid_t tid;
	pthread_t t;

	make_semaphore();
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		operate(1, 0);
		_exit(0);
	}
	subject_check_exit(pid, 0);
	CHECK(pthread_create(&t, NULL, wait_here, &tid) == 0);
	subject_wait("thread");
	subject_checkpoint();
	end_children();
	CHECK(pthread_join(t, NULL) == 0);
	remove_semaphore();
}

static void undo(void)
{
	make_semaphore();
	operate(1, SEM_UNDO);
	subject_checkpoint();
	remove_semaphore();
}

static void undo_with_thread(void)
{
	pthread_t t;
	pid_t tid;

	CHECK(pthread_create(&t, NULL, wait_here, &tid) == 0);
	subject_wait("thread");
	make_semaphore();
	operate(1, SEM_UNDO);
	subject_checkpoint();
	end_children();
	CHECK(pthread_join(t, NULL) == 0);
	remove_semaphore();
}

/* used without SEM_UNDO, and with it and undone again, by a process with threads */
static void plain(void)
{
	pthread_t t;
	pid_t tid;

	CHECK(pthread_create(&t, NULL, wait_here, &tid) == 0);
	subject_wait("thread");
	make_semaphore();
	operate(2, 0);
	operate(-1, SEM_UNDO);
	operate(1, SEM_UNDO);
	subject_checkpoint();
	CHECK_EQ(semctl(semaphore, 0, GETVAL), 2);
	end_children();
	CHECK(pthread_join(t, NULL) == 0);
	remove_semaphore();
}

static int get_value(int k)
{
	return semctl(semaphore, k, GETVAL);
}

/* at both ends of what a semaphore can be, in a set of many */
static void undo_values(void)
{
	static const int values[] = { 0, 1, 2, 32766, 32767 };
	struct sembuf op = { 0, 1, SEM_UNDO };

	semaphore = semget(IPC_PRIVATE, 50, 0600);
	CHECK(semaphore >= 0);
	CHECK(semop(semaphore, &op, 1) == 0);
	op.sem_op = -1;
	CHECK(semop(semaphore, &op, 1) == 0);
	for (int i = 0; i < 50; i++)
		CHECK(semctl(semaphore, i, SETVAL, values[i % 5]) == 0);
	int pid = semctl(semaphore, 7, GETPID);
	subject_checkpoint();
	for (int i = 0; i < 50; i++)
		CHECK_EQ(get_value(i), values[i % 5]);
	CHECK_EQ(semctl(semaphore, 7, GETPID), pid);
	remove_semaphore();
}

static void undo_less(void)
{
	make_semaphore();
	operate(1, 0);
	operate(-1, SEM_UNDO);
	subject_checkpoint();
	CHECK_EQ(get_value(0), 0);
	remove_semaphore();
}

static void undo_highest(void)
{
	make_semaphore();
	operate(32766, 0);
	operate(1, SEM_UNDO);
	subject_checkpoint();
	CHECK_EQ(get_value(0), 32767);
	remove_semaphore();
}

/* another process was the last to operate on it, and this one has threads */
static void undo_since(void)
{
	pthread_t t;
	pid_t tid;

	CHECK(pthread_create(&t, NULL, wait_here, &tid) == 0);
	subject_wait("thread");
	make_semaphore();
	operate(1, SEM_UNDO);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		operate(1, 0);
		_exit(0);
	}
	subject_check_exit(pid, 0);
	subject_checkpoint();
	end_children();
	CHECK(pthread_join(t, NULL) == 0);
	remove_semaphore();
}

static void undo_in_many(void)
{
	struct sembuf op = { 41, 5, SEM_UNDO };

	semaphore = semget(IPC_PRIVATE, 50, 0600);
	CHECK(semaphore >= 0);
	CHECK(semop(semaphore, &op, 1) == 0);
	subject_checkpoint();
	CHECK_EQ(get_value(41), 5);
	remove_semaphore();
}

static void undo_closed(void)
{
	make_semaphore();
	operate(1, SEM_UNDO);
	CHECK(chmod(".", 0777) == 0);
	CHECK(setresuid(1000, 1000, 0) == 0);
	subject_checkpoint();
	CHECK(setresuid(0, 0, 0) == 0);
	CHECK_EQ(get_value(0), 1);
	remove_semaphore();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(
		argc, argv, CASE(io), CASE(io_threads), CASE(io_unshared), CASE(io_none), CASE(gap),
		CASE(undo_threads), CASE(undo_processes), CASE(undo_separate), CASE(undo_others),
		CASE(undo), CASE(plain), CASE(undo_values), CASE(undo_less), CASE(undo_highest),
		CASE(undo_since), CASE(undo_in_many), CASE(undo_closed), CASE(undo_with_thread));
}
