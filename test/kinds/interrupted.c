/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls that the checkpoint interrupts: they go on as if nothing had been. None may answer
 * EINTR, and no timeout may be over too early. Each call sleeps in a thread of its own.
 *
 * Their threads end in their own time, which the observer would take for a difference:
 * TEST timed round-trip observe=no -- timed
 * TEST timed-restarted round-trip observe=no -- timed_restarted
 *
 * TEST endless round-trip -- endless
 * TEST handler round-trip -- handler
 * TEST pipe round-trip -- pipe
 * TEST wait round-trip -- wait
 * TEST locks round-trip -- locks
 * TEST message-queue round-trip -- full_queue
 * TEST futexes round-trip -- futexes
 * TEST pipes round-trip -- pipes
 * TEST own-eintr round-trip -- own_eintr
 * TEST hidden-call refuse code=cpu.call under="setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin" -- hidden_call
 */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "cases.h"

#define TIMEOUT_MS 2500
#define LATEST_MS  60000 /* on a machine that is busy; early is what must not be */

struct sleeper {
	const char *name;
	int (*sleep)(void); /* 0, or errno */
	int want;
	bool eintr_on_stop; /* SIGSTOP and SIGCONT end it, signal(7) */
	volatile pid_t tid;
	pthread_t thread;
	long long ms;
	int got;
};

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int result(long r)
{
	return r < 0 ? errno : 0;
}

static const struct timespec timeout = { TIMEOUT_MS / 1000, TIMEOUT_MS % 1000 * 1000000L };

static struct timespec deadline(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_nsec += timeout.tv_nsec;
	ts.tv_sec += timeout.tv_sec + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

/* ---- calls with a timeout ---- */

static int by_nanosleep(void)
{
	return result(syscall(SYS_nanosleep, &timeout, NULL));
}

static int by_nanosleep_remainder(void)
{
	struct timespec ts = timeout;

	return result(syscall(SYS_nanosleep, &ts, &ts));
}

static int by_clock_nanosleep(void)
{
	return result(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &timeout, NULL));
}

static int by_clock_nanosleep_remainder(void)
{
	struct timespec rest;

	return result(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &timeout, &rest));
}

static int by_clock_nanosleep_until(void)
{
	struct timespec ts = deadline(CLOCK_MONOTONIC);

	return result(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL));
}

static int by_poll(void)
{
	return result(syscall(SYS_poll, NULL, 0, TIMEOUT_MS));
}

static int by_ppoll(void)
{
	struct timespec ts = timeout;

	return result(syscall(SYS_ppoll, NULL, 0, &ts, NULL, 8));
}

/* the kernel cannot store there how much time is left */
static int by_ppoll_const(void)
{
	return result(syscall(SYS_ppoll, NULL, 0, &timeout, NULL, 8));
}

static int by_select(void)
{
	struct timeval tv = { timeout.tv_sec, timeout.tv_nsec / 1000 };

	return result(syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
}

static int by_pselect(void)
{
	struct timespec ts = timeout;

	return result(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &ts, NULL));
}

static int by_futex(void)
{
	static int word;

	return result(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0));
}

static int by_futex_until(void)
{
	static int word;
	struct timespec ts = deadline(CLOCK_MONOTONIC);

	return result(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, NULL,
	                      FUTEX_BITSET_MATCH_ANY));
}

static int semaphores = -1;

static int by_semtimedop(void)
{
	struct sembuf down = { .sem_op = -1 };

	return result(semtimedop(semaphores, &down, 1, &timeout));
}

static int by_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return result(sigtimedwait(&set, NULL, &timeout));
}

static struct sleeper timed_sleepers[] = {
	{ "nanosleep", by_nanosleep },
	{ "nanosleep with remainder", by_nanosleep_remainder },
	{ "clock_nanosleep", by_clock_nanosleep },
	{ "clock_nanosleep with remainder", by_clock_nanosleep_remainder },
	{ "clock_nanosleep, absolute", by_clock_nanosleep_until },
	{ "poll", by_poll },
	{ "ppoll", by_ppoll },
	{ "ppoll, constant timeout", by_ppoll_const, .eintr_on_stop = true },
	{ "select", by_select },
	{ "pselect", by_pselect },
	{ "futex", by_futex, ETIMEDOUT },
	{ "futex, absolute", by_futex_until, ETIMEDOUT },
	{ "semtimedop", by_semtimedop, EAGAIN, .eintr_on_stop = true },
	{ "sigtimedwait", by_sigtimedwait, EAGAIN, .eintr_on_stop = true },
};

/* ---- running them ---- */

static void *run_sleeper(void *arg)
{
	struct sleeper *s = arg;
	long long start = now_ms();

	s->tid = (pid_t)syscall(SYS_gettid);
	s->got = s->sleep();
	s->ms = now_ms() - start;
	return NULL;
}

static bool asleep(pid_t tid)
{
	char path[64], text[512] = "";

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (f)
		fclose(f);
	const char *p = strrchr(text, ')');
	return !n || (p && p[2] == 'S');
}

static void start(struct sleeper *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		CHECK(pthread_create(&s[i].thread, NULL, run_sleeper, &s[i]) == 0);
	for (size_t i = 0; i < n; i++)
		while (!s[i].tid || !asleep(s[i].tid))
			usleep(1000);
}

static void join(struct sleeper *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		CHECK(pthread_join(s[i].thread, NULL) == 0);
		if (s[i].got != s[i].want)
			FAIL("%s: %s instead of %s after %lld ms", s[i].name, strerror(s[i].got),
			     strerror(s[i].want), s[i].ms);
	}
}

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

static void make_semaphores(void)
{
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	CHECK(semaphores >= 0);
}

static void check_times(const struct sleeper *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i].ms < TIMEOUT_MS - 1 || s[i].ms > LATEST_MS)
			FAIL("%s: over after %lld ms instead of %d", s[i].name, s[i].ms,
			     TIMEOUT_MS);
}

#define N_TIMED (sizeof(timed_sleepers) / sizeof(timed_sleepers[0]))

static void timed(void)
{
	block(SIGUSR2);
	make_semaphores();
	start(timed_sleepers, N_TIMED);
	subject_checkpoint();
	join(timed_sleepers, N_TIMED);
	check_times(timed_sleepers, N_TIMED);
	semctl(semaphores, 0, IPC_RMID);
}

/* the calls have been interrupted before, by job control: most are in restart_syscall now */
static void timed_restarted(void)
{
	int status, gate[2];
	char byte;

	CHECK(pipe(gate) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		size_t n = 0;
		for (size_t i = 0; i < N_TIMED; i++)
			if (!timed_sleepers[i].eintr_on_stop)
				timed_sleepers[n++] = timed_sleepers[i];
		start(timed_sleepers, n);
		CHECK(write(gate[1], "", 1) == 1);
		join(timed_sleepers, n);
		check_times(timed_sleepers, n);
		_exit(0);
	}
	CHECK(read(gate[0], &byte, 1) == 1);
	close(gate[0]);
	close(gate[1]);
	CHECK(kill(child, SIGSTOP) == 0);
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	CHECK(kill(child, SIGCONT) == 0);
	usleep(50000);
	subject_checkpoint();
	subject_check_exit(child, 0);
}

/* ---- calls without ---- */

static int word, queue = -1;

static int in_futex(void)
{
	return result(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
}

static int in_semop(void)
{
	struct sembuf down = { .sem_op = -1 };

	return result(semop(semaphores, &down, 1));
}

static int in_sigwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return result(sigwaitinfo(&set, NULL));
}

static int in_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} message;

	return result(msgrcv(queue, &message, sizeof(message.text), 0, 0));
}

static void endless(void)
{
	static struct sleeper s[] = {
		{ "futex", in_futex },
		{ "semop", in_semop },
		{ "sigwaitinfo", in_sigwait },
		{ "msgrcv", in_msgrcv },
	};
	struct sembuf up = { .sem_op = 1 };
	struct {
		long type;
		char text[8];
	} message = { .type = 1 };

	block(SIGUSR2);
	make_semaphores();
	queue = msgget(IPC_PRIVATE, 0600);
	CHECK(queue >= 0);
	start(s, 4);
	subject_checkpoint();
	for (size_t i = 0; i < 4; i++)
		CHECK(asleep(s[i].tid));
	word = 1;
	CHECK(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1) >= 0);
	CHECK(semop(semaphores, &up, 1) == 0);
	CHECK(kill(getpid(), SIGUSR2) == 0);
	CHECK(msgsnd(queue, &message, 1, 0) == 0);
	join(s, 4);
	semctl(semaphores, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
}

/* ---- calls that a handler ends ---- */

static volatile int handled;

static void handle(int sig)
{
	(void)sig;
	__atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
}

static int in_pause(void)
{
	return result(pause());
}

/* the signal is blocked but for the call */
static int in_sigsuspend(void)
{
	sigset_t none;

	block(SIGUSR1);
	sigemptyset(&none);
	sigaddset(&none, SIGUSR2);
	return result(sigsuspend(&none));
}

static int in_poll(void)
{
	return result(poll(NULL, 0, -1));
}

static int in_select(void)
{
	return result(select(0, NULL, NULL, NULL, NULL));
}

static int in_ppoll_mask(void)
{
	sigset_t none;

	block(SIGUSR1);
	sigemptyset(&none);
	return result(ppoll(NULL, 0, NULL, &none));
}

static void set_handler(int sig, int flags)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = flags };

	CHECK(sigaction(sig, &action, NULL) == 0);
}

static void handler(void)
{
	static struct sleeper s[] = {
		{ "pause", in_pause, EINTR },      { "sigsuspend", in_sigsuspend, EINTR },
		{ "poll", in_poll, EINTR },        { "select", in_select, EINTR },
		{ "ppoll", in_ppoll_mask, EINTR },
	};

	set_handler(SIGUSR1, SA_RESTART);
	block(SIGUSR2);
	start(s, 5);
	subject_checkpoint();
	CHECK_EQ(handled, 0);
	for (size_t i = 0; i < 5; i++) {
		CHECK(asleep(s[i].tid));
		CHECK(pthread_kill(s[i].thread, SIGUSR1) == 0);
	}
	join(s, 5);
	CHECK_EQ(handled, 5);
}

/* an EINTR that the program's own signal asks for is not taken away: SA_RESTART or not */
static int restarts[2], stops[2];

static int in_read_restarted(void)
{
	char c;

	return read(restarts[0], &c, 1) == 1 ? 0 : errno;
}

static int in_read_ended(void)
{
	char c;

	return read(stops[0], &c, 1) == 1 ? 0 : errno;
}

static void in_pipe(void)
{
	static struct sleeper s[] = {
		{ "read, SA_RESTART", in_read_restarted },
		{ "read, no SA_RESTART", in_read_ended, EINTR },
	};

	CHECK(pipe(restarts) == 0 && pipe(stops) == 0);
	set_handler(SIGUSR1, SA_RESTART);
	set_handler(SIGUSR2, 0);
	start(s, 2);
	subject_checkpoint();
	CHECK(pthread_kill(s[0].thread, SIGUSR1) == 0);
	CHECK(pthread_kill(s[1].thread, SIGUSR2) == 0);
	while (handled < 2)
		usleep(1000);
	CHECK(write(restarts[1], "x", 1) == 1);
	join(s, 2);
}

/* ---- waiting for children ---- */

static pid_t children[2];

static int in_wait4(void)
{
	int status;

	return waitpid(children[0], &status, 0) == children[0] && WEXITSTATUS(status) == 5 ? 0
	                                                                                   : errno;
}

static int in_waitid(void)
{
	siginfo_t info;

	return result(waitid(P_PID, (id_t)children[1], &info, WEXITED));
}

static void wait_children(void)
{
	static struct sleeper s[] = { { "wait4", in_wait4 }, { "waitid", in_waitid } };

	for (int i = 0; i < 2; i++) {
		children[i] = fork();
		CHECK(children[i] >= 0);
		if (children[i] == 0) {
			subject_wait_go();
			_exit(5);
		}
	}
	start(s, 2);
	subject_checkpoint();
	join(s, 2);
}

/* EINTR that was there before: a handler has run, and the program has yet to look at errno */
static int in_handler(void)
{
	char c;
	int r = read(restarts[0], &c, 1) == 1 ? 0 : errno;

	return r;
}

static void wait_in_handler(int sig)
{
	(void)sig;
	handled = 1;
	subject_wait_go();
}

static void own_eintr(void)
{
	static struct sleeper s[] = { { "read", in_handler, EINTR } };
	struct sigaction action = { .sa_handler = wait_in_handler };

	CHECK(pipe(restarts) == 0);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	start(s, 1);
	CHECK(pthread_kill(s[0].thread, SIGUSR1) == 0);
	while (!handled)
		usleep(1000);
	subject_checkpoint();
	join(s, 1);
}

static pid_t hidden_tid;

static void until_shows(pid_t pid, const char *file, const char *text)
{
	char path[96], line[512] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)hidden_tid, file);
	while (!strstr(line, text)) {
		FILE *f = fopen(path, "re");
		CHECK(f && fgets(line, sizeof(line), f));
		fclose(f);
	}
}

/* a call whose number does not stand in the code before it */
static void *hidden_sleep(void *arg)
{
	static volatile long number = SYS_nanosleep;
	struct timespec left, time = { .tv_sec = 1000 };
	long result;

	subject_use_stack();
	hidden_tid = gettid();
	subject_mark("sleeping");
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(&time), "S"(&left)
	                 : "rcx", "r11", "memory");
	return (void *)result;
}

/* stopped and continued it restarts by restart_syscall: only root can see what that goes on with */
static void hidden_call(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, hidden_sleep, NULL) == 0);
	subject_wait("sleeping");
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		until_shows(parent, "syscall", "35 0x"); /* nanosleep */
		CHECK(kill(parent, SIGSTOP) == 0);
		until_shows(parent, "stat", ") T ");
		CHECK(kill(parent, SIGCONT) == 0);
		until_shows(parent, "syscall", "219 0x"); /* restart_syscall */
		_exit(0);
	}
	subject_check_exit(child, 0);
	subject_checkpoint();
}

/* ---- waiting for locks that a child holds ---- */

static int lock_fds[5];

static int in_flock(void)
{
	return result(flock(lock_fds[0], LOCK_EX));
}

static int in_flock_shared(void)
{
	return result(flock(lock_fds[1], LOCK_SH));
}

static struct flock whole(void)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

static int in_setlkw(void)
{
	struct flock lock = whole();

	return result(fcntl(lock_fds[2], F_SETLKW, &lock));
}

static int in_ofd_setlkw(void)
{
	struct flock lock = whole();

	return result(fcntl(lock_fds[3], F_OFD_SETLKW, &lock));
}

static int in_lockf(void)
{
	return result(lockf(lock_fds[4], F_LOCK, 0));
}

static void open_locked(bool hold)
{
	static const char *const names[] = { "0", "1", "2", "3", "4" };
	struct flock lock = whole();

	for (int i = 0; i < 5; i++) {
		lock_fds[i] = open(names[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		CHECK(lock_fds[i] >= 0);
		if (hold && i < 2)
			CHECK(flock(lock_fds[i], LOCK_EX) == 0);
		else if (hold)
			CHECK(fcntl(lock_fds[i], F_SETLK, &lock) == 0);
	}
}

static void locks(void)
{
	static struct sleeper s[] = {
		{ "flock", in_flock },     { "flock, shared", in_flock_shared },
		{ "F_SETLKW", in_setlkw }, { "F_OFD_SETLKW", in_ofd_setlkw },
		{ "lockf", in_lockf },
	};
	pid_t holder = fork();

	CHECK(holder >= 0);
	if (holder == 0) {
		open_locked(true);
		subject_mark("held");
		subject_wait("release");
		_exit(0);
	}
	subject_wait("held");
	open_locked(false);
	start(s, 5);
	subject_checkpoint();
	for (size_t i = 0; i < 5; i++)
		CHECK(asleep(s[i].tid));
	subject_mark("release");
	join(s, 5);
	subject_check_exit(holder, 0);
}

/* ---- a message queue that is full ---- */

static int in_msgsnd(void)
{
	struct {
		long type;
		char text[8];
	} message = { .type = 2 };

	return result(msgsnd(queue, &message, sizeof(message.text), 0));
}

static void full_queue(void)
{
	static struct sleeper s[] = { { "msgsnd", in_msgsnd } };
	struct msqid_ds ds;
	struct {
		long type;
		char text[8];
	} message = { .type = 1 };

	queue = msgget(IPC_PRIVATE, 0600);
	CHECK(queue >= 0 && msgctl(queue, IPC_STAT, &ds) == 0);
	ds.msg_qbytes = 16;
	CHECK(msgctl(queue, IPC_SET, &ds) == 0);
	CHECK(msgsnd(queue, &message, 8, 0) == 0 && msgsnd(queue, &message, 8, 0) == 0);
	start(s, 1);
	subject_checkpoint();
	CHECK(asleep(s[0].tid));
	CHECK(msgrcv(queue, &message, 8, 1, 0) == 8 && message.type == 1);
	join(s, 1);
	CHECK(msgrcv(queue, &message, 8, 2, 0) == 8);
	msgctl(queue, IPC_RMID, NULL);
}

/* ---- futexes of the rarer sorts ---- */

static uint32_t pi_word, waitv_word, pi_timed;

static int in_lock_pi(void)
{
	return result(syscall(SYS_futex, &pi_word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
}

/* with a deadline that does not come */
static int in_lock_pi_until(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 3600;
	return result(syscall(SYS_futex, &pi_timed, FUTEX_LOCK_PI_PRIVATE, 0, &ts, NULL, 0));
}

static int in_waitv(void)
{
	struct {
		uint64_t value, address;
		uint32_t flags, reserved;
	} waiter = { 0, (uintptr_t)&waitv_word, 2 | FUTEX_PRIVATE_FLAG, 0 };

	return result(syscall(449 /* futex_waitv, 5.16 */, &waiter, 1, 0, NULL, 0));
}

static void futexes(void)
{
	static struct sleeper s[] = { { "FUTEX_LOCK_PI", in_lock_pi },
		                      { "FUTEX_LOCK_PI, deadline", in_lock_pi_until },
		                      { "futex_waitv", in_waitv } };

	pi_word = pi_timed = (uint32_t)gettid();
	start(s, 3);
	subject_checkpoint();
	for (size_t i = 0; i < 3; i++)
		CHECK(asleep(s[i].tid));
	/* until they wait again: an unlock before that finds nobody to hand the lock to */
	while (!(pi_word & FUTEX_WAITERS) || !(pi_timed & FUTEX_WAITERS))
		usleep(1000);
	CHECK(syscall(SYS_futex, &pi_word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0);
	CHECK(syscall(SYS_futex, &pi_timed, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0);
	waitv_word = 1;
	CHECK(syscall(SYS_futex, &waitv_word, FUTEX_WAKE_PRIVATE, 1) >= 0);
	join(s, 3);
}

/* ---- pipes that are full or empty, through calls that move pages ---- */

static int full_pipe[2], empty_pipe[2], aside[2];

static int in_write(void)
{
	static const char bytes[3000];

	return write(full_pipe[1], bytes, sizeof(bytes)) == sizeof(bytes) ? 0 : errno;
}

static int in_splice(void)
{
	return splice(empty_pipe[0], NULL, aside[1], NULL, 100, 0) == 4 ? 0 : errno;
}

static int in_tee(void)
{
	return tee(empty_pipe[0], aside[1], 100, 0) >= 0 ? 0 : errno;
}

static int in_vmsplice(void)
{
	static char bytes[100];
	struct iovec iov = { bytes, sizeof(bytes) };

	return vmsplice(full_pipe[1], &iov, 1, 0) == sizeof(bytes) ? 0 : errno;
}

static void pipes(void)
{
	static struct sleeper s[] = { { "write", in_write },
		                      { "vmsplice", in_vmsplice },
		                      { "splice", in_splice },
		                      { "tee", in_tee } };
	static char room[65536];

	CHECK(pipe(full_pipe) == 0 && pipe(empty_pipe) == 0 && pipe(aside) == 0);
	CHECK_EQ(write(full_pipe[1], room, sizeof(room)), sizeof(room));
	start(s, 4);
	subject_checkpoint();
	for (size_t i = 0; i < 4; i++)
		CHECK(asleep(s[i].tid));
	CHECK_EQ(read(full_pipe[0], room, sizeof(room)), sizeof(room));
	CHECK_EQ(write(empty_pipe[1], "four", 4), 4);
	pthread_join(s[0].thread, NULL);
	pthread_join(s[1].thread, NULL);
	pthread_join(s[2].thread, NULL);
	close(empty_pipe[1]); /* whether tee saw the bytes before they were gone is its luck */
	pthread_join(s[3].thread, NULL);
	for (size_t i = 0; i < 4; i++)
		CHECK_EQ(s[i].got, 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(timed), CASE(timed_restarted), CASE(endless),
	                     CASE(handler), CASE_NAMED("pipe", in_pipe),
	                     CASE_NAMED("wait", wait_children), CASE(own_eintr), CASE(hidden_call),
	                     CASE(locks), CASE(full_queue), CASE(futexes), CASE(pipes));
}
