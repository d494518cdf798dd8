/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: whether such a file can be opened again, and under what path. */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/mount.h"
#include "kind/place.h"
#include "kind/pseudo.h"
#include "kind/pseudo/parts.h"
#include "kind/user_ns.h"
#include "proc/stat.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/path.h"
#include "util/still.h"

bool pseudo_claims(const struct descriptor *d)
{
	return d->link[0] == '/' && pseudo_fs(d->magic) &&
	       (S_ISREG(d->st.st_mode) || S_ISDIR(d->st.st_mode) ||
	        (S_ISLNK(d->st.st_mode) && d->flags & O_PATH));
}

/* one look at a descriptor */
struct look {
	struct checkpoint *c;
	const struct descriptor *d;
	const struct pseudo_fs *fs;
	struct place place;
	char *path;              /* from the root of the file system */
	unsigned plain;          /* PLAIN_* */
	const struct task *task; /* whose it is; NULL: nobody's */
	size_t directory;        /* bytes of place.path */
};

/* ---- whose file it is ---- */

static int refuse_task(const struct look *l, pid_t number, const char *why, struct error *refusal)
{
	error_refuse(refusal, CODE_pseudo_task, "it is of task %d there, %s", number, why);
	return -EOPNOTSUPP;
}

/* what that proc shows of it; false: nothing */
static bool read_task(const struct look *l, struct proc_status *status, struct proc_stat *stat)
{
	_cleanup_(free_p) char *folder = xstrndup(l->place.path, l->directory), *text = NULL;
	_cleanup_(close_p) int dir = place_open(l->place.base, folder, O_PATH | O_DIRECTORY);
	struct error ignored;
	char unknown[64];

	if (dir < 0 || file_read(dir, "stat", &text) < 0 ||
	    proc_stat_parse(text, stat, &ignored) < 0)
		return false;
	free(text);
	text = NULL;
	return file_read(dir, "status", &text) >= 0 &&
	       proc_status_parse(text, status, unknown, &ignored) == 0;
}

static int find_task(struct look *l, struct error *refusal)
{
	const struct checkpoint *c = l->c;
	struct proc_status status = { 0 };
	struct proc_stat stat;
	pid_t number;
	size_t n = pseudo_task(l->path, &number), below = strlen(l->path) - n;

	if (!n)
		return 0;
	if (below > strlen(l->place.path))
		return refuse_task(l, number, "which is mounted by itself", refusal);
	l->directory = strlen(l->place.path) - below;
	if (!read_task(l, &status, &stat))
		return error_refuse(refusal, CODE_pseudo_gone,
		                    "it is of task %d there, of which nothing is to be read",
		                    number);
	l->task = checkpoint_shown(c, &status, &stat);
	if (!l->task)
		return refuse_task(l, number, "which is outside the set", refusal);
	/* those above the root's own namespace are not restored; in our own /proc we look for them
	 */
	if (l->place.mount &&
	    l->task->status.n_ns_pids - status.n_ns_pids + 1 < c->tasks[0]->status.n_ns_pids)
		return refuse_task(l, number, "and will have another number after a restart",
		                   refusal);
	return 0;
}

/* ---- what is behind the descriptor ---- */

/* whoever has all our rights gets no more when we open it for him */
static bool has_our_rights(const struct task *task)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (user_ns_of(task) || task->status.uid[1] != geteuid() ||
	    syscall(SYS_capget, &head, data) < 0)
		return false;
	uint64_t ours = data[0].effective | (uint64_t)data[1].effective << 32;
	return task->status.cap_effective == ours && features_capability(CAP_SYS_ADMIN);
}

/* execve(2) leaves what was opened before with memory that is gone */
static int check_memory(const struct look *l, struct error *refusal)
{
	char room[8];

	if (l->d->by_path) {
		check_unexamined(l->c, l->d->task, "whose memory open files in /proc show",
		                 CODE_pseudo_memory);
		return 0;
	}
	ssize_t n = pread(l->d->live, room, sizeof(room), 0);
	if (n > 0 || (n < 0 && errno == EIO))
		return 0;
	return error_refuse(refusal, CODE_pseudo_memory,
	                    "it shows memory that its task has no more, or cannot be read");
}

static int check_plain(struct look *l, struct error *refusal)
{
	bool writes = (l->d->flags & O_ACCMODE) != O_RDONLY;

	if (l->d->fd < 0 && S_ISREG(l->d->st.st_mode))
		return error_refuse(refusal, CODE_pseudo_file, "it is mapped");
	unsigned plain = l->fs->file ? l->fs->file(l->path) : PLAIN_NOT;
	if (plain & PLAIN_NEVER)
		return error_refuse(refusal, CODE_pseudo_file,
		                    "it is of a descriptor or mapping of a task, by its number");
	if (l->d->flags & O_PATH || S_ISDIR(l->d->st.st_mode))
		return 0;
	l->plain = plain;
	if (plain & PLAIN_NOT)
		return error_refuse(refusal, CODE_pseudo_file,
		                    "there is more behind this file of %s than can be seen, or it "
		                    "is not known",
		                    l->fs->name);
	if (l->plain & PLAIN_TO_READ && writes)
		return error_refuse(refusal, CODE_pseudo_file,
		                    "it is open for writing, and what was written may belong to "
		                    "this descriptor");
	if ((l->plain & PLAIN_RIGHTS || (l->plain & PLAIN_WRITTEN && writes)) &&
	    !has_our_rights(l->d->task))
		return error_refuse(refusal, CODE_pseudo_rights,
		                    "what it allows depends on who has opened it, which cannot be "
		                    "seen");
	return l->plain & PLAIN_MEMORY ? check_memory(l, refusal) : 0;
}

bool pseudo_has_news(const struct pseudo_fs *fs, int fd)
{
	struct pollfd p = { fd, POLLPRI, 0 };

	return fs->notifies && poll(&p, 1, 0) == 1 && p.revents & POLLPRI;
}

static PseudoState__Notice notice_of(const struct look *l)
{
	if (l->plain & PLAIN_MOUNTS)
		return PSEUDO_STATE__NOTICE__MOUNTS;
	if (l->plain & PLAIN_NAMES)
		return PSEUDO_STATE__NOTICE__NAMES;
	if (l->d->by_path || l->d->flags & O_PATH || !S_ISREG(l->d->st.st_mode) ||
	    !pseudo_has_news(l->fs, l->d->live))
		return PSEUDO_STATE__NOTICE__NONE;
	return PSEUDO_STATE__NOTICE__PENDING;
}

/* ---- where it is ---- */

static bool leads_there(const struct look *l)
{
	_cleanup_(close_p) int fd = place_open(l->place.base, l->place.path, O_PATH | O_NOFOLLOW);
	struct stat st;

	return fd >= 0 && still_fstat(fd, &st) == 0 && st.st_dev == l->d->st.st_dev &&
	       st.st_ino == l->d->st.st_ino;
}

/*
 * What is below /proc/sys depends on the namespaces of who looks. And who looks up a name in the
 * net directory of a task makes the kernel show what others have open of that name as deleted:
 * nobody looks, and that is not believed.
 */
static int find_path(struct look *l, struct error *refusal)
{
	pid_t task = 0;
	bool proc = l->d->magic == PROC_SUPER_MAGIC;
	size_t n = proc ? pseudo_task(l->path, &task) : 0;
	bool net = task && !strncmp(l->path + n, "/net/", 5);
	bool sys = proc && !strncmp(l->path, "/sys/", 5);

	if (!l->place.mount && l->place.deleted && (net || sys || !leads_there(l))) {
		l->place.path[strlen(l->place.path) - strlen(PATH_DELETED)] = 0;
		l->path[strlen(l->path) - strlen(PATH_DELETED)] = 0;
	}
	/* what is covered is opened before that, and before the tasks may be there */
	if (task && l->place.mount && mount_hides(l->c, l->place.mount, l->place.path))
		return error_refuse(refusal, CODE_regfile_path, "something is mounted over it");
	if (net || (sys && !l->place.deleted) || (!sys && leads_there(l)))
		return 0;
	if (l->place.deleted || task)
		return error_refuse(refusal, CODE_pseudo_gone,
		                    "it is of something that is there no more");
	return error_refuse(refusal, CODE_regfile_path, "it is not to be found under its path");
}

static int examine(struct look *l, struct error *refusal)
{
	int r = place_find(l->c, l->d->task, l->d->live, &l->place, refusal);

	if (r == 0)
		r = mount_path_within(l->c, l->place.mount, l->d->live, l->place.path, &l->path,
		                      refusal);
	if (r == 0)
		r = find_path(l, refusal);
	if (r == 0 && l->d->magic == PROC_SUPER_MAGIC)
		r = find_task(l, refusal);
	return r < 0 ? r : check_plain(l, refusal);
}

static struct object *describe(const struct look *l)
{
	/* one for each description: what poll(2) has to tell is its own */
	struct {
		pid_t tid;
		int fd;
		char what[24];
	} key = { l->d->task->tid, l->d->fd, "" };
	PseudoState *s = xmalloc(sizeof(*s));

	snprintf(key.what, sizeof(key.what), "%s", l->d->what);
	struct object *object = objects_get(l->c->objects, &pseudo_kind, &key, sizeof(key), NULL);
	pseudo_state__init(s);
	s->path = bytes_of_text(l->place.path);
	s->mount = l->place.mount ? l->place.mount->id : 0;
	s->magic = l->d->magic;
	s->type = l->d->st.st_mode & S_IFMT;
	s->opener = (uint32_t)l->d->task->recorded.tid;
	s->task = l->task ? (uint32_t)l->task->recorded.tid : 0;
	s->directory = (uint32_t)l->directory;
	s->notice = notice_of(l);
	object->message = &s->base;
	return object;
}

int pseudo_collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	struct look l = { .c = c, .d = d, .fs = pseudo_fs(d->magic) };
	struct error refusal = ERROR_INIT;
	int r = examine(&l, &refusal);

	*ret = r == 0 ? describe(&l) : NULL;
	if (r == -EOPNOTSUPP && refusal.code != CODE_NONE) {
		error_object(&refusal, "%s%s%s", d->fd < 0 ? d->what : "", d->fd < 0 ? " " : "",
		             d->link);
		error_fd(&refusal, d->fd);
		refuse(c, d->task, &refusal);
		r = 0;
	}
	free(l.path);
	place_done(&l.place);
	if (r < 0)
		*err = refusal;
	return r < 0 ? error_trace(err, r) : 0;
}
