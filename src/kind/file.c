/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open file descriptions. What they are open on is another kind's, which opens them again with the
 * same flags; offset and status flags are put back here. The owner (F_SETOWN) is set by the task
 * itself: it is named by pid, in its own pid namespace, and the kernel remembers who asked.
 */
#include "kind/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "file.pb-c.h"
#include "kind/task.h"
#include "task/calls.h"
#include "task/holders.h"
#include "task/kcmp.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17 /* 3.6, with CONFIG_CHECKPOINT_RESTORE */
#endif
/* what fcntl(F_SETFL) can set, fs/fcntl.c SETFL_MASK */
#define SETTABLE (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

/* ---- checkpoint ---- */

static bool group_in_set(const struct checkpoint *c, pid_t pgid)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (c->tasks[i]->stat.pgrp == pgid)
			return true;
	return false;
}

static int refuse_owner(const struct descriptor *d, const char *why, int pid, struct error *err)
{
	error_refuse(err, CODE_file_owner, "%s: the owner of its signals (F_SETOWN), %d, %s",
	             d->what, pid, why);
	error_hint(err, "let the program clear it: fcntl(fd, F_SETOWN, 0)");
	error_fd(err, d->fd);
	return -EOPNOTSUPP;
}

static int collect_owner(struct checkpoint *c, const struct descriptor *d, FileState *s,
                         struct error *err)
{
	struct f_owner_ex owner = { 0 };
	uid_t uids[2] = { 0 };
	int signal = fcntl(d->live, F_GETSIG);

	/* O_PATH: EBADF, it has none */
	if (d->flags & O_PATH)
		return 0;
	if (signal < 0 || fcntl(d->live, F_GETOWN_EX, &owner) < 0)
		return error_raise(err, errno, "ask for the signals of %s", d->what);
	s->owner_signal = (uint32_t)signal;
	if (owner.pid == 0)
		return 0;
	bool inside = owner.type == F_OWNER_PGRP ? group_in_set(c, owner.pid)
	                                         : checkpoint_task(c, owner.pid) != NULL;
	if (!inside)
		return refuse_owner(d, "is outside the set", owner.pid, err);
	/* its signals are sent with the rights of who set it: the stub has the coordinator's */
	if (fcntl(d->live, F_GETOWNER_UIDS, uids) < 0 || uids[0] != getuid() ||
	    uids[1] != geteuid())
		return refuse_owner(d, "was set by another user", owner.pid, err);
	s->owner_type = owner.type;
	s->owner = owner.pid;
	return 0;
}

static int judge_outside(struct checkpoint *c, const struct descriptor *d, struct error *err)
{
	const struct holder *holder = NULL;
	int r = holders_find_file(c, d, &holder, err);

	if (r < 0)
		return error_trace(err, r);
	if (r > 0)
		refuse_leak(c, d->task, d->link, NULL, holder);
	return 0;
}

/*
 * A description that someone outside has as well is a leak, unless what it is open on can stay
 * outside itself, in which case that kind has the word.
 */
static bool judged_elsewhere(const struct descriptor *d)
{
	return !S_ISREG(d->st.st_mode) && !S_ISDIR(d->st.st_mode);
}

static int collect_new(struct checkpoint *c, const struct descriptor *d, uint64_t position,
                       struct object *object, struct error *err)
{
	struct object *inode = NULL;
	FileState *s = xmalloc(sizeof(*s));

	file_state__init(s);
	object->message = &s->base;
	int r = descriptor_collect(c, d, &inode, err);
	if (r < 0 || !inode)
		return r < 0 ? error_trace(err, r) : 0;
	s->object = inode->id;
	s->flags = d->flags & ~(uint32_t)O_CLOEXEC;
	s->position = position;
	r = collect_owner(c, d, s, err);
	if (r == 0 && !judged_elsewhere(d))
		r = judge_outside(c, d, err);
	return r;
}

int file_collect(struct checkpoint *c, const struct descriptor *d, uint64_t position,
                 struct object **ret, struct error *err)
{
	struct kcmp_member *member = NULL;
	bool is_new = false;
	int r = kcmp_find(&c->kcmp[KCMP_FILE], KCMP_FILE, d->task->tid, (unsigned long)d->fd,
	                  &member, &is_new, err);

	*ret = NULL;
	if (r < 0)
		return error_trace(err, r);
	if (is_new) {
		const int key[2] = { d->task->tid, d->fd };
		struct object *object = objects_get(c->objects, &file_kind, key, sizeof(key), NULL);
		member->value = object;
		r = collect_new(c, d, position, object, err);
		if (r < 0)
			return r;
	}
	*ret = member->value;
	return 0;
}

/* ---- restart ---- */

struct file {
	int fd;
	size_t expected; /* descriptors that still want it */
	bool owner_set;
};

static int file_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const FileState *s = object_state(object, FileState);
	const struct object *inode = objects_by_id(objects, s->object);

	if (!inode || !inode->kind->open)
		return error_raise(err, EBADMSG, "it is open on object %u, which cannot be opened",
		                   s->object);
	if (s->flags & (O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC))
		return error_raise(err, EBADMSG, "flags 0%o", s->flags);
	if (s->position > INT64_MAX)
		return error_raise(err, EBADMSG, "position %llu", (unsigned long long)s->position);
	if (s->owner < 0 || s->owner_type < F_OWNER_TID || s->owner_type > F_OWNER_PGRP ||
	    s->owner_signal > 64)
		return error_raise(err, EBADMSG, "owner %d of type %d, signal %u", s->owner,
		                   s->owner_type, s->owner_signal);
	return 0;
}

static struct file *file_live(struct object *object)
{
	if (!object->live) {
		struct file *file = xcalloc(1, sizeof(*file));
		file->fd = -1;
		object->live = file;
	}
	return object->live;
}

void file_expect(struct object *object)
{
	file_live(object)->expected++;
}

static int open_file(struct restart *r, const FileState *s, int *ret_fd, struct error *err)
{
	struct object *inode = objects_by_id(r->objects, s->object);
	_cleanup_(close_p) int fd = -1;
	int e = inode->kind->open(r, inode, s->flags, &fd, err);

	if (e < 0)
		return error_trace(err, e);
	if (!(s->flags & O_PATH)) {
		int now = fcntl(fd, F_GETFL);
		/* O_ASYNC is not open(2)'s to set */
		if (now < 0 || ((now ^ (int)s->flags) & SETTABLE &&
		                fcntl(fd, F_SETFL, (int)s->flags & SETTABLE) < 0))
			return error_raise(err, errno, "set the flags 0%o", s->flags);
		if (s->position && lseek(fd, (off_t)s->position, SEEK_SET) < 0)
			return error_raise(err, errno, "seek to %llu",
			                   (unsigned long long)s->position);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int file_descriptor(struct restart *r, struct object *object, int *ret_fd, struct error *err)
{
	struct file *file = file_live(object);

	if (file->fd < 0) {
		int e = open_file(r, object_state(object, FileState), &file->fd, err);
		if (e < 0) {
			error_object(err, "%s %u", object->kind->name, object->id);
			return error_trace(err, e);
		}
	}
	*ret_fd = file->fd;
	return 0;
}

void file_done(struct object *object)
{
	struct file *file = file_live(object);

	if (file->expected > 0 && --file->expected == 0)
		close_p(&file->fd);
}

void file_install(struct object *object, struct calls *calls, int fd)
{
	const FileState *s = object_state(object, FileState);
	struct file *file = file_live(object);
	const struct f_owner_ex owner = { (enum __pid_type)s->owner_type, s->owner };

	if (file->owner_set)
		return;
	file->owner_set = true;
	if (s->owner) {
		calls_reserve(calls, 1, sizeof(owner));
		CALL(calls, fcntl, (uint64_t)fd, F_SETOWN_EX,
		     calls_copy(calls, &owner, sizeof(owner)));
	}
	if (s->owner_signal)
		CALL(calls, fcntl, (uint64_t)fd, F_SETSIG, s->owner_signal);
}

static void file_release(struct object *object)
{
	struct file *file = object->live;

	if (file)
		close_p(&file->fd);
	free(file);
	object->live = NULL;
}

const struct kind file_kind = {
	.name = "file",
	.number = 25,
	.message = &file_state__descriptor,
	.validate = file_validate,
	.release = file_release,
};
