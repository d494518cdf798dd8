/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes with threads: many, with leaders that have ended, with children of single threads, and
 * threads that share less than threads do.
 *
 * TEST fifty round-trip -- many 50
 * TEST thousand round-trip -- many 1000
 * TEST dead-leader round-trip needs=pidfd_thread -- dead_leader
 * TEST dead-leader-child round-trip needs=pidfd_thread -- dead_leader_child
 * TEST children round-trip -- children
 * TEST parent-death-signal round-trip -- death_signal
 * TEST unshared round-trip needs=pidfd_thread -- unshared
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

static pthread_barrier_t set_up;
static int n_threads;
static volatile int over;

/* ---- many, each with its tid, name and thread-local storage ---- */

static __thread int number;

static void *one_of_many(void *arg)
{
	char name[16], seen[16];
	pid_t tid = (pid_t)syscall(SYS_gettid);

	number = (int)(intptr_t)arg;
	snprintf(name, sizeof(name), "thread %d", number);
	CHECK(prctl(PR_SET_NAME, name) == 0);
	pthread_barrier_wait(&set_up);
	syscall(SYS_futex, &over, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
	while (!over)
		usleep(100000);
	CHECK_EQ(syscall(SYS_gettid), tid);
	CHECK_EQ(number, (intptr_t)arg);
	CHECK(prctl(PR_GET_NAME, seen) == 0 && !strcmp(seen, name));
	return NULL;
}

static void many(void)
{
	pthread_t *threads = calloc((size_t)n_threads, sizeof(*threads));
	pthread_attr_t attr;

	CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 65536) == 0);
	CHECK(pthread_barrier_init(&set_up, NULL, (unsigned)n_threads + 1) == 0);
	for (int i = 0; i < n_threads; i++)
		CHECK(pthread_create(&threads[i], &attr, one_of_many, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	over = 1;
	syscall(SYS_futex, &over, 1 /* FUTEX_WAKE */, n_threads, NULL, NULL, 0);
	for (int i = 0; i < n_threads; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* ---- the leader has ended ---- */

static bool leader_is_dead(void)
{
	char text[512] = "";
	FILE *f = fopen("/proc/self/stat", "re");

	CHECK(f && fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	return strrchr(text, ')')[2] == 'Z';
}

static void *outlives(void *arg)
{
	while (!leader_is_dead())
		usleep(1000);
	if (arg) {
		subject_wait_go();
		return NULL;
	}
	subject_checkpoint();
	CHECK(leader_is_dead());
	CHECK(syscall(SYS_getpid) != syscall(SYS_gettid));
	_exit(0);
}

static void end_leader(bool of_child)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, outlives, (void *)1) == 0);
	if (!of_child)
		CHECK(pthread_create(&t, NULL, outlives, NULL) == 0);
	pthread_exit(NULL);
}

static void dead_leader(void)
{
	end_leader(false);
}

static void dead_leader_child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		end_leader(true);
	usleep(50000);
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

/* ---- children of threads ---- */

static volatile pid_t child_of_thread;

static void *has_child(void *arg)
{
	pid_t pid = fork();

	(void)arg;
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_wait_go();
		_exit(9);
	}
	pthread_barrier_wait(&set_up);
	subject_wait_go();
	int status;
	/* only its own children, waitpid(2) */
	CHECK(waitpid(pid, &status, __WNOTHREAD) == pid);
	CHECK_EQ(WEXITSTATUS(status), 9);
	return NULL;
}

static void children(void)
{
	pthread_t threads[3];

	CHECK(pthread_barrier_init(&set_up, NULL, 4) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&threads[i], NULL, has_child, NULL) == 0);
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	CHECK(waitpid(-1, NULL, __WNOTHREAD | WNOHANG) < 0 && errno == ECHILD);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* the signal comes when the thread ends that made the child, not the process, prctl(2) */
static void *has_child_that_follows(void *arg)
{
	int gate[2];
	char c;

	(void)arg;
	CHECK(pipe(gate) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
		CHECK(write(gate[1], "", 1) == 1);
		close(gate[0]);
		close(gate[1]);
		for (;;)
			pause();
	}
	CHECK(read(gate[0], &c, 1) == 1);
	close(gate[0]);
	close(gate[1]);
	child_of_thread = pid;
	subject_wait_go();
	return NULL;
}

static void death_signal(void)
{
	pthread_t t;
	int status;

	CHECK(pthread_create(&t, NULL, has_child_that_follows, NULL) == 0);
	while (!child_of_thread)
		usleep(1000);
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(waitpid(child_of_thread, &status, 0) == child_of_thread);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- threads with a descriptor table, or a working directory, of their own ---- */

static void *with_own(void *arg)
{
	bool files = (intptr_t)arg;

	CHECK(unshare(files ? CLONE_FILES : CLONE_FS) == 0);
	if (files)
		CHECK(dup2(1, 50) == 50);
	else
		CHECK(mkdir("inner", 0755) == 0 && chdir("inner") == 0);
	pthread_barrier_wait(&set_up);
	while (access(files ? "go" : "../go", F_OK) < 0)
		usleep(1000);
	if (files)
		CHECK(fcntl(50, F_GETFD) >= 0);
	else
		CHECK(access("../inner", F_OK) == 0);
	return NULL;
}

static void unshared(void)
{
	pthread_t threads[2];

	CHECK(pthread_barrier_init(&set_up, NULL, 3) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, with_own, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	CHECK(fcntl(50, F_GETFD) < 0 && errno == EBADF);
	CHECK(access("inner", F_OK) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv)
{
	n_threads = argc > 2 ? atoi(argv[2]) : 0;
	return SUBJECT_CASES(argc, argv, CASE(many), CASE(dead_leader), CASE(dead_leader_child),
	                     CASE(children), CASE(death_signal), CASE(unshared));
}
