/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timers as descriptors. Times are far away where nothing is to happen, so that no test depends on
 * how fast the machine is.
 *
 * TEST remaining round-trip -- remaining
 * TEST expired round-trip except=fdinfo/[0-9]*ticks -- expired
 * TEST time-of-day round-trip -- time_of_day
 * TEST cancel refuse code=timerfd.cancel -- cancel
 * TEST waiter round-trip -- waiter
 * TEST other-clock round-trip except=ns/time,ns/time_for_children under="unshare -Tf --monotonic 5000" -- remaining
 * TEST clock-continue round-trip except=ns/time,ns/time_for_children restart="--clock continue" under="unshare -Tf --monotonic 5000" -- remaining
 *
 */
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "cases.h"

#define FAR 500

static int make(int clock, int flags, int set, struct timespec value, struct timespec interval)
{
	struct itimerspec spec = { .it_value = value, .it_interval = interval };
	int fd = timerfd_create(clock, flags);

	CHECK(fd >= 0);
	CHECK(timerfd_settime(fd, set, &spec, NULL) == 0);
	return fd;
}

static void check(int fd, time_t left, time_t interval)
{
	struct itimerspec spec;

	CHECK(timerfd_gettime(fd, &spec) == 0);
	CHECK(spec.it_value.tv_sec <= left && spec.it_value.tv_sec >= left - FAR);
	CHECK_EQ(spec.it_interval.tv_sec, interval);
}

static struct timespec in(int clock, time_t seconds)
{
	struct timespec t;

	CHECK(clock_gettime(clock, &t) == 0);
	t.tv_sec += seconds;
	return t;
}

static void remaining(void)
{
	static const struct timespec none, far = { 3000, 5 }, often = { 2000, 0 };
	int a = make(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, far, none);
	int b = make(CLOCK_BOOTTIME, TFD_CLOEXEC, 0, far, often);
	int c = make(CLOCK_MONOTONIC, 0, TFD_TIMER_ABSTIME, in(CLOCK_MONOTONIC, 4000), none);
	int d = timerfd_create(CLOCK_REALTIME, 0);
	int e = make(CLOCK_MONOTONIC, 0, 0, none, often); /* not armed, with an interval */
	int f = make(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, far, none);
	uint64_t n;

	subject_checkpoint();
	check(a, 3000, 0);
	check(b, 3000, 2000);
	check(c, 4000, 0);
	check(d, 0, 0);
	check(e, 0, 2000);
	check(f, 3000, 0);
	CHECK(read(a, &n, sizeof(n)) < 0 && errno == EAGAIN);
	/* they are not one */
	struct itimerspec off = { 0 };
	CHECK(timerfd_settime(a, 0, &off, NULL) == 0);
	check(f, 3000, 0);
}

static uint64_t take(int fd)
{
	uint64_t n = 0;

	CHECK(read(fd, &n, sizeof(n)) == sizeof(n));
	return n;
}

static void expired(void)
{
	static const struct timespec none, soon = { 0, 1 }, often = { 3000, 0 };
	int once = make(CLOCK_MONOTONIC, 0, 0, soon, none);
	int periodic = make(CLOCK_MONOTONIC, 0, 0, soon, often);
	/* thousands of times before it is read */
	int quick = make(CLOCK_MONOTONIC, 0, 0, soon, (struct timespec){ 0, 1000 });

	subject_checkpoint();
	CHECK_EQ(take(once), 1);
	check(once, 0, 0);
	CHECK_EQ(take(periodic), 1);
	check(periodic, 3000, 3000);
	CHECK(take(quick) > 1000);
}

static void time_of_day(void)
{
	static const struct timespec none;
	int set = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
	int fd = make(CLOCK_REALTIME, 0, set, in(CLOCK_REALTIME, 4000), none);

	subject_checkpoint();
	check(fd, 4000, 0);
}

/* it may be that the clock has been set, and the program has not heard of it */
static void cancel(void)
{
	static const struct timespec none, past = { 1, 0 };

	make(CLOCK_REALTIME, 0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, past, none);
	subject_checkpoint();
}

static void waiter(void)
{
	static const struct timespec none, far = { 3000, 0 };
	int fd = make(CLOCK_MONOTONIC, 0, 0, far, none);
	struct itimerspec now = { .it_value = { 0, 1 } };
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(take(fd) != 1);
	subject_wait_call(pid, SYS_read);
	subject_checkpoint();
	subject_wait_call(pid, SYS_read);
	CHECK(timerfd_settime(fd, 0, &now, NULL) == 0);
	subject_check_exit(pid, 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(remaining), CASE(expired), CASE(time_of_day),
	                     CASE(cancel), CASE(waiter));
}
