/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals that are pending: of the thread and of the process, with siginfo, real-time ones in the
 * order in which they were queued.
 *
 * TEST process round-trip -- process
 * TEST thread round-trip -- thread
 * TEST order round-trip -- order
 * TEST siginfo round-trip -- siginfo
 * TEST children round-trip -- children
 * TEST unqueued round-trip -- unqueued
 * TEST many refuse code=sigpending.many -- many
 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "cases.h"

static void block_all(void)
{
	sigset_t set;

	sigfillset(&set);
	CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
}

static siginfo_t take(int sig)
{
	uint64_t set = 1ull << (sig - 1);
	siginfo_t info;

	/* not sigtimedwait(), which makes SI_USER of SI_TKILL */
	memset(&info, 0, sizeof(info));
	if (syscall(SYS_rt_sigtimedwait, &set, &info, &(struct timespec){ 0 }, 8) != sig)
		FAIL("signal %d is not pending", sig);
	return info;
}

static void check_none(void)
{
	sigset_t set;

	sigfillset(&set);
	int sig = sigtimedwait(&set, NULL, &(struct timespec){ 0 });
	if (sig > 0)
		FAIL("signal %d is pending as well", sig);
}

static void process(void)
{
	block_all();
	CHECK(kill(getpid(), SIGTERM) == 0);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	subject_checkpoint();
	siginfo_t info = take(SIGTERM);
	CHECK_EQ(info.si_code, SI_USER);
	CHECK_EQ(info.si_pid, getpid());
	take(SIGUSR1);
	check_none();
}

/* ---- sent to one thread: the other does not get it ---- */

static pthread_barrier_t ready;

static void *receiver(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&ready);
	subject_wait_go();
	siginfo_t info = take(SIGUSR2);
	CHECK_EQ(info.si_code, SI_TKILL);
	return NULL;
}

static void thread(void)
{
	pthread_t t;

	block_all();
	CHECK(pthread_barrier_init(&ready, NULL, 2) == 0);
	CHECK(pthread_create(&t, NULL, receiver, NULL) == 0);
	pthread_barrier_wait(&ready);
	CHECK(pthread_kill(t, SIGUSR2) == 0);
	CHECK(pthread_kill(pthread_self(), SIGHUP) == 0);
	subject_checkpoint();
	take(SIGHUP);
	check_none();
	CHECK(pthread_join(t, NULL) == 0);
	check_none();
}

static void queue(int sig, int value)
{
	CHECK(sigqueue(getpid(), sig, (union sigval){ .sival_int = value }) == 0);
}

static void order(void)
{
	block_all();
	for (int i = 0; i < 300; i++)
		queue(SIGRTMIN + 1 + i % 2, i);
	subject_checkpoint();
	for (int odd = 0; odd < 2; odd++)
		for (int i = odd; i < 300; i += 2) {
			siginfo_t info = take(SIGRTMIN + 1 + odd);
			CHECK_EQ(info.si_code, SI_QUEUE);
			CHECK_EQ(info.si_value.sival_int, i);
		}
	check_none();
}

/* every byte of it, as the sender has made it up */
static void siginfo(void)
{
	siginfo_t sent, info;

	block_all();
	memset(&sent, 0, sizeof(sent));
	for (size_t i = 12; i < 48; i++) /* the kernel keeps no more */
		((uint8_t *)&sent)[i] = (uint8_t)i;
	sent.si_signo = SIGRTMIN;
	sent.si_code = -77;
	sent.si_errno = 55;
	CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &sent) == 0);
	subject_checkpoint();
	info = take(SIGRTMIN);
	CHECK(!memcmp(&info, &sent, sizeof(info)));
	check_none();
}

/* a SIGCHLD of a child that is waited for, and none for those that the restart has made */
static void children(void)
{
	block_all();
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(7);
		siginfo_t info;
		CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
	}
	siginfo_t info = take(SIGCHLD);
	CHECK_EQ(info.si_code, CLD_EXITED);
	subject_checkpoint();
	check_none();
	for (int i = 0; i < 2; i++) {
		int status;
		CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 7);
	}
}

/* what was sent when the queue was full is pending all the same, without siginfo */
static void unqueued(void)
{
	struct rlimit limit = { 0, 0 }, before;

	block_all();
	CHECK(getrlimit(RLIMIT_SIGPENDING, &before) == 0);
	limit.rlim_max = before.rlim_max;
	CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	queue(SIGUSR1, 1);
	CHECK(setrlimit(RLIMIT_SIGPENDING, &before) == 0);
	subject_checkpoint();
	siginfo_t info = take(SIGUSR1);
	CHECK_EQ(info.si_code, SI_USER);
	CHECK_EQ(info.si_pid, 0);
	check_none();
}

static void many(void)
{
	struct rlimit limit;

	block_all();
	CHECK(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	if (limit.rlim_cur < 8200)
		SKIP("fewer signals can be queued than an image holds");
	for (int i = 0; i < 8100; i++)
		queue(SIGRTMIN, i);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(process), CASE(thread), CASE(order), CASE(siginfo),
	                     CASE(children), CASE(unqueued), CASE(many));
}
