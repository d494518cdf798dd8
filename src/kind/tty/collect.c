/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Terminals of the set: what they have, whose they are, what a new one could not be given. */
#include "kind/tty.h"

/* struct termios2; <termios.h> would collide with it */
#include <asm/termbits.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "kind/mount.h"
#include "kind/superblock.h"
#include "kind/tty/tty.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define PTS_MAJOR_FIRST 136 /* Documentation/admin-guide/devices.txt: Unix98 pty slaves */
#define PTS_MAJOR_LAST  143

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

bool tty_is_pts(dev_t device)
{
	return major(device) >= PTS_MAJOR_FIRST && major(device) <= PTS_MAJOR_LAST;
}

static unsigned pts_number(dev_t device)
{
	return minor(device) + ((major(device) - PTS_MAJOR_FIRST) << 20);
}

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
static void examine(struct checkpoint *c, const struct task *task, struct object *object, int fd)
{
	dev_t device = ((struct tty *)object->live)->device;
	struct termios2 settings;
	struct winsize size = { 0 };
	struct error refusal;
	struct stat st;

	judge_settings(c, task, fd, device);
	if (ioctl(fd, TCGETS2, &settings) < 0) {
		if (errno != EIO)
			return; /* of another line discipline, which is refused */
		/* drivers/tty/tty_io.c, hung_up_tty_ioctl */
		error_refuse(&refusal, CODE_tty_hung_up, "the terminal is gone: %s",
		             strerror(errno));
		error_hint(&refusal, "give the program another standard input and output");
		tty_refuse(c, task, device, &refusal);
		return;
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
}

/* two instances of devpts may have the same number */
struct tty_key {
	dev_t filesystem, device;
	uint64_t stands_for, mount;
};

static struct tty_key key_of(dev_t filesystem, dev_t device)
{
	return (struct tty_key){ tty_is_pts(device) ? filesystem : 0, device, 0, 0 };
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

	if (tty_is_pts(device))
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
	if (!(*ret)->message)
		examine(c, task, *ret, fd);
	return 0;
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
	if (d->live >= 0 && !d->by_path && ioctl(d->live, TIOCGDEV, &number) < 0)
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
	if (d->live < 0 || !tty_is_pts(d->st.st_rdev) || !superblock_of_set(c, d->st.st_dev))
		return 0;
	r = mount_of(c, d->task, d->live, ret, &path, &deleted, &detached);
	if (r == -EOPNOTSUPP)
		return 0;
	*err = detached;
	return r < 0 ? error_trace(err, r) : 0;
}

static void note_unexamined(struct checkpoint *c, const struct descriptor *d)
{
	char key[40];

	externals_name(c->options->externals, tty_key(d->st.st_rdev, key)); /* it is used */
	check_unexamined(c, d->task, "settings and input of its terminals", CODE_tty_discipline,
	                 CODE_tty_exclusive, CODE_tty_locked, CODE_tty_input, CODE_tty_hung_up);
}

int tty_collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                           struct error *err)
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
	if (d->by_path)
		note_unexamined(c, d);
	else if (!object->message && d->live >= 0)
		examine(c, d->task, object, d->live);
	return 0;
}

static struct task *session_leader(const struct checkpoint *c, const struct task *task)
{
	struct task *leader = checkpoint_task(c, task->stat.session);

	return leader && leader->tid == leader->tgid && leader->state != TASK_ZOMBIE ? leader
	                                                                             : NULL;
}

/* the controlling terminal of a session of the set; one led from outside is replaced with it */
int tty_collect(struct checkpoint *c, struct task *task, struct error *err)
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
	const struct task *task = tty->first;

	if (task && session_leader(c, task))
		s->session = (uint32_t)task->recorded.sid;
	if (task && task->stat.tpgid > 0)
		s->foreground = (uint32_t)checkpoint_group(c, task->stat.tpgid);
}

/* whether it is in a devpts that is made again */
static void note_place(struct checkpoint *c, const struct tty *tty, TtyState *s)
{
	unsigned number = pts_number(tty->device);
	const struct object *devpts = tty_is_pts(tty->device) && number <= PTS_NUMBER_MAX
	                                      ? superblock_of_set(c, tty->filesystem)
	                                      : NULL;

	if (!devpts)
		return;
	s->superblock = devpts->id;
	s->number = number;
}

static struct tty *find_device(const struct map *terminals, uint32_t tty_nr)
{
	dev_t device = decode_tty_nr(tty_nr);

	return map_get(terminals, &device, sizeof(device));
}

/* a session is one with its terminal: a task that has given it up (TIOCNOTTY) cannot be made */
static void judge_session(struct checkpoint *c, const struct map *terminals,
                          const struct task *task)
{
	const struct task *leader = session_leader(c, task);
	const struct tty *tty = leader ? find_device(terminals, leader->stat.tty_nr) : NULL;
	const char *problem = tty ? session_problem(task, leader) : NULL;
	struct error refusal;

	if (!problem)
		return;
	error_refuse(&refusal, CODE_tty_session, "%s", problem);
	error_hint(&refusal, "start the program with setsid(1)");
	tty_refuse(c, task, tty->device, &refusal);
}

/* once for all terminals and tasks */
static void judge_sessions(struct checkpoint *c)
{
	_cleanup_(map_freep) struct map *terminals = map_new();
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, &tty_kind, &cursor));) {
		struct tty *tty = o->live;
		if (tty->stands_for)
			continue;
		tty->alike = map_get(terminals, &tty->device, sizeof(tty->device));
		map_put(terminals, &tty->device, sizeof(tty->device), tty);
	}
	for (size_t i = 0; i < c->n_tasks; i++) {
		const struct task *task = c->tasks[i];
		if (!task->speaks)
			continue;
		struct tty *tty = find_device(terminals, task->stat.tty_nr);
		for (; tty && !tty->first; tty = tty->alike)
			tty->first = task;
		judge_session(c, terminals, task);
	}
}

int tty_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct tty *tty = object->live;
	size_t cursor = 0;

	if (objects_next(c->objects, &tty_kind, &cursor) == object)
		judge_sessions(c);
	if (object->message && !tty->stands_for) {
		note_session(c, tty, object_state(object, TtyState));
		note_place(c, tty, object_state(object, TtyState));
	}
	return 0;
}
