/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FIFOs. See fifo.h; what is in them: pipe/contents.h.
 *
 * A FIFO is never opened for a look where that would be noticed: programs wait in open(2) for the
 * other side. What is asked goes to a duplicate of a descriptor of the set.
 *
 * A reader that opened a FIFO without a writer (O_NONBLOCK) sees no POLLHUP until the next writer
 * has come and gone (fs/pipe.c compares f_pipe with w_counter); others do, when there is none. So
 * the contents are put in at once, by a writer of ours, and where some are quiet the others are
 * opened before it goes.
 *
 * A FIFO that is open under several names has an object for each; the first is its owner, which has
 * all that is not of the name.
 */
#include "kind/fifo.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "core/restart.h"
#include "fifo.pb-c.h"
#include "kind/fifo/deleted.h"
#include "kind/opened.h"
#include "kind/pipe/contents.h"
#include "kind/pipe/ends.h"
#include "kind/place.h"
#include "kind/regfile/folder.h"
#include "kind/regfile/names.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"

/* object->live */
struct fifo {
	/* checkpoint */
	char *path, *key; /* "file:[MAJOR:MINOR:INO]" */
	uint32_t mount;   /* the object that path is on; 0 none */
	dev_t dev;
	ino_t ino;
	bool deleted;              /* all its names are */
	struct handle_room handle; /* if it has others than path, which is deleted; else empty */
	struct stat st;            /* of a deleted one */
	struct pipe_ends ends;
	uint32_t *hung; /* flags of readers under this name that see POLLHUP */
	size_t n_hung;
	struct object *owner; /* NULL: it is; then of all names: */
	int reader, writer;   /* duplicates of what the set has; -1 = none */
	bool quiet;           /* there are readers that do not see POLLHUP */
	bool hung_up;         /* there are others */
	/* restart */
	int base;             /* a description of our own, or -1 */
	char *bytes;          /* the contents, as they come */
	struct old_name name; /* deleted: open until all other names have been given */
	struct opened opened; /* those of FifoState.hung */
	/* both */
	uint32_t n_more; /* other names */
};

static struct fifo *fifo_new(void)
{
	struct fifo *f = xcalloc(1, sizeof(*f));

	f->reader = f->writer = f->base = -1;
	f->name = (struct old_name)OLD_NAME_INIT;
	return f;
}

static bool fifo_claims(const struct descriptor *d)
{
	return S_ISFIFO(d->st.st_mode) && d->link[0] == '/';
}

/* ---- checkpoint ---- */

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

	/* check PID cannot have the descriptor itself */
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
	if (d->flags & O_PATH)
		return;
	if (access != O_WRONLY)
		keep_duplicate(&owner->reader, d->live);
	if (access != O_RDONLY)
		keep_duplicate(&owner->writer, d->live);
	if (access != O_RDONLY || d->live < 0 || poll(&p, 1, 0) < 0)
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

static int fifo_collect_descriptor(struct checkpoint *c, const struct descriptor *d,
                                   struct object **ret, struct error *err)
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

static int fifo_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct fifo *f = object->live;
	const struct task *task = pipe_ends_task(&f->ends);
	const char *name = externals_name(c->options->externals, f->key);
	const struct holder *holder = NULL;
	int r = name || f->owner ? 0 : holders_find(c, f->dev, f->ino, &holder, err);

	if (r < 0)
		return error_trace(err, r);
	if (holder) {
		refuse_leak(c, task, f->path, f->key, holder);
		return 0;
	}
	if (!name && !f->owner && !c->tracer) {
		check_unexamined(c, task, "what is in its FIFOs");
		return 0;
	}
	FifoState *s = new_state(f, name);
	object->message = &s->base;
	if (!name)
		describe_quiet(f, s);
	r = name || f->owner ? 0 : examine(c, f, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int fifo_save_contents(struct checkpoint *c, struct object *object, struct error *err)
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

/* ---- restart ---- */

/* pure: the owner of another name; NULL: it is not valid */
static struct object *find_owner(const struct objects *objects, const FifoState *s)
{
	struct object *owner = objects_by_id(objects, s->same);

	if (!owner || owner->kind != &fifo_kind)
		return NULL;
	const FifoState *o = object_state(owner, FifoState);
	return o->same || o->external.len || !o->more_names ? NULL : owner;
}

static int validate_hung(const FifoState *s, bool quiet, struct error *err)
{
	if (!quiet && s->n_hung)
		return error_refuse(err, CODE_image_invalid, "fifo: hung readers, none quiet");
	for (size_t i = 0; i < s->n_hung; i++)
		if (s->hung[i] & (O_ACCMODE | O_PATH))
			return error_refuse(err, CODE_image_invalid, "fifo: a reader of flags %o",
			                    s->hung[i]);
	return 0;
}

static int validate_name(const FifoState *s, bool deleted, struct error *err)
{
	if (s->linked && (deleted || !s->handle.len || s->handle.len > MAX_HANDLE_SZ))
		return error_refuse(err, CODE_image_invalid, "fifo: a handle of %zu bytes",
		                    s->handle.len);
	if ((deleted || s->linked) && s->path.data[s->path.len - 1] == '/')
		return error_refuse(err, CODE_image_invalid, "fifo: a deleted one without a name");
	return 0;
}

static int validate_same(const struct objects *objects, const FifoState *s, struct error *err)
{
	const struct object *owner = find_owner(objects, s);

	if (!owner || s->contents || s->deleted || s->quiet || s->more_names)
		return error_refuse(err, CODE_image_invalid, "fifo: the same as %u", s->same);
	const FifoState *o = object_state(owner, FifoState);
	int r = validate_name(s, o->deleted, err);
	if (r == 0)
		r = validate_hung(s, o->quiet, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int fifo_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const FifoState *s = object_state(object, FifoState);

	if (!pipe_external_valid(&s->external))
		return error_refuse(err, CODE_image_invalid, "fifo: the name of an external pipe");
	if (!place_valid(objects, s->mount, &s->path))
		return error_refuse(err, CODE_image_invalid, "fifo: a path of %zu bytes",
		                    s->path.len);
	if (s->external.len)
		return 0;
	if (s->same)
		return validate_same(objects, s, err);
	int r = pipe_contents_validate(s->contents, err);
	if (r == 0)
		r = validate_name(s, s->deleted, err);
	if (r == 0 && s->deleted)
		r = fifo_deleted_validate(s->deleted, err);
	if (r == 0 && s->quiet && s->has_writer)
		r = error_refuse(err, CODE_image_invalid, "fifo: quiet, with a writer");
	if (r == 0)
		r = validate_hung(s, s->quiet, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static char *bytes_text(const ProtobufCBinaryData *bytes)
{
	return xasprintf("%.*s", (int)bytes->len, (const char *)bytes->data);
}

/* is @st the FIFO that the image means? */
static bool is_same(const struct restart *r, const FifoState *s, const struct stat *st)
{
	if (!S_ISFIFO(st->st_mode))
		return false;
	return r->options->files_changed_allow || place_is_new(r, s->mount) ||
	       (st->st_dev == s->device && st->st_ino == s->inode);
}

/* all its names were; with the owner's record, also when @s is another */
static bool is_deleted(const struct objects *objects, const FifoState *s)
{
	return s->same ? object_state(find_owner(objects, s), FifoState)->deleted != NULL
	               : s->deleted != NULL;
}

static int check_there(const struct restart *r, const FifoState *s, const char *path,
                       struct error *refusal)
{
	struct stat st;

	if (is_deleted(r->objects, s))
		return folder_check(-1, path, refusal);
	_cleanup_(close_p) int fd = s->linked ? folder_open_handle(-1, path, s->handle_type,
	                                                           &s->handle, O_PATH)
	                                      : place_open(-1, path, O_PATH | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_refuse(refusal, CODE_fifo_changed, "the FIFO is not there: %s",
		                    strerror(errno));
	if (is_same(r, s, &st))
		return 0;
	error_refuse(refusal, CODE_fifo_changed, "it is not the FIFO that the image was made with");
	error_hint(refusal, "if another FIFO will do: --files-changed allow");
	return -EOPNOTSUPP;
}

static int fifo_preflight(struct restart *r, struct object *object, struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	struct error refusal;

	if (s->external.len) {
		pipe_external_preflight(r, name, s->has_reader, s->has_writer);
		return 0;
	}
	/* a mount of its own is not there yet: fifo_restore() sees */
	if (!s->mount && check_there(r, s, path, &refusal) < 0) {
		error_object(&refusal, "%s", path);
		restart_refuse(r, &refusal);
		return 0;
	}
	return s->same ? 0 : pipe_contents_preflight(r, s->contents, path);
}

static int refuse_busy(int n, struct error *err)
{
	error_refuse(err, CODE_fifo_busy, "somebody has written %d bytes into the FIFO", n);
	error_hint(err, "restart when it is empty");
	return -EOPNOTSUPP;
}

/* those that are to see that the writer goes, while it is there: the owner's base */
static int open_hung(struct fifo *f, const FifoState *s, struct error *err)
{
	int fd, e = 0;

	for (size_t i = 0; e == 0 && i < s->n_hung; i++) {
		e = pipe_end_reopen(f->base, s->hung[i], &fd, err);
		if (e == 0)
			opened_add(&f->opened, s->hung[i], fd);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

/* all names are there; quiet: a reader takes the writer's place, so that what is in it stays */
static int settle(struct fifo *f, const FifoState *s, struct error *err)
{
	old_name_close(&f->name);
	if (!s->quiet)
		return 0;
	_cleanup_(close_p) int bridge = handle_reopen(f->base, O_RDONLY | O_NONBLOCK, -1);
	close_p(&f->base);
	f->base = bridge < 0 ? -1 : handle_reopen(bridge, O_RDONLY | O_NONBLOCK, -1);
	return f->base < 0 ? error_raise(err, errno, "open the FIFO for reading") : 0;
}

/* O_PATH, under its old name if that is free */
static int find_linked(struct restart *r, const FifoState *s, const char *path, int *ret_fd,
                       struct error *err)
{
	_cleanup_(close_p) int fd = folder_open_handle(place_base(r, s->mount), path,
	                                               s->handle_type, &s->handle, O_PATH);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "find the FIFO by its handle");
	if (!is_same(r, s, &st) || st.st_nlink == 0)
		return error_raise(err, ESTALE, "it has been replaced meanwhile");
	int e = fifo_linked_find(r, s->mount, path, fd, ret_fd, err);
	if (e < 0)
		return error_trace(err, e);
	if (*ret_fd < 0)
		*ret_fd = take_fd(&fd);
	return 0;
}

/* O_PATH, under the name of @s, or what that was; @deleted: what the owner has made, -1 none yet */
static int find_name(struct restart *r, struct fifo *f, const FifoState *s, const char *path,
                     int deleted, int *ret_fd, struct error *err)
{
	struct stat st;
	int e;

	if (s->deleted)
		e = fifo_deleted_make(r, s->mount, path, &f->name, ret_fd, err);
	else if (s->linked)
		e = find_linked(r, s, path, ret_fd, err);
	else if (is_deleted(r->objects, s))
		e = fifo_linked_find(r, s->mount, path, deleted, ret_fd, err);
	else if ((*ret_fd = place_open(place_base(r, s->mount), path, O_PATH | O_NOFOLLOW)) < 0 ||
	         fstat(*ret_fd, &st) < 0)
		e = error_raise(err, errno, "open the FIFO");
	else
		e = is_same(r, s, &st) ? 0
		                       : error_raise(err, ESTALE, "it has been replaced meanwhile");
	return e < 0 ? error_trace(err, e) : 0;
}

static int make_owner(struct restart *r, struct object *object, const char *path, struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	struct fifo *f = object->live;
	_cleanup_(close_p) int found = -1;
	int n = 0, e = find_name(r, f, s, path, -1, &found, err);

	if (e < 0)
		return error_trace(err, e);
	f->base = handle_reopen(found, O_RDWR | O_NONBLOCK, -1);
	if (f->base < 0 || ioctl(f->base, FIONREAD, &n) < 0)
		return error_raise(err, errno, "open the FIFO");
	if (n > 0)
		return refuse_busy(n, err);
	f->bytes = xcalloc(1, pipe_contents_size(s->contents) + PIPE_PAGE);
	e = pipe_set_capacity(f->base, s->contents, err);
	if (e == 0)
		e = restart_take_blocks(r, object, err);
	if (e == 0)
		e = pipe_write(f->base, s->contents, f->bytes, err);
	if (e == 0)
		e = open_hung(f, s, err);
	free(take_ptr(f->bytes));
	f->n_more = s->more_names;
	if (e == 0 && !f->n_more)
		e = settle(f, s, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int make_same(struct restart *r, struct fifo *f, const FifoState *s, const char *path,
                     struct error *err)
{
	const struct object *object = find_owner(r->objects, s);
	struct fifo *owner = object->live;
	_cleanup_(close_p) int found = -1;
	struct stat st, own;

	if (!owner || owner->base < 0 || !owner->n_more)
		return error_raise(err, EBADMSG, "another name of what is not there");
	int e = find_name(r, f, s, path, owner->base, &found, err);
	if (e < 0)
		return error_trace(err, e);
	f->base = handle_reopen(found >= 0 ? found : owner->base, O_RDONLY | O_NONBLOCK, -1);
	if (f->base < 0 || fstat(f->base, &st) < 0 || fstat(owner->base, &own) < 0)
		return error_raise(err, errno, "open the FIFO");
	if (st.st_dev != own.st_dev || st.st_ino != own.st_ino)
		return error_refuse(err, CODE_fifo_changed,
		                    "it is not the FIFO that has the other name");
	e = open_hung(f, s, err);
	if (e == 0 && --owner->n_more == 0)
		e = settle(owner, object_state(object, FifoState), err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int fifo_restore(struct restart *r, struct object *object, struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	struct fifo *f = object->live = fifo_new();
	int e;

	if (s->external.len)
		e = pipe_external_open(r, name, &f->base, err);
	else
		e = s->same ? make_same(r, f, s, path, err) : make_owner(r, object, path, err);
	if (e < 0 && !s->external.len)
		error_object(err, "%s", path);
	return e < 0 ? error_trace(err, e) : 0;
}

static int fifo_take_bulk(struct restart *r, struct object *object, const struct page_block *block,
                          struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	struct fifo *f = object->live;

	if (!f->bytes)
		return error_refuse(err, CODE_image_invalid, "fifo: contents of an external pipe");
	int e = pipe_restore_bulk(block, f->bytes, pipe_contents_size(s->contents), err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int fifo_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                     struct error *err)
{
	struct fifo *f = object->live;

	*ret_fd = opened_take(&f->opened, flags);
	if (*ret_fd >= 0)
		return 0;
	int e = pipe_end_reopen(f->base, flags, ret_fd, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int fifo_finish(struct restart *r, struct object *object, struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	struct fifo *f = object->live;
	int e = 0;

	if (s->deleted && !s->external.len)
		e = fifo_deleted_finish(f->base, s->deleted, err);
	close_p(&f->base);
	return e < 0 ? error_trace(err, e) : 0;
}

static void fifo_release(struct object *object)
{
	struct fifo *f = object->live;

	if (!f)
		return;
	opened_done(&f->opened);
	old_name_close(&f->name);
	free(f->hung);
	close_p(&f->reader);
	close_p(&f->writer);
	close_p(&f->base);
	free(f->bytes);
	free(f->path);
	free(f->key);
	free(f);
	object->live = NULL;
}

const struct kind fifo_kind = {
	.name = "fifo",
	.number = 23,
	.message = &fifo_state__descriptor,
	.judge = fifo_judge,
	.save_bulk = fifo_save_contents,
	.validate = fifo_validate,
	.preflight = fifo_preflight,
	.restore = fifo_restore,
	.restore_bulk = fifo_take_bulk,
	.finish = fifo_finish,
	.release = fifo_release,
	.claims = fifo_claims,
	.collect_descriptor = fifo_collect_descriptor,
	.open = fifo_open,
};
