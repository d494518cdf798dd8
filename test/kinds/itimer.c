/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval timers: what was left, the interval, and a signal that comes once.
 *
 * TEST real round-trip -- real
 * TEST virtual-and-prof round-trip -- cpu
 * A signal that comes all the time is pending now and then:
 * TEST periodic round-trip except=status/ShdPnd -- periodic
 * TEST expired round-trip -- expired
 */
#include <signal.h>
#include <sys/time.h>

#include "cases.h"

static volatile int ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static void arm(int which, long seconds, long interval)
{
	struct itimerval value = { .it_value.tv_sec = seconds, .it_interval.tv_sec = interval };

	CHECK(setitimer(which, &value, NULL) == 0);
}

/* at most what was left, and not far from it: CPU time passes slowly, and tests take seconds */
static void check_left(int which, long seconds, long interval)
{
	struct itimerval value;

	CHECK(getitimer(which, &value) == 0);
	CHECK(value.it_value.tv_sec <= seconds && value.it_value.tv_sec >= seconds - 600);
	CHECK_EQ(value.it_interval.tv_sec, interval);
}

static void real(void)
{
	CHECK(signal(SIGALRM, tick) != SIG_ERR);
	arm(ITIMER_REAL, 10000, 0);
	subject_checkpoint();
	check_left(ITIMER_REAL, 10000, 0);
	CHECK_EQ(ticks, 0);
}

static void cpu(void)
{
	arm(ITIMER_VIRTUAL, 5000, 77);
	arm(ITIMER_PROF, 6000, 88);
	subject_checkpoint();
	check_left(ITIMER_VIRTUAL, 5000, 77);
	check_left(ITIMER_PROF, 6000, 88);
	check_left(ITIMER_REAL, 0, 0);
}

static void periodic(void)
{
	struct itimerval value = { .it_value.tv_usec = 50000, .it_interval.tv_usec = 50000 };

	CHECK(signal(SIGALRM, tick) != SIG_ERR);
	CHECK(setitimer(ITIMER_REAL, &value, NULL) == 0);
	while (!ticks)
		usleep(1000);
	subject_checkpoint();
	int before = ticks;
	while (ticks < before + 3)
		usleep(1000);
	CHECK(getitimer(ITIMER_REAL, &value) == 0);
	CHECK_EQ(value.it_interval.tv_usec, 50000);
}

/* its signal is pending, and the timer goes on when that is taken */
static void expired(void)
{
	struct itimerval value = { .it_value.tv_usec = 1000, .it_interval.tv_usec = 20000 };
	sigset_t set, pending;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &value, NULL) == 0);
	do {
		CHECK(sigpending(&pending) == 0);
	} while (!sigismember(&pending, SIGALRM));
	subject_checkpoint();
	for (int i = 0; i < 3; i++)
		CHECK_EQ(sigwaitinfo(&set, NULL), SIGALRM);
	CHECK(getitimer(ITIMER_REAL, &value) == 0);
	CHECK_EQ(value.it_interval.tv_usec, 20000);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(real), CASE(cpu), CASE(periodic), CASE(expired));
}
