/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Controlling terminals at restart. The terminal must be the session leader's before any child of
 * it is cloned, since TIOCSCTTY reaches only the caller and children inherit
 * (drivers/tty/tty_jobctrl.c, __proc_set_tty). The foreground group is set last, when all exist.
 */
#include "kind/tty.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/tty/tty.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* whether the coordinator is the leader of the new pty's session, terminal_run() */
static bool leads(const struct restart *r)
{
	return r->options->terminal >= 0 && getsid(0) == getpid();
}

int tty_lead_session(struct restart *r, struct error *err)
{
	const struct object *object = tty_heir(r);

	if (!leads(r) || (object && object_state(object, TtyState)->session))
		return 0;
	if (ioctl(r->options->terminal, TIOCSCTTY, 0) < 0)
		return error_raise(err, errno, "TIOCSCTTY");
	return 0;
}

/* the recorded leader takes its terminal as soon as it leads: its children inherit it */
static int take_terminal(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	struct tty *tty = object->live;
	const TtyState *s = object_state(object, TtyState);

	if (tty->leader || s->session != (uint32_t)stub->tid || stub->leader != stub)
		return 0;
	int result = calls_run(stub->calls, err); /* its setsid(2) may be among them */
	if (result < 0)
		return error_trace(err, result);
	if (getsid(stub->host_tid) != stub->host_tid)
		return 0;
	result = stub_send_fds(r, stub, &tty->fd, 1, err);
	if (result < 0)
		return error_trace(err, result);
	CALL(stub->calls, ioctl, 0, TIOCSCTTY, 0);
	CALL(stub->calls, close, 0);
	result = calls_run(stub->calls, err);
	if (result < 0) {
		error_hint(err, "is it the controlling terminal of another session?");
		return error_trace(err, result);
	}
	tty->leader = stub;
	return 0;
}

int tty_before_clone(struct restart *r, struct stub *parent, struct stub *child, struct error *err)
{
	struct object *object = parent ? stub_object(parent, &tty_kind) : NULL;

	return object ? take_terminal(r, object, parent, err) : 0;
}

int tty_install(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	return take_terminal(r, object, stub, err);
}

/* a descriptor of the stub's own that is the terminal; -1 if it has none */
static int find_own(const struct stub *stub, const struct tty *tty)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/fd", stub->host_tid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	struct stat want, have;
	struct dirent *entry;

	if (!dir || fstat(tty->fd, &want) < 0)
		return -1;
	while ((entry = readdir(dir))) {
		char link[64];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		/* a look at the text first: fstatat would touch network file systems */
		if (n < 5 || strncmp(link, "/dev/", 5))
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &have, 0) == 0 &&
		    have.st_rdev == want.st_rdev && have.st_dev == want.st_dev)
			return atoi(entry->d_name);
	}
	return -1;
}

/* TIOCSPGRP must come from inside the session; its signals are blocked, so SIGTTOU stops nobody */
static int set_foreground_inside(struct stub *stub, const struct tty *tty, pid_t pgrp,
                                 struct error *err)
{
	uint64_t path = calls_copy(stub->calls, "/dev/tty", sizeof("/dev/tty"));
	uint64_t group = calls_copy(stub->calls, &pgrp, sizeof(pgrp));
	int own = find_own(stub, tty);

	if (own >= 0) {
		CALL(stub->calls, ioctl, (uint64_t)own, TIOCSPGRP, group);
		return calls_run(stub->calls, err);
	}
	calls_reserve(stub->calls, 3, 0);
	unsigned fd = CALL(stub->calls, openat, (uint64_t)AT_FDCWD, path,
	                   O_RDWR | O_NOCTTY | O_CLOEXEC);
	calls_add(stub->calls, &(struct call){ .nr = __NR_ioctl,
	                                       .arg = { fd, TIOCSPGRP, group },
	                                       .result_args = 1,
	                                       .what = "TIOCSPGRP" });
	calls_add(stub->calls,
	          &(struct call){
			  .nr = __NR_close, .arg = { fd }, .result_args = 1, .what = "close" });
	return calls_run(stub->calls, err);
}

int tty_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const TtyState *s = object_state(object, TtyState);
	struct tty *tty = object->live;

	if (!s->foreground || tty->foreground_set || s->session != (uint32_t)stub->tid)
		return 0;
	tty->foreground_set = true;
	int result = set_foreground_inside(stub, tty, stub_number_of(r, (pid_t)s->foreground, stub),
	                                   err);
	return result < 0 ? error_trace(err, result) : 0;
}

/*
 * The foreground group where we lead: as recorded, or the root's, since it is in the foreground.
 * 0 when the root has a session of its own, which that terminal is none of: ^C reaches it by us.
 */
static pid_t foreground_ours(const struct restart *r)
{
	const struct object *object = tty_heir(r);
	pid_t group = object ? (pid_t)object_state(object, TtyState)->foreground : 0;

	if (!group && getsid(r->root) == getpid())
		group = getpgid(r->root);
	return group;
}

int tty_give_foreground(struct restart *r, struct error *err)
{
	const struct object *object = tty_heir(r);
	sigset_t block, saved;

	if (!leads(r) || (object && object_state(object, TtyState)->session))
		return 0;
	pid_t group = foreground_ours(r);
	if (!group)
		return 0;
	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	sigprocmask(SIG_BLOCK, &block, &saved);
	int result = ioctl(r->options->terminal, TIOCSPGRP, &group);
	if (result < 0)
		result = error_raise(err, errno, "TIOCSPGRP %d", group);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	return result;
}
