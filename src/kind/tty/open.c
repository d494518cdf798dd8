/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of terminals at restart: by the terminal itself, by a mount, by /dev/tty. */
#include "kind/tty.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/mount.h"
#include "kind/tty/tty.h"
#include "mount.pb-c.h"
#include "task/stub.h"
#include "util/cleanup.h"

/*
 * /dev/tty can only be opened by a process whose controlling terminal it is to mean: a child takes
 * the terminal for that moment. TIOCNOTTY sends SIGHUP to the foreground group: that child alone.
 */
static void open_dev_tty_inside(int terminal, int socket, int flags)
{
	int fd, result = 0;

	signal(SIGHUP, SIG_IGN);
	if (setsid() < 0 || ioctl(terminal, TIOCSCTTY, 0) < 0)
		result = errno;
	fd = result ? -1 : open("/dev/tty", flags);
	if (fd < 0 && !result)
		result = errno;
	(void)!write(socket, &result, sizeof(result));
	/* the parent takes fd by pidfd_getfd(2) and then answers */
	(void)!write(socket, &fd, sizeof(fd));
	(void)!read(socket, &result, sizeof(result));
	ioctl(terminal, TIOCNOTTY, 0);
	_exit(0);
}

static int take_dev_tty(pid_t child, int socket, int *ret_fd, struct error *err)
{
	_cleanup_(close_p) int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	int result = EPIPE, fd = -1;

	if (read(socket, &result, sizeof(result)) != sizeof(result) || result ||
	    read(socket, &fd, sizeof(fd)) != sizeof(fd)) {
		int e = error_raise(err, result ? result : EPIPE, "open /dev/tty of a terminal");
		error_hint(err, "is it the controlling terminal of another session?");
		return e;
	}
	*ret_fd = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0); /* close-on-exec from birth */
	return *ret_fd < 0 ? error_raise(err, errno, "take /dev/tty of a terminal") : 0;
}

/* the session's leader has it already */
static int open_dev_tty_in_stub(struct stub *stub, int flags, int *ret_fd, struct error *err)
{
	_cleanup_(close_p) int pidfd = (int)syscall(SYS_pidfd_open, stub->host_tid, 0);

	calls_reserve(stub->calls, 1, 16);
	uint64_t path = calls_copy(stub->calls, "/dev/tty", sizeof("/dev/tty"));
	unsigned index = CALL(stub->calls, openat, (uint64_t)AT_FDCWD, path, (uint64_t)flags);
	int e = calls_run(stub->calls, err);
	if (e < 0)
		return error_trace(err, e);
	int fd = (int)calls_result(stub->calls, index);
	*ret_fd = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (*ret_fd < 0)
		e = error_raise(err, errno, "take /dev/tty of new task %d", stub->tid);
	CALL(stub->calls, close, (uint64_t)fd);
	return e;
}

static int open_dev_tty(const struct tty *tty, int flags, int *ret_fd, struct error *err)
{
	int pair[2], status, terminal = tty->fd;
	pid_t session;

	if (tty->leader)
		return open_dev_tty_in_stub(tty->leader, flags, ret_fd, err);
	if (ioctl(terminal, TIOCGSID, &session) == 0 && session == getsid(0)) {
		*ret_fd = open("/dev/tty", flags);
		return *ret_fd < 0 ? error_raise(err, errno, "open /dev/tty") : 0;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_raise(err, errno, "make a socket pair");
	pid_t child = fork();
	if (child == 0) {
		close(pair[0]); /* so that our end tells it */
		open_dev_tty_inside(terminal, pair[1], flags);
	}
	close(pair[1]);
	int e = child < 0 ? error_raise(err, errno, "fork")
	                  : take_dev_tty(child, pair[0], ret_fd, err);
	close(pair[0]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return e;
}

/* by a mount that shows it */
static int open_mounted(struct restart *r, const struct object *mount, const TtyState *s,
                        uint32_t flags, int *ret_fd, struct error *err)
{
	bool whole = object_state(mount, MountState)->root.len == 1;
	char name[16];

	snprintf(name, sizeof(name), "%u", s->number);
	*ret_fd = mount_open(r, mount, whole ? name : "", flags | O_NOCTTY);
	return *ret_fd < 0 ? error_raise(err, errno, "open a terminal by a mount") : 0;
}

int tty_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
             struct error *err)
{
	const TtyState *s = object_state(object, TtyState);
	struct object *terminal = s->stands_for ? objects_by_id(r->objects, s->stands_for) : object;
	const struct tty *tty = terminal->live;
	char path[40];
	int e;

	if (s->stands_for && !s->mount) {
		e = open_dev_tty(tty, (int)flags | O_NOCTTY | O_CLOEXEC, ret_fd, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	if (s->mount && tty->made) {
		e = open_mounted(r, objects_by_id(r->objects, s->mount),
		                 object_state(terminal, TtyState), flags, ret_fd, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tty->fd);
	*ret_fd = open(path, (int)flags | O_NOCTTY | O_CLOEXEC);
	return *ret_fd < 0 ? error_raise(err, errno, "open the terminal anew") : 0;
}
