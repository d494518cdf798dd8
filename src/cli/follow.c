/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Being a process that runs elsewhere. See follow.h. */
#include "cli/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/cleanup.h"

void follow_signals(sigset_t *ret)
{
	static const int own[] = { SIGKILL, SIGSTOP, SIGTTIN, SIGTTOU, SIGPIPE,
		                   SIGCHLD, SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,
		                   SIGTRAP, SIGABRT, SIGSYS,  SIGPROF, SIGVTALRM };

	sigfillset(ret);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(ret, own[i]);
}

/* a signal with its value, if it came with one */
static void hand_on(pid_t pid, const struct signalfd_siginfo *info)
{
	union sigval value = { .sival_ptr = (void *)(uintptr_t)info->ssi_ptr };

	/* what the terminal sent to our group reached it already if it is in that group */
	if (info->ssi_code == SI_KERNEL && getpgid(pid) == getpgrp())
		return;
	if (info->ssi_code == SI_QUEUE && sigqueue(pid, (int)info->ssi_signo, value) == 0)
		return;
	kill(pid, (int)info->ssi_signo);
}

/*
 * The child's state now: true when it has ended; a stop by SIGTSTP is ours as well. What has
 * entered its pid namespace is ours, too, and until we have waited for that the init does not end.
 */
static bool reap(pid_t pid, bool *stop_with_it, int *ret_status)
{
	pid_t child;
	int status;

	while ((child = waitpid(-1, &status, WNOHANG | WUNTRACED | __WALL)) > 0) {
		if (child != pid)
			continue;
		*ret_status = status;
		if (!WIFSTOPPED(status))
			return true;
		if (*stop_with_it)
			raise(SIGSTOP);
		*stop_with_it = false;
	}
	return false;
}

static int follow_loop(pid_t pid, int signals, int pidfd)
{
	struct pollfd polls[] = { { .fd = signals, .events = POLLIN },
		                  { .fd = pidfd, .events = POLLIN } };
	struct signalfd_siginfo info;
	bool stop_with_it = false;
	int status;

	while (!reap(pid, &stop_with_it, &status)) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (read(signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo == SIGCHLD)
			continue;
		stop_with_it = info.ssi_signo == SIGTSTP;
		hand_on(pid, &info);
	}
	return status;
}

int follow(pid_t pid)
{
	sigset_t set;

	follow_signals(&set);
	sigaddset(&set, SIGCHLD);
	/* some may have been blocked since the launch, restart_options.keep_blocked */
	sigprocmask(SIG_SETMASK, &set, NULL);
	_cleanup_(close_p) int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	_cleanup_(close_p) int pidfd = pidfd_open(pid, 0);
	if (signals < 0 || pidfd < 0)
		return -errno;
	return follow_loop(pid, signals, pidfd);
}

void end_as(int status)
{
	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	if (WIFSIGNALED(status)) {
		struct rlimit none = { 0 };
		sigset_t set;
		setrlimit(RLIMIT_CORE, &none); /* the core, if any, was the program's */
		signal(WTERMSIG(status), SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, WTERMSIG(status)); /* no other that is pending may end us first */
		fflush(NULL);
		raise(WTERMSIG(status));
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	exit(EXIT_INTERNAL);
}

void forget_standard_files(void)
{
	_cleanup_(close_p) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		if (!isatty(fd))
			dup2(null, fd);
}
