/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Job control: what is stopped stays stopped, SIGCONT reaches it once, and what the parent knew it
 * is not told again.
 *
 * TEST waited round-trip -- waited
 * TEST unwaited round-trip -- unwaited
 * TEST tstp round-trip -- tstp
 * TEST tstp-unwaited round-trip -- tstp_unwaited
 * TEST threads round-trip -- threads
 * TEST pending round-trip -- pending
 * TEST siginfo round-trip -- sigchld
 * TEST continued round-trip -- was_continued
 * TEST continued-threads round-trip -- was_continued_threads
 * TEST continued-timed round-trip -- was_continued_timed
 * TEST continued-asked round-trip -- was_continued_asked
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "cases.h"

static volatile int continued, told;

static void on_cont(int sig)
{
	(void)sig;
	continued++;
}

static void on_child(int sig)
{
	(void)sig;
	told++;
}

/* a child that counts SIGCONT, and ends with the count when a second one has had time to come */
static pid_t make_child(void (*prepare)(void))
{
	int gate[2];
	char c;

	CHECK(pipe(gate) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		/* a group of its own, with the parent outside, as a shell does it: an orphaned one
		 * would ignore SIGTSTP */
		CHECK(setpgid(0, 0) == 0);
		CHECK(signal(SIGCONT, on_cont) != SIG_ERR);
		if (prepare)
			prepare();
		CHECK(write(gate[1], "", 1) == 1);
		close(gate[0]);
		close(gate[1]);
		while (!continued)
			usleep(1000);
		usleep(20000);
		_exit(10 + continued);
	}
	CHECK(read(gate[0], &c, 1) == 1);
	close(gate[0]);
	close(gate[1]);
	return pid;
}

static void await_stop(pid_t pid, int sig, int options)
{
	siginfo_t info = { 0 };

	CHECK(waitid(P_PID, (id_t)pid, &info, WSTOPPED | options) == 0);
	CHECK_EQ(info.si_pid, pid);
	CHECK_EQ(info.si_status, sig);
}

static void check_stopped(pid_t pid)
{
	char path[64], text[512] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "re");
	CHECK(f && fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	CHECK_EQ(strrchr(text, ')')[2], 'T');
}

static bool reports_stop(pid_t pid)
{
	siginfo_t info = { 0 };

	CHECK(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0);
	return info.si_pid == pid;
}

static void go_on(pid_t pid)
{
	check_stopped(pid);
	CHECK(kill(pid, SIGCONT) == 0);
	subject_check_exit(pid, 11);
}

/* the parent has waited for the stop: no second report, no second SIGCHLD */
static void stop_and_wait(int sig, void (*prepare)(void))
{
	CHECK(signal(SIGCHLD, on_child) != SIG_ERR);
	pid_t pid = make_child(prepare);
	CHECK(kill(pid, sig) == 0);
	await_stop(pid, sig, 0);
	CHECK_EQ(told, 1);
	subject_checkpoint();
	CHECK(!reports_stop(pid));
	CHECK_EQ(told, 1);
	go_on(pid);
}

static void waited(void)
{
	stop_and_wait(SIGSTOP, NULL);
}

static void tstp(void)
{
	stop_and_wait(SIGTSTP, NULL);
}

/* it has not: the report is there afterwards, with the signal that it was */
static void stop_unwaited(int sig)
{
	CHECK(signal(SIGCHLD, on_child) != SIG_ERR);
	pid_t pid = make_child(NULL);
	CHECK(kill(pid, sig) == 0);
	await_stop(pid, sig, WNOWAIT);
	CHECK_EQ(told, 1);
	subject_checkpoint();
	CHECK_EQ(told, 1);
	await_stop(pid, sig, 0);
	go_on(pid);
}

static void unwaited(void)
{
	stop_unwaited(SIGSTOP);
}

static void tstp_unwaited(void)
{
	stop_unwaited(SIGTSTP);
}

static void *wait_for_ever(void *arg)
{
	(void)arg;
	while (pause() < 0)
		;
	return NULL;
}

static void make_threads(void)
{
	pthread_t t;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCONT);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	for (int i = 0; i < 5; i++)
		CHECK(pthread_create(&t, NULL, wait_for_ever, NULL) == 0);
	CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void threads(void)
{
	stop_and_wait(SIGSTOP, make_threads);
}

/* a deadly signal that came while it was stopped acts when it is continued, not before */
static void pending(void)
{
	int status;
	pid_t pid = make_child(NULL);

	CHECK(kill(pid, SIGSTOP) == 0);
	await_stop(pid, SIGSTOP, 0);
	CHECK(kill(pid, SIGTERM) == 0);
	subject_checkpoint();
	check_stopped(pid);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* a SIGCHLD that the parent holds back is still there, and only one */
static void sigchld(void)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	pid_t pid = make_child(NULL);
	CHECK(kill(pid, SIGSTOP) == 0);
	await_stop(pid, SIGSTOP, WNOWAIT);
	subject_checkpoint();
	CHECK_EQ(sigtimedwait(&set, &info, &(struct timespec){ 0 }), SIGCHLD);
	CHECK_EQ(info.si_code, CLD_STOPPED);
	CHECK_EQ(info.si_pid, pid);
	CHECK(sigtimedwait(&set, &info, &(struct timespec){ 0 }) < 0);
	await_stop(pid, SIGSTOP, 0);
	go_on(pid);
}

static bool reports_continued(pid_t pid, int options)
{
	siginfo_t info = { 0 };

	CHECK(waitid(P_PID, (id_t)pid, &info, WCONTINUED | WNOHANG | options) == 0);
	return info.si_pid == pid && info.si_status == SIGCONT;
}

/* runs after a stop, of which the parent knows; that it goes on it has not asked yet */
static pid_t stop_and_continue(pid_t pid)
{
	CHECK(signal(SIGCHLD, on_child) != SIG_ERR);
	CHECK(kill(pid, SIGSTOP) == 0);
	await_stop(pid, SIGSTOP, 0);
	CHECK(kill(pid, SIGCONT) == 0);
	while (told < 2)
		usleep(1000);
	CHECK(reports_continued(pid, WNOWAIT));
	return pid;
}

/* it may ask once, and no second SIGCHLD or SIGCONT comes */
static void check_continued(pid_t pid, int status)
{
	CHECK(reports_continued(pid, 0));
	CHECK(!reports_continued(pid, 0) && !reports_stop(pid));
	CHECK_EQ(told, 2);
	CHECK(kill(pid, SIGUSR1) == 0);
	subject_check_exit(pid, status);
}

static void on_usr1(int sig)
{
	(void)sig;
	_exit(30 + continued);
}

static void until_usr1(void)
{
	CHECK(signal(SIGUSR1, on_usr1) != SIG_ERR);
	for (;;)
		pause();
}

static pid_t make_lasting(void (*prepare)(void), void (*then)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(signal(SIGCONT, on_cont) != SIG_ERR);
		if (prepare)
			prepare();
		subject_mark("lasts");
		then();
	}
	while (access("lasts", F_OK) < 0)
		usleep(1000);
	return pid;
}

static void was_continued(void)
{
	pid_t pid = stop_and_continue(make_lasting(NULL, until_usr1));

	subject_checkpoint();
	check_continued(pid, 31);
}

static void was_continued_threads(void)
{
	pid_t pid = stop_and_continue(make_lasting(make_threads, until_usr1));

	subject_checkpoint();
	check_continued(pid, 31);
}

static void sleeps(void)
{
	CHECK(signal(SIGUSR1, on_usr1) != SIG_ERR);
	CHECK(signal(SIGCONT, SIG_DFL) != SIG_ERR);
	for (;;)
		if (nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL) < 0)
			_exit(99);
}

/* a call that goes on after the stop is not interrupted by the one at restart */
static void was_continued_timed(void)
{
	pid_t pid = make_lasting(NULL, sleeps);

	subject_wait_call(pid, SYS_clock_nanosleep);
	stop_and_continue(pid);
	subject_checkpoint();
	check_continued(pid, 30);
}

static void was_continued_asked(void)
{
	pid_t pid = stop_and_continue(make_lasting(NULL, until_usr1));

	CHECK(reports_continued(pid, 0));
	subject_checkpoint();
	CHECK(!reports_continued(pid, 0));
	CHECK_EQ(told, 2);
	CHECK(kill(pid, SIGUSR1) == 0);
	subject_check_exit(pid, 31);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(waited), CASE(unwaited), CASE(tstp),
	                     CASE(tstp_unwaited), CASE(threads), CASE(pending), CASE(sigchld),
	                     CASE(was_continued), CASE(was_continued_threads),
	                     CASE(was_continued_timed), CASE(was_continued_asked));
}
