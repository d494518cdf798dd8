/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The relay. The parent keeps the user's terminal, in raw mode, and the pty's master; the child is
 * the leader of a new session and makes the slave that session's terminal, or leaves it to the
 * tree.
 */
#include "cli/terminal.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/follow.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/fds.h"

struct relay {
	int input, output; /* the user's terminal */
	int master, signals, pidfd;
	int ready; /* EOF when the tree runs; -1 afterwards */
	pid_t child;
	bool raw;
	struct termios saved;
	char pending[4096]; /* typed, and not yet taken by the pty */
	size_t n_pending;
	bool input_open, master_open;
};

int terminal_find(bool image_on_stdin)
{
	if (isatty(STDIN_FILENO))
		return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (!image_on_stdin || !isatty(STDOUT_FILENO))
		return -1;
	return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static void copy_window_size(struct relay *relay)
{
	struct winsize size;

	if (ioctl(relay->input, TIOCGWINSZ, &size) == 0)
		ioctl(relay->master, TIOCSWINSZ, &size);
}

/* in the background this stops us with SIGTTOU until the shell brings us to the front */
static void make_raw(struct relay *relay)
{
	struct termios raw = relay->saved;

	cfmakeraw(&raw);
	tcsetattr(relay->input, TCSADRAIN, &raw);
	relay->raw = true;
	copy_window_size(relay);
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EAGAIN) {
			/* someone made the terminal non-blocking */
			struct pollfd wait = { .fd = fd, .events = POLLOUT };
			poll(&wait, 1, -1);
			continue;
		}
		if (n < 0 && errno != EINTR)
			return; /* the terminal is gone: the tree learns it by SIGHUP */
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
}

/* what the tree has printed; false when there is nothing (more) to be had now */
static bool relay_output(struct relay *relay)
{
	char buffer[16384];
	ssize_t n = read(relay->master, buffer, sizeof(buffer));

	if (n > 0)
		write_all(relay->output, buffer, (size_t)n);
	/* EIO: nobody has the slave open; someone of the tree may open it again by /dev/tty */
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		relay->master_open = false;
	return n > 0;
}

static void flush_pending(struct relay *relay)
{
	ssize_t n = write(relay->master, relay->pending, relay->n_pending);

	if (n <= 0)
		return;
	relay->n_pending -= (size_t)n;
	memmove(relay->pending, relay->pending + n, relay->n_pending);
}

/*
 * The window is gone: so is the pty's other end, and the kernel tells the tree as it would without
 * us (SIGHUP to the session's leader and the foreground, end of file, EIO).
 */
static void relay_hangup(struct relay *relay)
{
	relay->input_open = false;
	close_p(&relay->master);
}

static void relay_input(struct relay *relay)
{
	ssize_t n = read(relay->input, relay->pending + relay->n_pending,
	                 sizeof(relay->pending) - relay->n_pending);

	if (n > 0) {
		relay->n_pending += (size_t)n;
		flush_pending(relay);
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		relay_hangup(relay);
	}
}

static void relay_signal(struct relay *relay)
{
	struct signalfd_siginfo info;

	if (read(relay->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		copy_window_size(relay);
	else if (info.ssi_signo == SIGCONT && relay->raw)
		make_raw(relay); /* the shell has put its own settings back meanwhile */
	else if (info.ssi_signo == SIGHUP && info.ssi_code == SI_KERNEL && relay->raw)
		relay_hangup(relay);
	else if (info.ssi_signo != SIGCHLD)
		kill(relay->child, (int)info.ssi_signo);
}

static void relay_ready(struct relay *relay)
{
	int other = fd_receive(relay->ready);

	if (other >= 0) {
		close_p(&relay->master);
		relay->master = other;
		return;
	}
	close_p(&relay->ready);
	make_raw(relay);
}

enum { POLL_SIGNALS, POLL_CHILD, POLL_READY, POLL_INPUT, POLL_MASTER, N_POLLS };

static void relay_poll(const struct relay *relay, struct pollfd polls[N_POLLS])
{
	bool room = relay->n_pending < sizeof(relay->pending);
	short events = POLLIN | (relay->n_pending ? POLLOUT : 0);

	polls[POLL_SIGNALS] = (struct pollfd){ .fd = relay->signals, .events = POLLIN };
	polls[POLL_CHILD] = (struct pollfd){ .fd = relay->pidfd, .events = POLLIN };
	polls[POLL_READY] = (struct pollfd){ .fd = relay->ready, .events = POLLIN };
	polls[POLL_INPUT] = (struct pollfd){ .fd = -1, .events = POLLIN };
	if (relay->raw && relay->input_open && room)
		polls[POLL_INPUT].fd = relay->input;
	polls[POLL_MASTER] = (struct pollfd){ .fd = -1, .events = events };
	if (relay->raw && relay->master_open)
		polls[POLL_MASTER].fd = relay->master;
}

/* until the child has ended; its wait status is the result */
static int relay_loop(struct relay *relay)
{
	struct pollfd polls[N_POLLS];
	int status = 0;

	for (;;) {
		relay_poll(relay, polls);
		/* a closed slave may be opened again: look now and then, there is no event */
		int timeout_ms = relay->raw && !relay->master_open ? 200 : -1;
		int n = poll(polls, N_POLLS, timeout_ms);
		if (n < 0 && errno != EINTR)
			return -errno;
		relay->master_open = true;
		if (n <= 0)
			continue;
		if (polls[POLL_SIGNALS].revents)
			relay_signal(relay);
		if (polls[POLL_READY].revents)
			relay_ready(relay);
		if (polls[POLL_MASTER].revents & POLLOUT)
			flush_pending(relay);
		if (polls[POLL_MASTER].revents & (POLLIN | POLLHUP | POLLERR))
			relay_output(relay);
		if (polls[POLL_INPUT].revents)
			relay_input(relay);
		if (polls[POLL_CHILD].revents)
			break;
	}
	while (relay_output(relay))
		;
	while (waitpid(relay->child, &status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

/* the first of the standard descriptors that shows the terminal */
static int output_terminal(int input)
{
	if (isatty(STDOUT_FILENO))
		return STDOUT_FILENO;
	return isatty(STDERR_FILENO) ? STDERR_FILENO : input;
}

static int relay_open(struct relay *relay, int input, int *ret_slave, struct error *err)
{
	struct winsize size = { 0 };

	*relay = (struct relay){ .input = input,
		                 .output = output_terminal(input),
		                 .master = -1,
		                 .signals = -1,
		                 .pidfd = -1,
		                 .ready = -1,
		                 .input_open = true,
		                 .master_open = true };
	if (tcgetattr(relay->input, &relay->saved) < 0)
		return error_raise(err, errno, "tcgetattr");
	ioctl(relay->input, TIOCGWINSZ, &size);
	if (openpty(&relay->master, ret_slave, NULL, &relay->saved, &size) < 0)
		return error_raise(err, errno, "openpty");
	fcntl(relay->master, F_SETFD, FD_CLOEXEC);
	fcntl(relay->master, F_SETFL, O_RDWR | O_NONBLOCK);
	fcntl(*ret_slave, F_SETFD, FD_CLOEXEC);
	return 0;
}

static void relay_close(struct relay *relay)
{
	if (relay->raw)
		tcsetattr(relay->input, TCSADRAIN, &relay->saved);
	close_p(&relay->input);
	close_p(&relay->master);
	close_p(&relay->signals);
	close_p(&relay->pidfd);
	close_p(&relay->ready);
}

pid_t fork_into(uint64_t flags)
{
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };

	fflush(NULL);
	return flags ? (pid_t)syscall(SYS_clone3, &args, sizeof(args)) : fork();
}

static int relay_start(struct relay *relay, int slave, int (*child)(void *, int, int), void *data,
                       uint64_t flags, struct error *err)
{
	_cleanup_(close_p) int ready_child = -1;
	sigset_t set, saved;
	int ready[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ready) < 0)
		return error_raise(err, errno, "socketpair");
	relay->ready = ready[0];
	ready_child = ready[1];
	follow_signals(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &saved);
	relay->child = fork_into(flags);
	if (relay->child == 0) {
		close_p(&relay->input);
		close_p(&relay->master);
		close_p(&relay->ready);
		setsid();
		sigprocmask(SIG_SETMASK, &saved, NULL);
		exit(child(data, slave, take_fd(&ready_child)));
	}
	if (relay->child < 0)
		return error_raise(err, errno, flags ? "make namespaces" : "fork");
	relay->pidfd = pidfd_open(relay->child, 0);
	relay->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (relay->pidfd < 0 || relay->signals < 0) {
		kill(relay->child, SIGKILL);
		waitpid(relay->child, NULL, 0);
		return error_raise(err, errno, "pidfd_open, signalfd");
	}
	forget_standard_files();
	return 0;
}

int terminal_move(int *slave, int ready, const char *ptmx, struct error *err)
{
	_cleanup_(close_p) int master = open(ptmx, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios settings;
	struct winsize size;
	int unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_raise(err, errno, "open %s", ptmx);
	_cleanup_(close_p) int other = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	if (other < 0)
		return error_raise(err, errno, "open the other side of %s", ptmx);
	if (tcgetattr(*slave, &settings) == 0)
		tcsetattr(other, TCSANOW, &settings);
	if (ioctl(*slave, TIOCGWINSZ, &size) == 0)
		ioctl(other, TIOCSWINSZ, &size);
	if (fds_send(ready, &master, 1) < 0)
		return error_raise(err, errno, "hand on the terminal");
	close_p(slave);
	*slave = take_fd(&other);
	return 0;
}

int terminal_run(int terminal, int (*child)(void *data, int slave, int ready), void *data,
                 uint64_t flags, struct error *err)
{
	struct relay relay;
	int slave = -1;

	int r = relay_open(&relay, terminal, &slave, err);
	if (r == 0)
		r = relay_start(&relay, slave, child, data, flags, err);
	close_p(&slave);
	if (r == 0) {
		r = relay_loop(&relay);
		if (r < 0)
			error_raise(err, -r, "the relay of the terminal");
	}
	relay_close(&relay);
	return r;
}
