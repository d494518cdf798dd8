/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time namespaces: clocks and deadlines go on where they were, though the machine's own are a
 * thousand seconds further at restart (which runs in a time namespace of its own for that).
 *
 * TEST own round-trip under="unshare -Tf --monotonic 1000 --boottime 3000" -- own
 * TEST own-backwards round-trip under="unshare -Tf --monotonic -1 --boottime -1" -- own
 * TEST threads round-trip under="unshare -Tf --monotonic 1000" -- threads
 * TEST relatives round-trip under="unshare -Tf --monotonic 1000 --boottime 1000" -- relatives
 * TEST for-children round-trip under="unshare -Tf --monotonic 1000 --boottime 1000" -- for_children
 * TEST for-children-user round-trip start="$TOP/test/tools/in_user_ns pm 0,100000,5000 0,200000,5000" checkpoint=--subtree -- for_children
 * TEST childless round-trip under="unshare -Tf --monotonic 1000 --boottime 1000" -- childless
 * TEST unfrozen round-trip -- unfrozen
 * TEST frozen round-trip -- frozen
 * TEST threaded round-trip -- threaded
 * TEST owned round-trip -- owned
 * TEST deadline round-trip under="unshare -Tf --monotonic 1000" -- deadline
 * TEST timers round-trip under="unshare -Tf --monotonic 1000" -- timers
 * TEST pending round-trip under="unshare -Tf --monotonic 1000" -- pending
 * TEST clock-continue round-trip except=ns/time,ns/time_for_children restart="--clock continue" under="unshare -Tf --monotonic 1000 --boottime 3000" -- plain
 * TEST clock-continue-deadline round-trip except=ns/time,ns/time_for_children restart="--clock continue" under="unshare -Tf --monotonic 1000" -- plain_deadline
 * TEST clock-real round-trip except=ns/time,ns/time_for_children restart="--clock real" under="unshare -Tf --monotonic 1000 --boottime 1000" -- jumps
 * TEST clock-capability restart-refuse code=capability.missing restart="--clock continue" under="setpriv --bounding-set -sys_time" -- plain
 * TEST capability restart-refuse code=capability.missing under="setpriv --bounding-set -sys_time" -- own
 * TEST container round-trip start="unshare -pfT --monotonic 7000" under="unshare -Tf --monotonic 1000" -- container
 * TEST shared-memory refuse code=namespace.time -- shared_memory
 * TEST adopted refuse code=namespace.time -- adopted
 * TEST leak refuse code=leak -- leak
 *
 * clock-*: the restart is in another namespace than the checkpoint, or makes one that was not.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"
#include "text.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define FAR 500 /* seconds: between what a test takes and what the clocks are off */

struct clocks {
	struct timespec monotonic, boottime;
};

/* the vDSO and the kernel must be of one mind */
static struct timespec now(clockid_t clock)
{
	struct timespec a, b;

	CHECK(clock_gettime(clock, &a) == 0);
	CHECK(syscall(SYS_clock_gettime, clock, &b) == 0);
	CHECK(b.tv_sec >= a.tv_sec && b.tv_sec - a.tv_sec < FAR);
	return b;
}

static struct clocks clocks_now(void)
{
	return (struct clocks){ now(CLOCK_MONOTONIC), now(CLOCK_BOOTTIME) };
}

static void check_one(const char *name, struct timespec before, struct timespec after)
{
	long long passed = (long long)(after.tv_sec - before.tv_sec) * 1000000000ll +
	                   (after.tv_nsec - before.tv_nsec);

	if (passed < 0 || passed > FAR * 1000000000ll)
		FAIL("%s went on by %lld ns", name, passed);
}

static void check(struct clocks before)
{
	struct clocks after = clocks_now();

	check_one("CLOCK_MONOTONIC", before.monotonic, after.monotonic);
	check_one("CLOCK_BOOTTIME", before.boottime, after.boottime);
}

/* children will be in a namespace that is this much ahead */
static void unshare_time(int seconds)
{
	CHECK(unshare(CLONE_NEWTIME) == 0);
	FILE *f = fopen("/proc/self/timens_offsets", "we");
	CHECK(f);
	CHECK(fprintf(f, "monotonic %d 5\nboottime %d 7\n", seconds, 2 * seconds) > 0);
	CHECK(fclose(f) == 0);
}

static void enter(int seconds)
{
	time_t before = now(CLOCK_MONOTONIC).tv_sec;

	unshare_time(seconds);
	int fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && setns(fd, CLONE_NEWTIME) == 0);
	close(fd);
	CHECK(now(CLOCK_MONOTONIC).tv_sec - before >= 2000);
}

static void own(void)
{
	enter(5000);
	struct clocks before = clocks_now();
	subject_checkpoint();
	check(before);
}

static void plain(void)
{
	struct clocks before = clocks_now();

	subject_checkpoint();
	check(before);
}

static void container(void)
{
	plain();
}

static void jumps(void)
{
	struct clocks before = clocks_now();

	subject_checkpoint();
	struct clocks after = clocks_now();
	time_t passed = after.monotonic.tv_sec - before.monotonic.tv_sec;
	CHECK(passed >= 1000 && passed < 1000 + FAR);
}

static struct clocks of_thread;

static void *wait_in_thread(void *arg)
{
	of_thread = clocks_now();
	subject_mark("thread");
	subject_wait_go();
	check(of_thread);
	return arg;
}

static void threads(void)
{
	pthread_t t;

	enter(5000);
	CHECK(pthread_create(&t, NULL, wait_in_thread, NULL) == 0);
	subject_wait("thread");
	struct clocks before = clocks_now();
	subject_checkpoint();
	check(before);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(pthread_create(&t, NULL, wait_in_thread, NULL) == 0);
	CHECK(pthread_join(t, NULL) == 0);
}

/* a child that sees its clocks go on; @seconds: it enters a namespace of its own first */
static pid_t child(const char *mark, int seconds)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (seconds)
		enter(seconds);
	struct clocks before = clocks_now();
	subject_mark(mark);
	subject_wait_go();
	check(before);
	subject_wait("seen");
	_exit(0);
}

/* three namespaces, and a child that has that of its parent */
static void relatives(void)
{
	enter(5000);
	pid_t same = child("same", 0), other = child("other", 9000);
	subject_wait("same");
	subject_wait("other");
	struct clocks before = clocks_now();
	subject_checkpoint();
	check(before);
	subject_mark("seen");
	subject_check_exit(same, 0);
	subject_check_exit(other, 0);
	subject_check_exit(child("later", 0), 0);
}

static void same_link(const char *path, pid_t pid, bool want)
{
	char a[64] = "", b[64] = "", theirs[64];

	snprintf(theirs, sizeof(theirs), "/proc/%d/ns/time", pid);
	CHECK(readlink(path, a, sizeof(a) - 1) > 0 && readlink(theirs, b, sizeof(b) - 1) > 0);
	CHECK(!strcmp(a, b) == want);
}

/* one child is in it, an older one is not; the parent neither */
static void for_children(void)
{
	enter(3000);
	pid_t older = child("older", 0);
	subject_wait("older");
	unshare_time(9000);
	pid_t younger = child("younger", 0);
	subject_wait("younger");
	struct clocks before = clocks_now();
	subject_checkpoint();
	check(before);
	same_link("/proc/self/ns/time", older, true);
	same_link("/proc/self/ns/time_for_children", younger, true);
	same_link("/proc/self/ns/time", younger, false);
	subject_mark("seen");
	subject_check_exit(older, 0);
	subject_check_exit(younger, 0);
}

/* nobody is in it yet */
static void childless(void)
{
	int pair[2];
	struct clocks was, is;

	enter(3000);
	unshare_time(9000);
	struct clocks before = clocks_now();
	subject_checkpoint();
	check(before);
	CHECK(pipe(pair) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		is = clocks_now();
		CHECK(write(pair[1], &is, sizeof(is)) == sizeof(is));
		_exit(0);
	}
	was = clocks_now();
	CHECK(read(pair[0], &is, sizeof(is)) == sizeof(is));
	CHECK(is.monotonic.tv_sec - was.monotonic.tv_sec >= 6000 - FAR);
	CHECK(is.monotonic.tv_sec - was.monotonic.tv_sec <= 6000 + FAR);
	CHECK(is.boottime.tv_sec - was.boottime.tv_sec >= 12000 - FAR);
	subject_check_exit(pid, 0);
}

static bool may_set_offsets(void)
{
	int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	ssize_t n = write(fd, "monotonic 7000 5\n", 17);

	CHECK(fd >= 0 && close(fd) == 0 && (n == 17 || errno == EACCES));
	return n == 17;
}

static pid_t child_that_ends(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

/* nobody has been in it: its offsets can still be set, during and after the checkpoint */
static void unfrozen(void)
{
	unshare_time(9000);
	subject_checkpoint();
	CHECK(may_set_offsets());
}

/* a child has been in it */
static void frozen(void)
{
	unshare_time(9000);
	subject_check_exit(child_that_ends(), 0);
	subject_checkpoint();
	CHECK(!may_set_offsets());
}

static void sleep_until(struct timespec deadline)
{
	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL);
	_exit(1);
}

static void futex_until(struct timespec deadline)
{
	static uint32_t word;

	syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
	_exit(1);
}

static pid_t waiter(void (*wait)(struct timespec))
{
	struct timespec deadline = now(CLOCK_MONOTONIC);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	deadline.tv_sec += FAR + 200;
	wait(deadline);
	_exit(1);
}

static void still_waits(pid_t pid, long nr)
{
	subject_wait_call(pid, nr); /* fails when it has ended */
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void wait_for_deadlines(void)
{
	pid_t sleeper = waiter(sleep_until), futex = waiter(futex_until);

	subject_wait_call(sleeper, SYS_clock_nanosleep);
	subject_wait_call(futex, SYS_futex);
	struct clocks before = clocks_now();
	subject_checkpoint();
	check(before);
	still_waits(sleeper, SYS_clock_nanosleep);
	still_waits(futex, SYS_futex);
}

static void deadline(void)
{
	enter(5000);
	wait_for_deadlines();
}

static void plain_deadline(void)
{
	wait_for_deadlines();
}

static int create(clockid_t clock, int sig)
{
	struct sigevent event;
	int id = -1;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = sig ? SIGEV_SIGNAL : SIGEV_NONE;
	event.sigev_signo = sig;
	CHECK(syscall(SYS_timer_create, clock, &event, &id) == 0);
	return id;
}

/* armed absolutely: it expires at the same time by the namespace's clock */
static void check_timer(int id, clockid_t clock, time_t deadline)
{
	struct itimerspec left;

	CHECK(syscall(SYS_timer_gettime, id, &left) == 0);
	time_t expires = now(clock).tv_sec + left.it_value.tv_sec;
	CHECK(expires > deadline - FAR && expires < deadline + FAR);
}

static void timers(void)
{
	enter(5000);
	int a = create(CLOCK_MONOTONIC, 0), b = create(CLOCK_BOOTTIME, 0);
	struct clocks before = clocks_now();
	struct itimerspec monotonic = { .it_value = { before.monotonic.tv_sec + 5000, 0 } },
			  boottime = { .it_value = { before.boottime.tv_sec + 5000, 0 } };
	CHECK(syscall(SYS_timer_settime, a, TIMER_ABSTIME, &monotonic, NULL) == 0);
	CHECK(syscall(SYS_timer_settime, b, TIMER_ABSTIME, &boottime, NULL) == 0);
	subject_checkpoint();
	check_timer(a, CLOCK_MONOTONIC, monotonic.it_value.tv_sec);
	check_timer(b, CLOCK_BOOTTIME, boottime.it_value.tv_sec);
}

static volatile sig_atomic_t expired;

static void on_expiry(int signal)
{
	expired++;
}

/*
 * A periodic timer whose signal is pending is armed for its last expiry: by the machine's clock
 * that would be thousands of seconds ago or to come, and its next one as far off. The signal is
 * not blocked, but the program is stopped.
 */
static void pending(void)
{
	struct itimerspec value = { .it_value = { 0, 1 }, .it_interval = { 3000, 0 } }, left;

	enter(5000);
	signal(SIGUSR1, on_expiry);
	int id = create(CLOCK_MONOTONIC, SIGUSR1);
	CHECK(syscall(SYS_timer_settime, id, 0, &value, NULL) == 0);
	subject_checkpoint();
	CHECK(expired == 1);
	CHECK(syscall(SYS_timer_gettime, id, &left) == 0);
	CHECK(left.it_value.tv_sec > 3000 - FAR && left.it_value.tv_sec <= 3000);
	CHECK(syscall(SYS_timer_getoverrun, id) == 0);
}

static void *wait_only(void *arg)
{
	subject_wait_go();
	return arg;
}

/* one thread has it for its children, the other has not */
static void threaded(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, wait_only, NULL) == 0);
	unshare_time(5000);
	subject_checkpoint();
	CHECK(may_set_offsets());
	CHECK(pthread_join(t, NULL) == 0);
}

/* and a child is in it */
static void shared_memory(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, wait_only, NULL) == 0);
	unshare_time(5000);
	child("child", 0);
	subject_wait("child");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
	subject_mark("seen");
	CHECK(wait(NULL) > 0);
}

/* a nested user namespace owns it */
static void owned(void)
{
	CHECK(chmod(".", 0777) == 0 && unshare(CLONE_NEWUSER) == 0);
	write_text("/proc/self/setgroups", "deny");
	write_text("/proc/self/uid_map", "0 0 1");
	write_text("/proc/self/gid_map", "0 0 1");
	unshare_time(9000);
	subject_checkpoint();
	CHECK(may_set_offsets());
}

/* who is in it is not a child of whom it is for */
static void adopted(void)
{
	char path[64];
	pid_t maker = fork(), other;

	if (maker == 0) {
		unshare_time(5000);
		subject_mark("unshared");
		subject_wait_go();
		_exit(0);
	}
	subject_wait("unshared");
	snprintf(path, sizeof(path), "/proc/%d/ns/time_for_children", maker);
	other = fork();
	if (other == 0) {
		CHECK(setns(open(path, O_RDONLY | O_CLOEXEC), CLONE_NEWTIME) == 0);
		subject_mark("entered");
		subject_wait_go();
		_exit(0);
	}
	subject_wait("entered");
	subject_checkpoint();
	subject_check_exit(maker, 0);
	subject_check_exit(other, 0);
}

/* the one outside is in it, too */
static void leak(void)
{
	enter(5000);
	subject_leave_outside();
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(threads), CASE(relatives),
	                     CASE(for_children), CASE(childless), CASE(deadline), CASE(timers),
	                     CASE(pending), CASE(plain), CASE(plain_deadline), CASE(container),
	                     CASE(jumps), CASE(unfrozen), CASE(frozen), CASE(threaded), CASE(owned),
	                     CASE(adopted), CASE(shared_memory), CASE(leak));
}
