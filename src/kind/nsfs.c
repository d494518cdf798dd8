/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of namespaces. See nsfs.h. */
#include "kind/nsfs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/namespace/reference.h"
#include "kind/place.h"
#include "nsfs.pb-c.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* ---- checkpoint ---- */

/* object->live */
struct nsfs {
	struct ns_reference reference;
	const struct task *task;
	int fd; /* its descriptor, for messages */
};

static bool claims(const struct descriptor *d)
{
	struct ns_reference ignored;

	if (ns_reference_parse(d->link, &ignored))
		return true;
	return S_ISREG(d->st.st_mode) && d->magic == NSFS_MAGIC;
}

/* where it is bound; nothing for what was opened in /proc */
static int find_path(struct checkpoint *c, const struct descriptor *d, NsfsState *s,
                     struct error *err)
{
	struct place place;
	int r;

	if (d->link[0] != '/')
		return 0;
	r = place_find(c, d->task, d->live, &place, err);
	if (r < 0)
		return error_trace(err, r);
	if (place.deleted)
		r = error_refuse(err, CODE_namespace_reference,
		                 "it was opened through a file that has been deleted");
	s->mount = place.mount ? place.mount->id : 0;
	s->path = bytes_of_text(place.path);
	place_done(&place);
	return r;
}

/* what check PID cannot open is known by the text of the link */
static int refer(struct checkpoint *c, const struct descriptor *d, struct ns_reference *ret,
                 struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/fd/%d", d->task->tgid,
	                                         d->task->tid, d->fd);
	/* an O_PATH descriptor answers nothing */
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_raise(err, errno, "open %s", path);
	return ns_reference_collect(c, d->task, fd, ret, err);
}

static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	struct {
		struct ns_reference reference;
		uint64_t mount_id;
		char link[PATH_MAX];
	} key = { .mount_id = d->mnt_id };
	bool is_new;
	int r = refer(c, d, &key.reference, err);

	*ret = NULL;
	if (r == -EOPNOTSUPP && err->code != CODE_NONE) {
		error_fd(err, d->fd);
		refuse(c, d->task, err);
		return 0;
	}
	if (r < 0)
		return error_trace(err, r);
	snprintf(key.link, sizeof(key.link), "%s", d->link);
	struct object *object = objects_get(c->objects, &nsfs_kind, &key,
	                                    offsetof(typeof(key), link) + strlen(key.link),
	                                    &is_new);
	if (is_new) {
		NsfsState *s = xmalloc(sizeof(*s));
		nsfs_state__init(s);
		object->message = &s->base;
		s->type = key.reference.type;
		struct nsfs *live = object->live = xcalloc(1, sizeof(*live));
		*live = (struct nsfs){ key.reference, d->task, d->fd };
		r = find_path(c, d, s, err);
		if (r < 0)
			return error_trace(err, r);
	}
	*ret = object;
	return 0;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct nsfs *live = object->live;
	NsfsState *s = object_state(object, NsfsState);
	int r = ns_reference_judge(c, &live->reference, &s->target, err);

	if (r == -EOPNOTSUPP && err->code != CODE_NONE) {
		error_fd(err, live->fd);
		refuse(c, live->task, err);
		return 0;
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static void release(struct object *object)
{
	free(object->live);
	object->live = NULL;
}

/* ---- restart ---- */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const NsfsState *s = object_state(object, NsfsState);

	if (!ns_reference_valid(objects, s->type, s->target) ||
	    (s->path.len && !place_valid(objects, s->mount, &s->path)))
		return error_raise(err, EBADMSG, "an open namespace of type %x, object %u", s->type,
		                   s->target);
	return 0;
}

/* whether it is the namespace that it should be: a path can lead anywhere */
static bool is_namespace(int fd, int wanted)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstat(wanted, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int open_it(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                   struct error *err)
{
	const NsfsState *s = object_state(object, NsfsState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	_cleanup_(close_p) int wanted = ns_reference_open(r, s->type, s->target);
	/* not opened before it is known to be one: a FIFO would wait, a device act */
	_cleanup_(close_p) int there = wanted < 0 || !*path
	                                       ? -1
	                                       : place_open(place_base(r, s->mount), path, O_PATH);
	char link[40];

	if (wanted < 0 || (*path && there < 0))
		return error_raise(err, errno, "open the namespace %s", path);
	if (*path && !is_namespace(there, wanted))
		return error_raise(err, ESTALE, "%s is another namespace now", path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", *path ? there : wanted);
	*ret_fd = open(link, (int)flags | O_CLOEXEC);
	return *ret_fd < 0 ? error_raise(err, errno, "open the namespace %s", path) : 0;
}

const struct kind nsfs_kind = {
	.name = "nsfs",
	.number = 85,
	.message = &nsfs_state__descriptor,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.judge = judge,
	.validate = validate,
	.open = open_it,
	.release = release,
};
