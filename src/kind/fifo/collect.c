/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FIFOs at checkpoint; what is in them: pipe/contents.h.
 *
 * A FIFO is never opened for a look where that would be noticed: programs wait in open(2) for the
 * other side. What is asked goes to a duplicate of a descriptor of the set.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "fifo.pb-c.h"
#include "kind/fifo.h"
#include "kind/fifo/deleted.h"
#include "kind/fifo/parts.h"
#include "kind/mount.h"
#include "kind/pipe/contents.h"
#include "kind/place.h"
#include "kind/regfile/folder.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void refuse_fifo(struct checkpoint *c, const struct task *task, const char *path,
                        struct error *refusal)
{
	error_object(refusal, "%s", path);
	refuse(c, task, refusal);
}

static bool leads_there(const struct place *place, const struct stat *st)
{
	_cleanup_(close_p) int fd = place_open(place->base, place->path, O_PATH | O_NOFOLLOW);
	struct stat there;

	return fd >= 0 && fstat(fd, &there) == 0 && there.st_dev == st->st_dev &&
	       there.st_ino == st->st_ino;
}

/*
 * The path under which it is to be found at restart, or was before it was deleted; NULL: refused.
 * *ret_mount: the object it is on; *ret_handle: for one that is under other names only.
 */
static char *judge_path(struct checkpoint *c, const struct descriptor *d, uint32_t *ret_mount,
                        struct handle_room *ret_handle)
{
	int mount_id;

	_cleanup_(place_done) struct place place = { .base = -1 };
	struct error refusal = ERROR_INIT;
	char *path = NULL;

	/* what is on a mount that may wait forever is not looked at */
	int r = d->live >= 0 ? place_find(c, d->task, d->live, &place, &refusal) : 0;
	if (d->live < 0)
		place.path = xstrdup(d->link);
	*ret_mount = place.mount ? place.mount->id : 0;
	if (r == 0 && leads_there(&place, &d->st))
		return take_ptr(place.path);
	if (r == 0 && d->live >= 0)
		path = fifo_deleted_path(d, &place, &refusal);
	*ret_handle = (struct handle_room)HANDLE_ROOM_INIT;
	if (path && (d->st.st_nlink == 0 || name_to_handle_at(d->live, "", &ret_handle->head,
	                                                      &mount_id, AT_EMPTY_PATH) == 0))
		return path;
	free(path);
	if (refusal.code == CODE_NONE) {
		error_refuse(&refusal, CODE_fifo_path,
		             "the FIFO is not to be found under this path");
		error_hint(&refusal, "it was renamed, or lies in another mount namespace");
	}
	error_fd(&refusal, d->fd);
	refuse_fifo(c, d->task, d->link, &refusal);
	return NULL;
}

static void keep_duplicate(int *ret, int fd)
{
	if (*ret < 0 && fd >= 0)
		*ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void look_at(struct fifo *f, struct fifo *owner, const struct descriptor *d)
{
	uint32_t access = d->flags & O_ACCMODE;
	struct pollfd p = { .fd = d->live };

	pipe_ends_add(&f->ends, d);
	if (f != owner)
		pipe_ends_add(&owner->ends, d);
	if (d->flags & O_PATH || d->by_path)
		return;
	if (access != O_WRONLY)
		keep_duplicate(&owner->reader, d->live);
	if (access != O_RDONLY)
		keep_duplicate(&owner->writer, d->live);
	if (access != O_RDONLY || poll(&p, 1, 0) < 0)
		return;
	if (p.revents & POLLHUP)
		*array_push(f->hung, f->n_hung) = d->flags;
	*(p.revents & POLLHUP ? &owner->hung_up : &owner->quiet) = true;
}

/* @path is taken */
static struct fifo *fifo_seen(const struct descriptor *d, char *path, uint32_t mount,
                              const struct handle_room *handle)
{
	struct fifo *f = fifo_new();

	f->deleted = d->st.st_nlink == 0;
	f->st = d->st;
	f->path = path;
	f->mount = mount;
	f->handle = *handle;
	f->key = xasprintf("file:[%u:%u:%llu]", major(d->st.st_dev), minor(d->st.st_dev),
	                   (unsigned long long)d->st.st_ino);
	f->dev = d->st.st_dev;
	f->ino = d->st.st_ino;
	return f;
}

struct key {
	uint64_t dev, ino, mount;
	char path[];
};

/* the object of another name of @owner's */
static struct object *other_name(struct checkpoint *c, struct object *owner,
                                 const struct descriptor *d, const char *path, uint32_t mount,
                                 const struct handle_room *handle)
{
	size_t size = sizeof(struct key) + strlen(path);
	_cleanup_(free_p) struct key *key = xcalloc(1, size);
	bool is_new;

	*key = (struct key){ d->st.st_dev, d->st.st_ino, mount };
	memcpy(key->path, path, strlen(path));
	struct object *object = objects_get(c->objects, &fifo_kind, key, size, &is_new);
	if (is_new) {
		struct fifo *f = fifo_seen(d, xstrdup(path), mount, handle);
		f->owner = owner;
		object->live = f;
		((struct fifo *)owner->live)->n_more++;
	}
	return object;
}

int fifo_collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                            struct error *err)
{
	const uint64_t key[] = { d->st.st_dev, d->st.st_ino };
	bool is_new;

	*ret = NULL;
	uint32_t mount;
	struct handle_room handle = { 0 };
	_cleanup_(free_p) char *path = judge_path(c, d, &mount, &handle);
	if (!path)
		return 0;
	struct object *owner = objects_get(c->objects, &fifo_kind, key, sizeof(key), &is_new);
	if (is_new)
		owner->live = fifo_seen(d, xstrdup(path), mount, &handle);
	const struct fifo *f = owner->live;
	bool same_name = f->mount == mount && !strcmp(f->path, path);
	*ret = same_name ? owner : other_name(c, owner, d, path, mount, &handle);
	look_at((*ret)->live, owner->live, d);
	return 0;
}

/*
 * Whether somebody has the side that nobody in the set has. Of writers an empty FIFO tells: tee(2)
 * ends without a byte if there is none, and fails with EAGAIN if one might still write.
 */
static bool other_side_open(const struct fifo *f)
{
	struct pollfd p = { .fd = f->writer };
	int scratch[2];

	if (f->writer >= 0 && f->reader < 0)
		return poll(&p, 1, 0) >= 0 && !(p.revents & POLLERR);
	if (f->writer >= 0 || f->reader < 0 || f->hung_up || pipe2(scratch, O_CLOEXEC) < 0)
		return false;
	ssize_t n = tee(f->reader, scratch[1], 1, SPLICE_F_NONBLOCK);
	bool open = n < 0 && errno == EAGAIN;
	close(scratch[0]);
	close(scratch[1]);
	return open;
}

static void refuse_unseen(struct checkpoint *c, const struct fifo *f)
{
	struct error refusal;

	error_refuse(&refusal, CODE_leak,
	             "its other end is open outside the set, in a process that cannot be seen");
	error_hint(&refusal,
	           "run stasis as root outside of containers, or declare it to stay outside: "
	           "--external %s=NAME",
	           f->key);
	refuse_fifo(c, pipe_ends_task(&f->ends), f->path, &refusal);
}

static int examine(struct checkpoint *c, struct fifo *f, FifoState *s, struct error *err)
{
	_cleanup_(pipe_data_done) struct pipe_data data = { 0 };
	int fd = f->reader >= 0 ? f->reader : f->writer;
	uint32_t capacity;

	if (other_side_open(f))
		refuse_unseen(c, f);
	int r = pipe_ends_read(&f->ends, fd, &data, &capacity, err);
	if (r == 0)
		r = pipe_describe(&data, capacity, &s->contents, err);
	if (r == 0)
		return 0;
	error_task(err, pipe_ends_task(&f->ends)->tid, pipe_ends_task(&f->ends)->comm);
	error_object(err, "%s", f->path);
	return error_trace(err, r);
}

static FifoState *new_state(const struct fifo *f, const char *external)
{
	FifoState *s = xmalloc(sizeof(*s));

	fifo_state__init(s);
	s->path.data = (uint8_t *)xstrdup(f->path);
	s->path.len = strlen(f->path);
	s->mount = f->mount;
	s->device = f->dev;
	s->inode = f->ino;
	s->has_reader = f->ends.reader.task != NULL;
	s->has_writer = f->ends.writer.task != NULL;
	if (external) {
		s->external.data = (uint8_t *)xstrdup(external);
		s->external.len = strlen(external);
		return s;
	}
	s->same = f->owner ? f->owner->id : 0;
	s->more_names = f->n_more;
	if (f->deleted && !f->owner)
		s->deleted = fifo_deleted_describe(&f->st);
	if (!f->deleted && f->handle.head.handle_bytes) {
		s->linked = true;
		s->handle_type = f->handle.head.handle_type;
		s->handle.len = f->handle.head.handle_bytes;
		s->handle.data = xmemdup(f->handle.room, s->handle.len);
	}
	return s;
}

/* who is quiet, and who is not */
static void describe_quiet(struct fifo *f, FifoState *s)
{
	const struct fifo *owner = f->owner ? f->owner->live : f;

	if (owner->writer >= 0 || !owner->quiet)
		return;
	s->quiet = !f->owner;
	s->hung = take_ptr(f->hung);
	s->n_hung = f->n_hung;
}

/* one of other names in a file system that is made anew has another handle there; 1: refused */
static int judge_linked(struct checkpoint *c, const struct fifo *f, struct error *err)
{
	struct error refusal;
	bool anew = false;
	int r = 0;

	if (f->mount && !f->deleted && f->handle.head.handle_bytes)
		r = mount_comes_along(c, objects_by_id(c->objects, f->mount), &anew, err);
	if (r < 0 || !anew)
		return r < 0 ? error_trace(err, r) : 0;
	error_refuse(&refusal, CODE_fifo_path,
	             "the FIFO was deleted under the name it was opened by, and has others, in a "
	             "file system that is made anew");
	error_hint(&refusal, "give it that name again (ln), or let the program close it first");
	refuse_fifo(c, pipe_ends_task(&f->ends), f->path, &refusal);
	return 1;
}

int fifo_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct fifo *f = object->live;
	const struct task *task = pipe_ends_task(&f->ends);
	const char *name = externals_name(c->options->externals, f->key);
	const struct holder *holder = NULL;
	int r = name || f->owner ? 0 : holders_find(c, f->dev, f->ino, &holder, err);

	if (r >= 0)
		r = name ? 0 : judge_linked(c, f, err);
	if (r)
		return r < 0 ? error_trace(err, r) : 0;
	if (holder) {
		refuse_leak(c, task, f->path, f->key, holder);
		return 0;
	}
	if (!name && !f->owner && !c->tracer) {
		check_unexamined(c, task, "what is in its FIFOs, and holders that no process shows",
		                 CODE_pipe_contents, CODE_pipe_capacity, CODE_leak);
		return 0;
	}
	FifoState *s = new_state(f, name);
	object->message = &s->base;
	if (!name)
		describe_quiet(f, s);
	r = name || f->owner ? 0 : examine(c, f, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int fifo_save_contents(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(pipe_data_done) struct pipe_data data = { 0 };
	const struct fifo *f = object->live;
	const FifoState *s = object_state(object, FifoState);
	uint32_t capacity;

	if (s->external.len || s->same || !s->contents->n_runs)
		return 0;
	int r = pipe_ends_read(&f->ends, f->reader >= 0 ? f->reader : f->writer, &data, &capacity,
	                       err);
	if (r == 0 && data.size != pipe_contents_size(s->contents))
		r = error_raise(err, EIO, "%s has changed during the checkpoint", f->path);
	if (r == 0)
		r = pipe_save_bulk(c, object, &data, err);
	return r < 0 ? error_trace(err, r) : 0;
}
