/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is to be undone of semaphores of an IPC namespace of the set, in all sizes.
 *
 * TEST undo round-trip -- undo
 * TEST values round-trip -- values
 * TEST shared round-trip -- shared
 * TEST separate round-trip -- separate
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cases.h"

static void operate(int id, int k, int by, int flags)
{
	struct sembuf op = { .sem_num = (unsigned short)k,
		             .sem_op = (short)by,
		             .sem_flg = (short)(flags | IPC_NOWAIT) };

	CHECK(semop(id, &op, 1) == 0);
}

static int set(int n)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = semget(5, n, IPC_CREAT | 0600);
	CHECK(id >= 0);
	return id;
}

/* a lock that is held: the end of its holder frees it */
static void undo(void)
{
	int id = set(2);

	operate(id, 1, 1, 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		operate(id, 1, -1, SEM_UNDO);
		subject_settle("child");
		subject_wait("checked");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_mark("checked");
	subject_check_exit(pid, 0);
	CHECK(semctl(id, 1, GETVAL) == 1 && semctl(id, 0, GETVAL) == 0);
}

static const struct {
	int adjustment, value; /* what is there at the checkpoint */
} cases_of_values[] = {
	{ 1, 0 },          { -1, 1 },         { 2, 5 },          { -2, 2 },
	{ 32767, 0 },      { -32767, 32767 }, { -32768, 32767 }, { 16384, 16383 },
	{ -16384, 32767 }, { 20000, 12767 },  { -20000, 20001 }, { 32766, 1 },
	{ -32766, 32766 }, { 0, 7 },          { 1, 32766 },      { 12345, 100 },
};
enum { N = sizeof(cases_of_values) / sizeof(cases_of_values[0]) };

static void make(int id, int k)
{
	int a = cases_of_values[k].adjustment, value = cases_of_values[k].value;

	if (a > 0) { /* down from there */
		operate(id, k, a, 0);
		operate(id, k, -a, SEM_UNDO);
		operate(id, k, value, 0);
	} else if (a < 0) {
		for (int left = -a; left > 0; left -= 16384) {
			int step = left < 16384 ? left : 16384;
			operate(id, k, step, SEM_UNDO);
			operate(id, k, -step, 0);
		}
		operate(id, k, value, 0);
	} else
		operate(id, k, value, 0);
}

static void values(void)
{
	int id = set(N);

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		for (int k = 0; k < N; k++)
			make(id, k);
		subject_settle("child");
		subject_wait("checked");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	for (int k = 0; k < N; k++)
		CHECK(semctl(id, k, GETVAL) == cases_of_values[k].value);
	subject_mark("checked");
	subject_check_exit(pid, 0);
	for (int k = 0; k < N; k++) {
		int want = cases_of_values[k].value + cases_of_values[k].adjustment;
		CHECK(semctl(id, k, GETVAL) == (want < 0 ? 0 : want));
	}
}

/* two processes have one list: it is for the end of the last */
static void shared(void)
{
	int id = set(1);

	operate(id, 0, 3, SEM_UNDO);
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_SYSVSEM | SIGCHLD, 0, 0, 0, 0);
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_settle("child");
		subject_wait("checked");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_mark("checked");
	subject_check_exit(pid, 0);
	CHECK(semctl(id, 0, GETVAL) == 3);
	CHECK(unshare(CLONE_SYSVSEM) == 0);
	CHECK(semctl(id, 0, GETVAL) == 0);
}

static void separate(void)
{
	int id = set(1);

	operate(id, 0, 3, SEM_UNDO);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		operate(id, 0, 4, SEM_UNDO);
		subject_settle("child");
		subject_wait("checked");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK(semctl(id, 0, GETVAL) == 7);
	subject_mark("checked");
	subject_check_exit(pid, 0);
	CHECK(semctl(id, 0, GETVAL) == 3);
	CHECK(unshare(CLONE_SYSVSEM) == 0);
	CHECK(semctl(id, 0, GETVAL) == 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(undo), CASE(values), CASE(shared), CASE(separate));
}
