/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals as external objects. See tty.h.
 *
 * A terminal is found by its descriptors, and as the controlling terminal of a session of the set.
 * A task refers to a tty object (task_refer) when it is its controlling terminal; descriptors refer
 * to it through the kinds file and file_table.
 */
#include "kind/tty.h"

/* struct termios2; <termios.h> would collide with it */
#include <asm/termbits.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/external.h"
#include "core/restart.h"
#include "kind/mount.h"
#include "kind/superblock.h"
#include "kind/tty/tty.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/fds.h"

#define NAME_MAX_TTY 64

struct tty *tty_new(dev_t filesystem, dev_t device)
{
	struct tty *tty = xcalloc(1, sizeof(*tty));

	tty->filesystem = filesystem;
	tty->device = device;
	tty->fd = -1;
	return tty;
}

static bool tty_claims(const struct descriptor *d)
{
	dev_t device = d->st.st_rdev;
	struct termios2 settings;

	if (!S_ISCHR(d->st.st_mode) || (d->flags & O_PATH))
		return false;
	if (tty_is_pts(device) || major(device) == TTY_MAJOR)
		return true;
	if (major(device) == TTYAUX_MAJOR)
		return minor(device) <= 1;
	return d->live >= 0 && ioctl(d->live, TCGETS2, &settings) == 0;
}

/* it comes after the terminal itself, which it needs at restore */
static int validate_name(const struct objects *objects, const TtyState *s, struct error *err)
{
	const struct object *terminal = objects_by_id(objects, s->stands_for);
	const struct object *mount = objects_by_id(objects, s->mount);

	if (!terminal || terminal->kind != &tty_kind ||
	    object_state(terminal, TtyState)->stands_for)
		return error_raise(err, EBADMSG, "a name that stands for object %u", s->stands_for);
	if (s->mount &&
	    (!mount || mount->kind != &mount_kind || !object_state(terminal, TtyState)->superblock))
		return error_raise(err, EBADMSG, "a terminal by mount %u", s->mount);
	if (s->name.len || s->control_chars.len || s->session || s->foreground || s->superblock)
		return error_raise(err, EBADMSG, "a name of a terminal with a state of its own");
	return 0;
}

static int validate_place(const struct objects *objects, const TtyState *s, struct error *err)
{
	const struct object *devpts = objects_by_id(objects, s->superblock);

	if (s->mount || s->mode & ~07777u || s->number > PTS_NUMBER_MAX ||
	    (s->superblock && (!devpts || devpts->kind != &superblock_kind)) ||
	    (!s->superblock && s->number))
		return error_raise(err, EBADMSG, "terminal %u of devpts %u", s->number,
		                   s->superblock);
	return 0;
}

static int tty_validate(const struct objects *objects, const struct object *object,
                        struct error *err)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";
	const TtyState *s = object_state(object, TtyState);
	struct termios2 t;

	if (s->stands_for)
		return validate_name(objects, s, err);
	if (!s->name.len || s->name.len > NAME_MAX_TTY)
		return error_raise(err, EBADMSG, "a terminal's name of %zu bytes", s->name.len);
	for (size_t i = 0; i < s->name.len; i++)
		if (!s->name.data[i] || !strchr(allowed, s->name.data[i]))
			return error_raise(err, EBADMSG, "a terminal's name has the byte %u",
			                   s->name.data[i]);
	if (s->control_chars.len != sizeof(t.c_cc))
		return error_raise(err, EBADMSG, "%zu control characters", s->control_chars.len);
	if (s->rows > UINT16_MAX || s->columns > UINT16_MAX || s->width_pixels > UINT16_MAX ||
	    s->height_pixels > UINT16_MAX)
		return error_raise(err, EBADMSG, "a window of %u by %u", s->rows, s->columns);
	if (s->session > INT_MAX || s->foreground > INT_MAX)
		return error_raise(err, EBADMSG, "session %u, foreground group %u", s->session,
		                   s->foreground);
	return validate_place(objects, s, err);
}

/* the name as a string; the caller frees it */
static char *state_name(const struct object *object)
{
	const TtyState *s = object_state(object, TtyState);

	return bytes_text(&s->name);
}

static bool supplied(const struct restart *r, const struct object *object)
{
	_cleanup_(free_p) char *name = state_name(object);

	return externals_supplied(r->options->externals, name);
}

const struct object *tty_heir(const struct restart *r)
{
	const struct object *first = NULL;
	struct object *object;
	size_t cursor = 0;

	if (r->options->terminal < 0)
		return NULL;
	while ((object = objects_next(r->objects, &tty_kind, &cursor))) {
		if (object_state(object, TtyState)->stands_for || supplied(r, object))
			continue;
		if (object_state(object, TtyState)->session)
			return object;
		if (!first)
			first = object;
	}
	return first;
}

/* what was given is looked at without opening it, which could make it somebody's terminal */
static int check_supply(const struct restart *r, const char *name, struct error *err)
{
	struct stat st;
	int e = externals_check(r->options->externals, name, &st, err);

	if (e < 0)
		return error_trace(err, e);
	if (S_ISCHR(st.st_mode) || S_ISSOCK(st.st_mode))
		return 0;
	error_refuse(err, CODE_external_missing, "what was supplied is no terminal, nor a socket");
	error_object(err, "%s", name);
	error_hint(err, "--external %s=/dev/pts/N (or fd:N, or a socket that takes a master)",
	           name);
	return -EOPNOTSUPP;
}

/* whether a socket was supplied: who listens there gets the master of a new terminal */
static bool has_taker(const struct restart *r, const struct object *object)
{
	_cleanup_(free_p) char *name = state_name(object);
	struct error ignored = ERROR_INIT;
	struct stat st;

	return externals_supplied(r->options->externals, name) &&
	       externals_check(r->options->externals, name, &st, &ignored) == 0 &&
	       S_ISSOCK(st.st_mode);
}

/* whether it is made anew, so that it is another pty than the coordinator's own */
static bool is_new(const struct restart *r, const struct object *object)
{
	const TtyState *s = object_state(object, TtyState);

	return (s->superblock && s->session && r->options->relay >= 0 && tty_heir(r) == object) ||
	       has_taker(r, object);
}

bool tty_is_made(const struct restart *r, uint32_t superblock, unsigned number)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &tty_kind, &cursor));) {
		const TtyState *s = object_state(o, TtyState);
		if (!s->stands_for && s->superblock == superblock && s->number == number)
			return is_new(r, o);
	}
	return false;
}

static int tty_preflight(struct restart *r, struct object *object, struct error *err)
{
	_cleanup_(free_p) char *name = state_name(object);
	struct error refusal;

	if (object_state(object, TtyState)->stands_for || tty_heir(r) == object)
		return 0;
	if (supplied(r, object))
		return check_supply(r, name, err);
	error_refuse(&refusal, CODE_external_missing, "a terminal that the tree used is needed");
	error_object(&refusal, "%s", name);
	error_hint(&refusal,
	           "restart in the foreground on a terminal, or --external %s=/dev/pts/N (or fd:N, "
	           "or a socket that takes a master)",
	           name);
	restart_refuse(r, &refusal);
	return 0;
}

static int apply_settings(const TtyState *s, const struct tty *tty, struct error *err)
{
	struct termios2 t = { .c_iflag = s->input_flags,
		              .c_oflag = s->output_flags,
		              .c_cflag = s->control_flags,
		              .c_lflag = s->local_flags,
		              .c_ispeed = s->input_speed,
		              .c_ospeed = s->output_speed };
	struct winsize size = { .ws_row = (unsigned short)s->rows,
		                .ws_col = (unsigned short)s->columns,
		                .ws_xpixel = (unsigned short)s->width_pixels,
		                .ws_ypixel = (unsigned short)s->height_pixels };

	memcpy(t.c_cc, s->control_chars.data, sizeof(t.c_cc));
	if (ioctl(tty->fd, TCSETS2, &t) < 0)
		return error_raise(err, errno, "TCSETS2 on the terminal");
	/* the relay then sets the window's true size: the program gets SIGWINCH if they differ */
	if (tty->ours && ioctl(tty->fd, TIOCSWINSZ, &size) < 0)
		return error_raise(err, errno, "TIOCSWINSZ on the terminal");
	return 0;
}

/* a terminal of the user's is left alone until nothing else can fail */
static int tty_finish(struct restart *r, struct object *object, struct error *err)
{
	const TtyState *s = object_state(object, TtyState);
	const struct tty *tty = object->live;
	sigset_t block, saved;

	if (s->stands_for || tty->ours)
		return 0;
	sigemptyset(&block);
	sigaddset(&block, SIGTTOU); /* it may be ours, with us in the background */
	sigprocmask(SIG_BLOCK, &block, &saved);
	int result = apply_settings(s, tty, err);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	return result < 0 ? error_trace(err, result) : 0;
}

/* the lowest numbers come first, and those that are too low are in the way meanwhile */
static int open_numbered(int devpts, unsigned number, int *ret_master, struct error *err)
{
	_cleanup_(close_p) int master =
		openat(devpts, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	unsigned have;
	int unlock = 0;

	if (master < 0 || ioctl(master, TIOCGPTN, &have) < 0)
		return error_raise(err, errno, "open a new terminal in a devpts");
	if (have > number)
		return error_raise(err, EEXIST, "terminal %u of a new devpts is taken", number);
	if (have < number)
		return open_numbered(devpts, number, ret_master, err);
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_raise(err, errno, "unlock a new terminal");
	*ret_master = take_fd(&master);
	return 0;
}

static int give_owner(const TtyState *s, int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of a new terminal");
	/* an id that a user namespace has no name for cannot be given */
	if ((st.st_uid != s->user || st.st_gid != s->group) && fchown(fd, s->user, s->group) < 0)
		return error_raise(err, errno, "give a new terminal to %u:%u", s->user, s->group);
	if (fchmod(fd, s->mode) < 0)
		return error_raise(err, errno, "chmod of a new terminal");
	return 0;
}

/* in the devpts that it was in, under its number, if that is of the set */
static int open_master(const struct restart *r, const TtyState *s, int *ret, struct error *err)
{
	if (s->superblock) {
		int devpts = superblock_fd(r, objects_by_id(r->objects, s->superblock));
		int e = open_numbered(devpts, s->number, ret, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	*ret = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	return *ret < 0 || unlockpt(*ret) < 0 ? error_raise(err, errno, "open a new terminal") : 0;
}

/* who relays, or listens, gets the other end */
static int hand_on(struct restart *r, const struct object *object, int master, struct error *err)
{
	_cleanup_(free_p) char *name = state_name(object);
	_cleanup_(close_p) int taker = -1;
	int e = 0;

	if (has_taker(r, object)) {
		e = externals_connect(r->options->externals, name, &taker, err);
		fcntl(master, F_SETFL, O_RDWR); /* as one expects it */
	}
	if (e == 0 && fds_send(taker >= 0 ? taker : r->options->relay, &master, 1) < 0)
		e = error_raise(err, errno, "hand on the new terminal");
	return e < 0 ? error_trace(err, e) : 0;
}

static int make_terminal(struct restart *r, const struct object *object, struct tty *tty,
                         struct error *err)
{
	const TtyState *s = object_state(object, TtyState);
	_cleanup_(close_p) int master = -1;
	int e = open_master(r, s, &master, err);

	if (e < 0)
		return error_trace(err, e);
	tty->fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (tty->fd < 0)
		return error_raise(err, errno, "open the other side of a new terminal");
	e = s->superblock ? give_owner(s, tty->fd, err) : 0;
	if (e == 0)
		e = hand_on(r, object, master, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int tty_restore(struct restart *r, struct object *object, struct error *err)
{
	const TtyState *s = object_state(object, TtyState);
	_cleanup_(free_p) char *name = state_name(object);
	struct tty *tty = tty_new(0, 0);
	int result = 0;

	object->live = tty;
	if (s->stands_for)
		return 0;
	tty->made = is_new(r, object);
	tty->ours = tty->made || tty_heir(r) == object;
	if (tty->made)
		result = make_terminal(r, object, tty, err);
	else if (tty->ours)
		tty->fd = fcntl(r->options->terminal, F_DUPFD_CLOEXEC, 3);
	else
		result = externals_open(r->options->externals, name, O_RDWR | O_NOCTTY | O_NONBLOCK,
		                        &tty->fd, err);
	if (result < 0)
		return error_trace(err, result);
	if (!isatty(tty->fd))
		return error_raise(err, ENOTTY, "'%s' is to be a terminal", name);
	return tty->ours ? apply_settings(s, tty, err) : 0;
}

static void tty_release(struct object *object)
{
	struct tty *tty = object->live;

	if (tty)
		close_p(&tty->fd);
	free(tty);
	object->live = NULL;
}

const struct kind tty_kind = {
	.name = "tty",
	.number = 24,
	.message = &tty_state__descriptor,
	.collect = tty_collect,
	.judge = tty_judge,
	.validate = tty_validate,
	.preflight = tty_preflight,
	.restore = tty_restore,
	.before_clone = tty_before_clone,
	.install = tty_install,
	.commit = tty_commit,
	.finish = tty_finish,
	.release = tty_release,
	.claims = tty_claims,
	.collect_descriptor = tty_collect_descriptor,
	.open = tty_open,
};
