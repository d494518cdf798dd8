/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors of signals: the mask; what is pending, who waits.
 *
 * TEST pending round-trip -- pending
 * TEST waiter round-trip -- waiter
 * TEST several round-trip -- several
 */
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "cases.h"

static int make(int flags, int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, a);
	sigaddset(&set, b);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	int fd = signalfd(-1, &set, flags);
	CHECK(fd >= 0);
	return fd;
}

static struct signalfd_siginfo take(int fd)
{
	struct signalfd_siginfo info;

	CHECK(read(fd, &info, sizeof(info)) == sizeof(info));
	return info;
}

static void pending(void)
{
	int fd = make(SFD_NONBLOCK, SIGUSR1, SIGRTMIN + 3);
	union sigval value = { .sival_int = 42 };
	struct signalfd_siginfo info;

	CHECK(sigqueue(getpid(), SIGRTMIN + 3, value) == 0);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	subject_checkpoint();
	CHECK(take(fd).ssi_signo == SIGUSR1);
	info = take(fd);
	CHECK(info.ssi_signo == (uint32_t)SIGRTMIN + 3 && info.ssi_int == 42);
	CHECK(read(fd, &info, sizeof(info)) < 0 && errno == EAGAIN);
}

static void waiter(void)
{
	int fd = make(SFD_CLOEXEC, SIGUSR1, SIGUSR2);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(take(fd).ssi_signo != SIGUSR2);
	subject_wait_call(pid, SYS_read);
	subject_checkpoint();
	CHECK(kill(pid, SIGUSR2) == 0);
	subject_check_exit(pid, 0);
}

/* two of one mask are two: flags are each one's own */
static void several(void)
{
	int a = make(SFD_NONBLOCK, SIGUSR1, SIGUSR1), b = make(0, SIGUSR1, SIGUSR1);
	int other = make(SFD_NONBLOCK, SIGUSR2, SIGUSR2), copy = dup(other);
	struct signalfd_siginfo info;

	subject_checkpoint();
	CHECK(fcntl(a, F_GETFL) & O_NONBLOCK);
	CHECK(!(fcntl(b, F_GETFL) & O_NONBLOCK));
	CHECK(kill(getpid(), SIGUSR2) == 0);
	CHECK(read(a, &info, sizeof(info)) < 0 && errno == EAGAIN);
	CHECK(take(copy).ssi_signo == SIGUSR2);
	CHECK(fcntl(copy, F_SETFL, O_RDWR) == 0 && !(fcntl(other, F_GETFL) & O_NONBLOCK));
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(pending), CASE(waiter), CASE(several));
}
