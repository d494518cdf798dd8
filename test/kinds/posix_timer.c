/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX timers under their ids. Times are far away where nothing is to happen, so that no test
 * depends on how fast the machine is.
 *
 * TEST ids round-trip -- ids
 * TEST remaining round-trip -- remaining
 * TEST absolute round-trip -- absolute
 * TEST thread round-trip -- thread
 * TEST value round-trip -- value
 * TEST pending round-trip -- pending
 * TEST pending-disarmed round-trip -- pending_disarmed
 * TEST periodic round-trip -- periodic
 * TEST cpu-clock refuse code=posix_timer.cpu-clock -- cpu_clock
 * TEST thread-clock refuse code=posix_timer.cpu-clock -- thread_clock
 * TEST overrun refuse code=posix_timer.overrun except=status/ShdPnd -- overrun
 * TEST blocked-periodic refuse code=posix_timer.overrun -- blocked
 * TEST high-id round-trip needs=timer_restore_ids -- high_id
 * TEST high-id-elsewhere restart-refuse needs=timer_restore_ids code=posix_timer.id under="env STASIS_WITHOUT=timer_restore_ids" -- high_id
 * TEST dead-thread refuse code=posix_timer.thread -- dead_thread
 *
 * overrun: the timer goes on meanwhile, and on a slow machine it expires again.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#include "cases.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* by system call: the C library's ids are its own */
static int create(clockid_t clock, int notify, int sig, int value, pid_t tid)
{
	struct sigevent event;
	int id = -1;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = notify;
	event.sigev_signo = sig;
	event.sigev_value.sival_int = value;
	if (tid)
		event.sigev_notify_thread_id = tid;
	CHECK(syscall(SYS_timer_create, clock, &event, &id) == 0);
	return id;
}

static void arm(int id, int flags, struct timespec value, struct timespec interval)
{
	struct itimerspec spec = { .it_value = value, .it_interval = interval };

	CHECK(syscall(SYS_timer_settime, id, flags, &spec, NULL) == 0);
}

static struct itimerspec left(int id)
{
	struct itimerspec spec;

	CHECK(syscall(SYS_timer_gettime, id, &spec) == 0);
	return spec;
}

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

static siginfo_t take(int sig)
{
	sigset_t set;
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK_EQ(sigwaitinfo(&set, &info), sig);
	return info;
}

static void ids(void)
{
	int id[6];

	for (int i = 0; i < 6; i++)
		id[i] = create(i % 2 ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGUSR1, i,
		               0);
	for (int i = 0; i < 6; i += 2)
		CHECK(syscall(SYS_timer_delete, id[i]) == 0);
	subject_checkpoint();
	for (int i = 0; i < 6; i++) {
		struct itimerspec spec;
		CHECK_EQ(syscall(SYS_timer_gettime, id[i], &spec), i % 2 ? 0 : -1);
	}
	int next = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	for (int i = 1; i < 6; i += 2)
		CHECK(next != id[i]);
}

static void remaining(void)
{
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 0, 0);
	int idle = create(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 0, 0);
	int none = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);

	arm(id, 0, (struct timespec){ 8000, 0 }, (struct timespec){ 500, 5 });
	arm(none, 0, (struct timespec){ 9000, 0 }, (struct timespec){ 0 });
	subject_checkpoint();
	struct itimerspec spec = left(id);
	CHECK(spec.it_value.tv_sec <= 8000 && spec.it_value.tv_sec > 7000);
	CHECK_EQ(spec.it_interval.tv_sec, 500);
	CHECK_EQ(spec.it_interval.tv_nsec, 5);
	spec = left(none);
	CHECK(spec.it_value.tv_sec <= 9000 && spec.it_value.tv_sec > 8000);
	spec = left(idle);
	CHECK(spec.it_value.tv_sec == 0 && spec.it_value.tv_nsec == 0);
}

static void absolute(void)
{
	int id = create(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 0, 0);
	struct timespec when;

	CHECK(clock_gettime(CLOCK_REALTIME, &when) == 0);
	when.tv_sec += 4000;
	arm(id, TIMER_ABSTIME, when, (struct timespec){ 0 });
	subject_checkpoint();
	struct itimerspec spec = left(id);
	CHECK(spec.it_value.tv_sec <= 4000 && spec.it_value.tv_sec > 3000);
}

/* ---- to one thread ---- */

static volatile pid_t thread_tid;
static volatile int thread_ticks, leave;

static void on_thread(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	CHECK_EQ(syscall(SYS_gettid), thread_tid);
	CHECK_EQ(info->si_code, SI_TIMER);
	CHECK_EQ(info->si_value.sival_int, 77);
	thread_ticks++;
}

static void *waiter(void *arg)
{
	(void)arg;
	thread_tid = (pid_t)syscall(SYS_gettid);
	while (!leave)
		usleep(1000);
	return NULL;
}

static pthread_t start_thread(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, waiter, NULL) == 0);
	while (!thread_tid)
		usleep(1000);
	return t;
}

static void thread(void)
{
	struct sigaction action = { .sa_sigaction = on_thread, .sa_flags = SA_SIGINFO };
	pthread_t t = start_thread();

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	int id = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR1, 77, thread_tid);
	arm(id, 0, (struct timespec){ 5000, 0 }, (struct timespec){ 0 });
	subject_checkpoint();
	CHECK_EQ(thread_ticks, 0);
	arm(id, 0, (struct timespec){ 0, 1000000 }, (struct timespec){ 0 });
	while (!thread_ticks)
		usleep(1000);
	leave = 1;
	CHECK(pthread_join(t, NULL) == 0);
}

static void value(void)
{
	block(SIGRTMIN);
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 123456, 0);
	subject_checkpoint();
	arm(id, 0, (struct timespec){ 0, 1000 }, (struct timespec){ 0 });
	siginfo_t info = take(SIGRTMIN);
	CHECK_EQ(info.si_code, SI_TIMER);
	CHECK_EQ(info.si_value.sival_int, 123456);
	CHECK_EQ(info.si_timerid, id);
}

/* it has expired, its signal waits: it comes once, and the timer can be used again */
static void pending(void)
{
	sigset_t set;

	block(SIGRTMIN);
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 55, 0);
	arm(id, 0, (struct timespec){ 0, 1000 }, (struct timespec){ 0 });
	do {
		CHECK(sigpending(&set) == 0);
	} while (!sigismember(&set, SIGRTMIN));
	subject_checkpoint();
	siginfo_t info = take(SIGRTMIN);
	CHECK_EQ(info.si_code, SI_TIMER);
	CHECK_EQ(info.si_value.sival_int, 55);
	CHECK_EQ(info.si_overrun, 0);
	CHECK(sigpending(&set) == 0 && !sigismember(&set, SIGRTMIN));
	arm(id, 0, (struct timespec){ 0, 1000 }, (struct timespec){ 0 });
	CHECK_EQ(take(SIGRTMIN).si_timerid, id);
}

/* whether a pending signal still comes when its timer is disarmed: kernels differ */
static void expire(int id)
{
	sigset_t set;

	arm(id, 0, (struct timespec){ 0, 1000 }, (struct timespec){ 0 });
	do {
		CHECK(sigpending(&set) == 0);
	} while (!sigismember(&set, SIGRTMIN));
}

static bool comes_when_disarmed(int id)
{
	sigset_t set;

	arm(id, 0, (struct timespec){ 0 }, (struct timespec){ 0 });
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	return sigtimedwait(&set, NULL, &(struct timespec){ 0 }) == SIGRTMIN;
}

/* after the restart the kernel knows whose the signal is */
static void pending_disarmed(void)
{
	block(SIGRTMIN);
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0, 0);
	expire(id);
	bool comes = comes_when_disarmed(id);
	expire(id);
	subject_checkpoint();
	CHECK_EQ(comes_when_disarmed(id), comes);
}

static volatile int ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static void periodic(void)
{
	CHECK(signal(SIGUSR1, tick) != SIG_ERR);
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 0, 0);
	/* far apart enough for no overrun, which would be refused */
	arm(id, 0, (struct timespec){ 0, 1000000 }, (struct timespec){ 2, 0 });
	while (!ticks)
		usleep(1000);
	subject_checkpoint();
	int before = ticks;
	while (ticks == before)
		usleep(1000);
	CHECK_EQ(left(id).it_interval.tv_sec, 2);
}

/* ---- what is refused ---- */

static void cpu_clock(void)
{
	create(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 0, 0);
	subject_checkpoint();
}

static void thread_clock(void)
{
	create(CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 0, 0);
	subject_checkpoint();
}

/* its last signal was delivered with a count, which timer_getoverrun(2) still tells */
static void overrun(void)
{
	block(SIGRTMIN);
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0, 0);
	arm(id, 0, (struct timespec){ 0, 1000000 }, (struct timespec){ 1, 0 });
	usleep(1100000);
	CHECK(take(SIGRTMIN).si_overrun > 0);
	subject_checkpoint();
}

static void blocked(void)
{
	block(SIGRTMIN);
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0, 0);
	arm(id, 0, (struct timespec){ 0, 1000000 }, (struct timespec){ 0, 1000000 });
	usleep(20000);
	subject_checkpoint();
}

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif

/* as after a restart of a program that had made very many */
static void high_id(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	int id = 2000000000;

	if (prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0) < 0)
		SKIP("this kernel gives no timer a chosen id");
	CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) == 0);
	CHECK(prctl(PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0) == 0);
	CHECK_EQ(id, 2000000000);
	arm(id, 0, (struct timespec){ .tv_sec = 5000 }, (struct timespec){ 0 });
	subject_checkpoint();
	CHECK(left(id).it_value.tv_sec > 4000);
}

static void dead_thread(void)
{
	pthread_t t = start_thread();

	create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR1, 0, thread_tid);
	leave = 1;
	CHECK(pthread_join(t, NULL) == 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(ids), CASE(remaining), CASE(absolute), CASE(thread),
	                     CASE(value), CASE(pending), CASE(pending_disarmed), CASE(periodic),
	                     CASE(cpu_clock), CASE(thread_clock), CASE(overrun), CASE(blocked),
	                     CASE(high_id), CASE(dead_thread));
}
