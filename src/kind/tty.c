/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals as external objects. See tty.h.
 *
 * A terminal is found by its descriptors, and as the controlling terminal of a session of the set.
 * A task refers to a tty object (task_refer) when it is its controlling terminal; descriptors refer
 * to it through the kinds file and file_table.
 *
 * Restart: the terminal must be the session leader's before any child of it is cloned, since
 * TIOCSCTTY reaches only the caller and children inherit (drivers/tty/tty_jobctrl.c,
 * __proc_set_tty). The foreground group is set last, when all groups exist.
 */
#include "kind/tty.h"

/* struct termios2; <termios.h> would collide with it */
#include <asm/termbits.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "core/restart.h"
#include "kind/mount.h"
#include "kind/superblock.h"
#include "mount.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "tty.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/fds.h"

#define PTS_MAJOR_FIRST 136 /* Documentation/admin-guide/devices.txt: Unix98 pty slaves */
#define PTS_MAJOR_LAST  143
#define TTY_MAJOR       4 /* virtual consoles and serial lines */
#define TTYAUX_MAJOR    5 /* 0 = /dev/tty, 1 = /dev/console, 2 = /dev/ptmx */
#define NAME_MAX_TTY    64
#define PTS_NUMBER_MAX  0xffff /* of those that are made again; kernel.pty.max is 4096 */

/* object->live */
struct tty {
	dev_t device;        /* checkpoint */
	dev_t filesystem;    /* of a pty: its devpts */
	int fd;              /* restart: the terminal that takes its place; -1 none yet */
	bool ours;           /* it is the slave of the new pty */
	struct stub *leader; /* whose session has taken it as its controlling terminal */
	uint32_t stands_for; /* checkpoint: /dev/tty; the id of the terminal that it means */
	bool foreground_set;
};

static struct tty *tty_new(dev_t filesystem, dev_t device)
{
	struct tty *tty = xcalloc(1, sizeof(*tty));

	tty->filesystem = filesystem;
	tty->device = device;
	tty->fd = -1;
	return tty;
}

static const char *tty_key(dev_t device, char room[40])
{
	snprintf(room, 40, "tty:[%u:%u]", major(device), minor(device));
	return room;
}

/* /proc/PID/stat's tty_nr is in the kernel's new_encode_dev form, proc_pid_stat(5) */
static dev_t decode_tty_nr(uint32_t nr)
{
	return makedev((nr >> 8) & 0xfff, (nr & 0xff) | ((nr >> 12) & 0xfff00));
}

static bool is_pts(dev_t device)
{
	return major(device) >= PTS_MAJOR_FIRST && major(device) <= PTS_MAJOR_LAST;
}

static unsigned pts_number(dev_t device)
{
	return minor(device) + ((major(device) - PTS_MAJOR_FIRST) << 20);
}

static bool tty_claims(const struct descriptor *d)
{
	dev_t device = d->st.st_rdev;
	struct termios2 settings;

	if (!S_ISCHR(d->st.st_mode) || (d->flags & O_PATH))
		return false;
	if (is_pts(device) || major(device) == TTY_MAJOR)
		return true;
	if (major(device) == TTYAUX_MAJOR)
		return minor(device) <= 1;
	return d->live >= 0 && ioctl(d->live, TCGETS2, &settings) == 0;
}

/* ---- checkpoint ---- */

static void tty_refuse(struct checkpoint *c, const struct task *task, dev_t device,
                       struct error *refusal)
{
	char key[40];

	error_object(refusal, "%s", tty_key(device, key));
	refuse(c, task, refusal);
}

/* what a new terminal could not be given back */
static void judge_settings(struct checkpoint *c, const struct task *task, int fd, dev_t device)
{
	unsigned char locked[sizeof(struct termios)] = { 0 };
	int discipline = N_TTY, exclusive = 0;
	struct error refusal;

	if (ioctl(fd, TIOCGETD, &discipline) < 0)
		return; /* hung up */
	if (discipline != N_TTY) {
		error_refuse(&refusal, CODE_tty_discipline, "line discipline %d", discipline);
		error_hint(&refusal, "set discipline 0 (ldattach, slattach and pppd set others)");
		tty_refuse(c, task, device, &refusal);
	}
	if (ioctl(fd, TIOCGEXCL, &exclusive) == 0 && exclusive) {
		error_refuse(&refusal, CODE_tty_exclusive, "exclusive mode (TIOCEXCL) is on");
		error_hint(&refusal, "end it with TIOCNXCL");
		tty_refuse(c, task, device, &refusal);
	}
	ioctl(fd, TIOCGLCKTRMIOS, locked);
	for (size_t i = 0; i < sizeof(locked); i++) {
		if (!locked[i])
			continue;
		error_refuse(&refusal, CODE_tty_locked, "settings are locked (TIOCSLCKTRMIOS)");
		error_hint(&refusal, "unlock them, tty_ioctl(4)");
		tty_refuse(c, task, device, &refusal);
		break;
	}
}

/* typed, not yet read: it would be lost with the relay, and cannot be looked at without reading */
static void judge_input(struct checkpoint *c, const struct task *task, int fd, dev_t device)
{
	struct error refusal;
	char key[40];
	int n = 0;

	if (ioctl(fd, FIONREAD, &n) < 0 || n == 0)
		return;
	if (externals_name(c->options->externals, tty_key(device, key)))
		return;
	error_refuse(&refusal, CODE_tty_input, "%d bytes of input have not been read", n);
	error_hint(&refusal,
	           "wait until it is read, or leave it to the terminal: --external %s=NAME", key);
	tty_refuse(c, task, device, &refusal);
}

static void save_settings(TtyState *s, const struct termios2 *t, const struct winsize *size)
{
	s->input_flags = t->c_iflag;
	s->output_flags = t->c_oflag;
	s->control_flags = t->c_cflag;
	s->local_flags = t->c_lflag;
	s->control_chars.data = xmemdup(t->c_cc, sizeof(t->c_cc));
	s->control_chars.len = sizeof(t->c_cc);
	s->input_speed = t->c_ispeed;
	s->output_speed = t->c_ospeed;
	s->rows = size->ws_row;
	s->columns = size->ws_col;
	s->width_pixels = size->ws_xpixel;
	s->height_pixels = size->ws_ypixel;
}

static char *tty_name(struct checkpoint *c, dev_t device)
{
	char key[40];
	const char *name = externals_name(c->options->externals, tty_key(device, key));

	return name ? xstrdup(name) : xasprintf("tty-%u-%u", major(device), minor(device));
}

/* reads all that @fd, any open file description of the terminal, can tell */
static int examine(struct checkpoint *c, const struct task *task, struct object *object, int fd,
                   struct error *err)
{
	dev_t device = ((struct tty *)object->live)->device;
	struct termios2 settings;
	struct winsize size = { 0 };
	struct error refusal;
	struct stat st;

	judge_settings(c, task, fd, device);
	if (ioctl(fd, TCGETS2, &settings) < 0) {
		if (errno != EIO)
			return 0; /* of another line discipline, which is refused */
		/* drivers/tty/tty_io.c, hung_up_tty_ioctl */
		error_refuse(&refusal, CODE_tty_hung_up, "the terminal is gone: %s",
		             strerror(errno));
		error_hint(&refusal, "give the program another standard input and output");
		tty_refuse(c, task, device, &refusal);
		return 0;
	}
	ioctl(fd, TIOCGWINSZ, &size);
	judge_input(c, task, fd, device);
	TtyState *s = xmalloc(sizeof(*s));
	tty_state__init(s);
	char *name = tty_name(c, device);
	s->name.data = (uint8_t *)name;
	s->name.len = strlen(name);
	save_settings(s, &settings, &size);
	if (fstat(fd, &st) == 0) {
		s->mode = st.st_mode & 07777;
		s->user = st.st_uid;
		s->group = st.st_gid;
	}
	object->message = &s->base;
	return 0;
}

/* two instances of devpts may have the same number */
struct tty_key {
	dev_t filesystem, device;
	uint64_t stands_for, mount;
};

static struct tty_key key_of(dev_t filesystem, dev_t device)
{
	return (struct tty_key){ is_pts(device) ? filesystem : 0, device, 0, 0 };
}

static struct object *tty_object(struct checkpoint *c, dev_t filesystem, dev_t device)
{
	struct tty_key key = key_of(filesystem, device);
	bool new;
	struct object *object = objects_get(c->objects, &tty_kind, &key, sizeof(key), &new);

	if (new)
		object->live = tty_new(key.filesystem, device);
	return object;
}

bool tty_is_known(struct checkpoint *c, dev_t filesystem, dev_t device)
{
	struct tty_key key = key_of(filesystem, device);
	const struct object *object = objects_find(c->objects, &tty_kind, &key, sizeof(key));

	return object && object->message;
}

/*
 * An object beside that of the terminal, for descriptors that have been opened by another name than
 * its own: what a mount of the set shows (@mount), /dev/tty (@device).
 */
static struct object *other_name(struct checkpoint *c, const struct object *terminal, dev_t device,
                                 const struct object *mount)
{
	struct tty_key key = { 0, device, terminal->id, mount ? mount->id : 0 };
	bool new;
	struct object *object = objects_get(c->objects, &tty_kind, &key, sizeof(key), &new);
	struct tty *tty;
	TtyState *s;

	if (!new)
		return object;
	object->live = tty = tty_new(0, device);
	tty->stands_for = terminal->id;
	s = xmalloc(sizeof(*s));
	tty_state__init(s);
	s->stands_for = terminal->id;
	s->mount = (uint32_t)key.mount;
	object->message = &s->base;
	return object;
}

/* opens a terminal by its number, as the task would see it; -errno */
static int open_device(const struct task *task, dev_t device)
{
	char path[48];

	if (is_pts(device))
		snprintf(path, sizeof(path), "root/dev/pts/%u", pts_number(device));
	else if (major(device) == TTY_MAJOR && minor(device) >= 64)
		snprintf(path, sizeof(path), "root/dev/ttyS%u", minor(device) - 64);
	else if (major(device) == TTY_MAJOR)
		snprintf(path, sizeof(path), "root/dev/tty%u", minor(device));
	else
		snprintf(path, sizeof(path), "root/dev/console");
	int fd = task_openat(task, path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == 0 && st.st_rdev == device)
		return fd;
	close(fd);
	return -ENODEV;
}

/* the object of a terminal known by its number alone; *ret NULL if it was refused */
static int find_terminal(struct checkpoint *c, struct task *task, dev_t device, struct object **ret,
                         struct error *err)
{
	_cleanup_(close_p) int fd = open_device(task, device);
	struct error refusal;
	struct stat st;

	*ret = NULL;
	if (fd < 0) {
		error_refuse(&refusal, CODE_tty_hung_up,
		             "the terminal is not to be found under the task's /dev: %s",
		             strerror(-fd));
		error_hint(&refusal, "mount the devpts that it is from at /dev/pts");
		tty_refuse(c, task, device, &refusal);
		return 0;
	}
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of a terminal");
	*ret = tty_object(c, st.st_dev, device);
	return (*ret)->message ? 0 : examine(c, task, *ret, fd, err);
}

static bool is_dev_tty(dev_t device)
{
	return device == makedev(TTYAUX_MAJOR, 0);
}

/* /dev/tty: opened, it is what was the opener's controlling terminal then; ioctl_tty(2) TIOCGDEV */
static int collect_dev_tty(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                           struct error *err)
{
	struct task *task = checkpoint_task(c, d->task->tid);
	struct object *terminal = NULL;
	struct error refusal;
	unsigned number = task ? (unsigned)task->stat.tty_nr : 0;

	*ret = NULL;
	if (d->live >= 0 && ioctl(d->live, TIOCGDEV, &number) < 0)
		number = 0;
	if (!task || !number) {
		error_refuse(&refusal, CODE_tty_hung_up, "the terminal behind /dev/tty is gone");
		error_hint(&refusal, "have the program close that descriptor");
		tty_refuse(c, d->task, d->st.st_rdev, &refusal);
		return 0;
	}
	int r = find_terminal(c, task, decode_tty_nr(number), &terminal, err);
	if (r < 0 || !terminal)
		return r;
	*ret = other_name(c, terminal, d->st.st_rdev, NULL);
	return 0;
}

/* of a devpts of the set: by which mount of it; *ret NULL: none that would be there again */
static int find_mount(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                      struct error *err)
{
	_cleanup_(free_p) char *path = NULL;
	struct error detached = ERROR_INIT;
	bool deleted;
	int r;

	*ret = NULL;
	if (d->live < 0 || !is_pts(d->st.st_rdev) || !superblock_of_set(c, d->st.st_dev))
		return 0;
	r = mount_of(c, d->task, d->live, ret, &path, &deleted, &detached);
	if (r == -EOPNOTSUPP)
		return 0;
	*err = detached;
	return r < 0 ? error_trace(err, r) : 0;
}

static int tty_collect_descriptor(struct checkpoint *c, const struct descriptor *d,
                                  struct object **ret, struct error *err)
{
	struct object *object, *mount;
	struct task *task = checkpoint_task(c, d->task->tid);

	if (is_dev_tty(d->st.st_rdev))
		return collect_dev_tty(c, d, ret, err);
	int r = find_mount(c, d, &mount, err);
	if (r < 0)
		return error_trace(err, r);
	object = tty_object(c, d->st.st_dev, d->st.st_rdev);
	*ret = mount ? other_name(c, object, d->st.st_rdev, mount) : object;
	if (task && decode_tty_nr(task->stat.tty_nr) == d->st.st_rdev)
		task_refer(task, object);
	if (object->message || d->live < 0)
		return 0;
	return examine(c, d->task, object, d->live, err);
}

static struct task *session_leader(const struct checkpoint *c, const struct task *task)
{
	struct task *leader = checkpoint_task(c, task->stat.session);

	return leader && leader->tid == leader->tgid && leader->state != TASK_ZOMBIE ? leader
	                                                                             : NULL;
}

/* the controlling terminal of a session of the set; one led from outside is replaced with it */
static int tty_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;

	if (!task->speaks || !task->stat.tty_nr || !session_leader(c, task))
		return 0;
	int r = find_terminal(c, task, decode_tty_nr(task->stat.tty_nr), &object, err);
	if (r == 0 && object)
		task_refer(task, object);
	return r < 0 ? error_trace(err, r) : 0;
}

/* what is wrong with a task's relation to the terminal of its session; NULL: nothing */
static const char *session_problem(const struct task *task, const struct task *leader)
{
	if (leader->state == TASK_DEAD_LEADER)
		return "the first thread of its session's leader has ended";
	if (task->stat.tty_nr != leader->stat.tty_nr)
		return "it is the session's controlling terminal, but not this task's";
	return NULL;
}

/* whose terminal it is, which all tasks together say */
static void note_session(struct checkpoint *c, const struct tty *tty, TtyState *s)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		const struct task *task = c->tasks[i];
		if (!task->speaks || decode_tty_nr(task->stat.tty_nr) != tty->device)
			continue;
		if (session_leader(c, task))
			s->session = (uint32_t)task->recorded.sid;
		if (task->stat.tpgid > 0)
			s->foreground = (uint32_t)checkpoint_group(c, task->stat.tpgid);
		break;
	}
}

/* whether it is in a devpts that is made again */
static void note_place(struct checkpoint *c, const struct tty *tty, TtyState *s)
{
	unsigned number = pts_number(tty->device);
	const struct object *devpts = is_pts(tty->device) && number <= PTS_NUMBER_MAX
	                                      ? superblock_of_set(c, tty->filesystem)
	                                      : NULL;

	if (!devpts)
		return;
	s->superblock = devpts->id;
	s->number = number;
}

/* a session is one with its terminal: a task that has given it up (TIOCNOTTY) cannot be made */
static int tty_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct tty *tty = object->live;
	struct error refusal;

	if (tty->stands_for)
		return 0;
	if (object->message) {
		note_session(c, tty, object_state(object, TtyState));
		note_place(c, tty, object_state(object, TtyState));
	}
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct task *task = c->tasks[i], *leader = session_leader(c, task);
		if (!task->speaks || !leader || decode_tty_nr(leader->stat.tty_nr) != tty->device)
			continue;
		const char *problem = session_problem(task, leader);
		if (!problem)
			continue;
		error_refuse(&refusal, CODE_tty_session, "%s", problem);
		error_hint(&refusal, "start the program with setsid(1)");
		tty_refuse(c, task, tty->device, &refusal);
	}
	return 0;
}

/* ---- restart ---- */

/* it comes after the terminal itself, which it needs at restore */
static int validate_name(const struct objects *objects, const TtyState *s, struct error *err)
{
	const struct object *terminal = objects_by_id(objects, s->stands_for);
	const struct object *mount = objects_by_id(objects, s->mount);

	if (!terminal || terminal->kind != &tty_kind ||
	    object_state(terminal, TtyState)->stands_for)
		return error_raise(err, EBADMSG, "a name that stands for object %u", s->stands_for);
	if (s->mount && (!mount || mount->kind != &mount_kind))
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

	return xasprintf("%.*s", (int)s->name.len, (const char *)s->name.data);
}

static bool supplied(const struct restart *r, const struct object *object)
{
	_cleanup_(free_p) char *name = state_name(object);

	return externals_supplied(r->options->externals, name);
}

/* whose place the new pty takes: of those that --external does not supply, a session's own first */
static const struct object *heir(const struct restart *r)
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
	if (S_ISCHR(st.st_mode))
		return 0;
	error_refuse(err, CODE_external_missing, "what was supplied is no terminal");
	error_object(err, "%s", name);
	error_hint(err, "--external %s=/dev/pts/N (or fd:N)", name);
	return -EOPNOTSUPP;
}

/* another pty than the one that the coordinator leads the session of, in a devpts that is new */
static bool is_made(const struct restart *r, const struct object *object)
{
	const TtyState *s = object_state(object, TtyState);

	return s->superblock && s->session && r->options->relay >= 0 && heir(r) == object;
}

bool tty_is_made(const struct restart *r, uint32_t superblock, unsigned number)
{
	const struct object *object = heir(r);
	const TtyState *s = object ? object_state(object, TtyState) : NULL;

	return s && s->superblock == superblock && s->number == number && is_made(r, object);
}

static int tty_preflight(struct restart *r, struct object *object, struct error *err)
{
	_cleanup_(free_p) char *name = state_name(object);
	struct error refusal;

	if (object_state(object, TtyState)->stands_for || heir(r) == object)
		return 0;
	if (supplied(r, object))
		return check_supply(r, name, err);
	error_refuse(&refusal, CODE_external_missing, "a terminal that the tree used is needed");
	error_object(&refusal, "%s", name);
	error_hint(&refusal,
	           "restart in the foreground on a terminal, or --external %s=/dev/pts/N (or fd:N)",
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

/* in the devpts that it was in, under its number; who relays gets the other end */
static int make_terminal(const struct restart *r, const TtyState *s, struct tty *tty,
                         struct error *err)
{
	int devpts = superblock_fd(r, objects_by_id(r->objects, s->superblock));
	_cleanup_(close_p) int master = -1;
	int e = open_numbered(devpts, s->number, &master, err);

	if (e < 0)
		return error_trace(err, e);
	tty->fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (tty->fd < 0)
		return error_raise(err, errno, "open the other side of a new terminal");
	e = give_owner(s, tty->fd, err);
	if (e < 0)
		return error_trace(err, e);
	if (fds_send(r->options->relay, &master, 1) < 0)
		return error_raise(err, errno, "hand on the new terminal");
	return 0;
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
	tty->ours = heir(r) == object;
	if (tty->ours && is_made(r, object))
		result = make_terminal(r, s, tty, err);
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

/* whether the coordinator is the leader of the new pty's session, terminal_run() */
static bool leads(const struct restart *r)
{
	return r->options->terminal >= 0 && getsid(0) == getpid();
}

int tty_lead_session(struct restart *r, struct error *err)
{
	const struct object *object = heir(r);

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

static int tty_before_clone(struct restart *r, struct stub *parent, struct stub *child,
                            struct error *err)
{
	struct object *object = parent ? stub_object(parent, &tty_kind) : NULL;

	return object ? take_terminal(r, object, parent, err) : 0;
}

static int tty_install(struct restart *r, struct object *object, struct stub *stub,
                       struct error *err)
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

static int tty_commit(struct restart *r, struct object *object, struct stub *stub,
                      struct error *err)
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
	const struct object *object = heir(r);
	pid_t group = object ? (pid_t)object_state(object, TtyState)->foreground : 0;

	if (!group && getsid(r->root) == getpid())
		group = getpgid(r->root);
	return group;
}

int tty_give_foreground(struct restart *r, struct error *err)
{
	const struct object *object = heir(r);
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

static int tty_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
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
	if (s->mount && is_made(r, terminal)) {
		e = open_mounted(r, objects_by_id(r->objects, s->mount),
		                 object_state(terminal, TtyState), flags, ret_fd, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tty->fd);
	*ret_fd = open(path, (int)flags | O_NOCTTY | O_CLOEXEC);
	return *ret_fd < 0 ? error_raise(err, errno, "open the terminal anew") : 0;
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
