/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FIFOs. See fifo.h; what is in them: pipe/contents.h.
 *
 * A FIFO is never opened for a look where that would be noticed: programs wait in open(2) for the
 * other side. What is asked goes to a duplicate of a descriptor of the set.
 *
 * A reader that opened a FIFO without a writer (O_NONBLOCK) sees no POLLHUP until the next writer
 * has come and gone (fs/pipe.c compares f_pipe with w_counter); others do, when there is none. So
 * where some are quiet, what they find unread is put in and the others are opened while there is a
 * writer, and then the quiet ones: all before page blocks come.
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
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"

#define UNREAD_MAX (512u << 10) /* bytes; a message is at most 1 MiB */

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
	int reader, writer; /* duplicates of what the set has; -1 = none */
	bool quiet;         /* there are readers that do not see POLLHUP */
	uint32_t *hung;     /* flags of those that do */
	size_t n_hung;
	/* restart */
	int base;             /* a description of our own, or -1 */
	char *bytes;          /* the contents, as they come */
	struct opened opened; /* those of FifoState.hung */
};

static struct fifo *fifo_new(void)
{
	struct fifo *f = xcalloc(1, sizeof(*f));

	f->reader = f->writer = f->base = -1;
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

static void refuse_names(struct checkpoint *c, const struct descriptor *d, const char *other)
{
	struct error refusal;

	error_refuse(&refusal, CODE_fifo_path, "the FIFO is open under another name, too: %s",
	             other);
	error_hint(&refusal, "let the program close one of them");
	error_fd(&refusal, d->fd);
	refuse_fifo(c, d->task, d->link, &refusal);
}

static void keep_duplicate(int *ret, int fd)
{
	if (*ret < 0 && fd >= 0)
		*ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void look_at(struct fifo *f, const struct descriptor *d)
{
	uint32_t access = d->flags & O_ACCMODE;
	struct pollfd p = { .fd = d->live };

	pipe_ends_add(&f->ends, d);
	if (d->flags & O_PATH)
		return;
	if (access != O_WRONLY)
		keep_duplicate(&f->reader, d->live);
	if (access != O_RDONLY)
		keep_duplicate(&f->writer, d->live);
	if (access != O_RDONLY || d->live < 0 || poll(&p, 1, 0) < 0)
		return;
	if (p.revents & POLLHUP)
		*array_push(f->hung, f->n_hung) = d->flags;
	else
		f->quiet = true;
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
	*ret = objects_get(c->objects, &fifo_kind, key, sizeof(key), &is_new);
	if (is_new) {
		struct fifo *f = fifo_new();
		f->deleted = d->st.st_nlink == 0;
		f->st = d->st;
		f->path = take_ptr(path);
		f->mount = mount;
		f->handle = handle;
		f->key = xasprintf("file:[%u:%u:%llu]", major(d->st.st_dev), minor(d->st.st_dev),
		                   (unsigned long long)d->st.st_ino);
		f->dev = d->st.st_dev;
		f->ino = d->st.st_ino;
		(*ret)->live = f;
	}
	const struct fifo *f = (*ret)->live;
	if (path && (f->mount != mount || strcmp(f->path, path) != 0)) {
		refuse_names(c, d, f->path);
		*ret = NULL;
		return 0;
	}
	look_at((*ret)->live, d);
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
	if (f->writer >= 0 || f->reader < 0 || f->n_hung || pipe2(scratch, O_CLOEXEC) < 0)
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

/* who is quiet while others are not, or there is something to read */
static void describe_quiet(struct checkpoint *c, struct fifo *f, const struct pipe_data *data,
                           FifoState *s)
{
	struct error refusal;

	s->quiet = f->writer < 0 && f->quiet;
	if (!s->quiet)
		return;
	s->hung = take_ptr(f->hung);
	s->n_hung = f->n_hung;
	if (data->size > UNREAD_MAX) {
		error_refuse(&refusal, CODE_fifo_hangup,
		             "a reader came after the last writer had gone, and there are more "
		             "than %u bytes to read",
		             UNREAD_MAX);
		error_hint(&refusal, "try again when it has a writer, or has been read");
		refuse_fifo(c, pipe_ends_task(&f->ends), f->path, &refusal);
		return;
	}
	s->unread.len = data->size;
	s->unread.data = data->size ? xmemdup(data->bytes, data->size) : NULL;
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
	if (r == 0) {
		describe_quiet(c, f, &data, s);
		return 0;
	}
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
	if (f->deleted && !external)
		s->deleted = fifo_deleted_describe(&f->st);
	if (!f->deleted && !external && f->handle.head.handle_bytes) {
		s->linked = true;
		s->handle_type = f->handle.head.handle_type;
		s->handle.len = f->handle.head.handle_bytes;
		s->handle.data = xmemdup(f->handle.room, s->handle.len);
	}
	if (external) {
		s->external.data = (uint8_t *)xstrdup(external);
		s->external.len = strlen(external);
	}
	return s;
}

static int fifo_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct fifo *f = object->live;
	const struct task *task = pipe_ends_task(&f->ends);
	const char *name = externals_name(c->options->externals, f->key);
	const struct holder *holder = NULL;
	int r = name ? 0 : holders_find(c, f->dev, f->ino, &holder, err);

	if (r < 0)
		return error_trace(err, r);
	if (holder) {
		refuse_leak(c, task, f->path, f->key, holder);
		return 0;
	}
	if (!name && !c->tracer) {
		check_unexamined(c, task, "what is in its FIFOs");
		return 0;
	}
	FifoState *s = new_state(f, name);
	object->message = &s->base;
	r = name ? 0 : examine(c, f, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int fifo_save_contents(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(pipe_data_done) struct pipe_data data = { 0 };
	const struct fifo *f = object->live;
	const FifoState *s = object_state(object, FifoState);
	uint32_t capacity;

	if (s->external.len || s->quiet || !s->contents->n_runs)
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

static int validate_quiet(const FifoState *s, struct error *err)
{
	if (!s->quiet && (s->n_hung || s->unread.len))
		return error_refuse(err, CODE_image_invalid, "fifo: hung readers, none quiet");
	if (s->quiet && (s->has_writer || s->unread.len > UNREAD_MAX ||
	                 s->unread.len != pipe_contents_size(s->contents)))
		return error_refuse(err, CODE_image_invalid, "fifo: quiet, with a writer");
	for (size_t i = 0; i < s->n_hung; i++)
		if (s->hung[i] & (O_ACCMODE | O_PATH))
			return error_refuse(err, CODE_image_invalid, "fifo: a reader of flags %o",
			                    s->hung[i]);
	return 0;
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
	int r = pipe_contents_validate(s->contents, err);
	if (r == 0 && s->linked && (s->deleted || !s->handle.len || s->handle.len > MAX_HANDLE_SZ))
		r = error_refuse(err, CODE_image_invalid, "fifo: a handle of %zu bytes",
		                 s->handle.len);
	if (r == 0 && (s->deleted || s->linked) && s->path.data[s->path.len - 1] == '/')
		r = error_refuse(err, CODE_image_invalid, "fifo: a deleted one without a name");
	if (r == 0 && s->deleted)
		r = fifo_deleted_validate(s->deleted, err);
	if (r < 0)
		return error_trace(err, r);
	return validate_quiet(s, err);
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

static int fifo_preflight(struct restart *r, struct object *object, struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	struct error refusal;
	struct stat st;

	if (s->external.len) {
		pipe_external_preflight(r, name, s->has_reader, s->has_writer);
		return 0;
	}
	/* a mount of its own is not there yet: fifo_restore() sees */
	if (s->mount || (s->deleted && folder_check(-1, path, &refusal) == 0))
		return pipe_contents_preflight(r, s->contents, path);
	if (s->deleted) {
		error_object(&refusal, "%s", path);
		restart_refuse(r, &refusal);
		return 0;
	}
	_cleanup_(close_p) int fd = s->linked ? folder_open_handle(-1, path, s->handle_type,
	                                                           &s->handle, O_PATH)
	                                      : place_open(-1, path, O_PATH | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error_refuse(&refusal, CODE_fifo_changed, "the FIFO is not there: %s",
		             strerror(errno));
	} else if (!is_same(r, s, &st)) {
		error_refuse(&refusal, CODE_fifo_changed,
		             "it is not the FIFO that the image was made with");
		error_hint(&refusal, "if another FIFO will do: --files-changed allow");
	} else {
		return pipe_contents_preflight(r, s->contents, path);
	}
	error_object(&refusal, "%s", path);
	restart_refuse(r, &refusal);
	return 0;
}

static int refuse_busy(int n, struct error *err)
{
	error_refuse(err, CODE_fifo_busy, "somebody has written %d bytes into the FIFO", n);
	error_hint(err, "restart when it is empty");
	return -EOPNOTSUPP;
}

/*
 * @f->base is the only writer. Those that are to see that it has gone are opened before it goes;
 * the others later, through a reader that takes its place.
 */
static int make_quiet(struct fifo *f, const FifoState *s, struct error *err)
{
	int e = pipe_write(f->base, s->contents, (const char *)s->unread.data, err);

	for (size_t i = 0; e == 0 && i < s->n_hung; i++) {
		int fd;
		e = pipe_end_reopen(f->base, s->hung[i], &fd, err);
		if (e == 0)
			opened_add(&f->opened, s->hung[i], fd);
	}
	if (e < 0)
		return error_trace(err, e);
	/* it is itself a reader: what is in the FIFO stays */
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

static int open_base(struct restart *r, const FifoState *s, const char *path, int *ret_fd,
                     struct error *err)
{
	int n = 0;
	_cleanup_(close_p) int made = -1;
	struct stat st;
	char link[40];

	if (s->deleted) {
		int e = fifo_deleted_make(r, s->mount, path, &made, err);
		if (e < 0)
			return error_trace(err, e);
	} else if (s->linked) {
		int e = find_linked(r, s, path, &made, err);
		if (e < 0)
			return error_trace(err, e);
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", made);
	_cleanup_(close_p) int fd = made >= 0 ? open(link, O_RDWR | O_NONBLOCK | O_CLOEXEC)
	                                      : place_open(place_base(r, s->mount), path,
	                                                   O_RDWR | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "open the FIFO");
	if (made < 0 && !is_same(r, s, &st))
		return error_raise(err, ESTALE, "it has been replaced meanwhile");
	if (ioctl(fd, FIONREAD, &n) < 0)
		return error_raise(err, errno, "FIONREAD");
	if (n > 0)
		return refuse_busy(n, err);
	int e = pipe_set_capacity(fd, s->contents, err);
	if (e < 0)
		return error_trace(err, e);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int fifo_restore(struct restart *r, struct object *object, struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	struct fifo *f = object->live = fifo_new();
	int e;

	if (s->external.len) {
		e = pipe_external_open(r, name, &f->base, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	f->bytes = xcalloc(1, pipe_contents_size(s->contents) + PIPE_PAGE);
	e = open_base(r, s, path, &f->base, err);
	if (e == 0 && s->quiet)
		e = make_quiet(f, s, err);
	if (e < 0) {
		error_object(err, "%s", path);
		return error_trace(err, e);
	}
	return 0;
}

static int fifo_take_bulk(struct restart *r, struct object *object, const struct page_block *block,
                          struct error *err)
{
	const FifoState *s = object_state(object, FifoState);
	struct fifo *f = object->live;

	if (!f->bytes || s->quiet)
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

	if (!s->external.len && !s->quiet && s->contents->n_runs)
		e = pipe_write(f->base, s->contents, f->bytes, err);
	if (e == 0 && s->deleted && !s->external.len)
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
