/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FIFOs. See fifo.h.
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
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/restart.h"
#include "fifo.pb-c.h"
#include "kind/fifo/deleted.h"
#include "kind/fifo/parts.h"
#include "kind/pipe/contents.h"
#include "kind/place.h"
#include "kind/regfile/folder.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct fifo *fifo_new(void)
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
	int n = 0, e = 0;

	if (!f->bytes) {
		f->bytes = xcalloc(1, pipe_contents_size(s->contents) + PIPE_PAGE);
		e = restart_take_blocks(r, object, err);
	}
	if (e == 0 && place_base(r, s->mount) == PLACE_NOT_YET)
		return RESTORE_LATER;
	if (e == 0)
		e = find_name(r, f, s, path, -1, &found, err);
	if (e < 0)
		return error_trace(err, e);
	f->base = handle_reopen(found, O_RDWR | O_NONBLOCK, -1);
	if (f->base < 0 || ioctl(f->base, FIONREAD, &n) < 0)
		return error_raise(err, errno, "open the FIFO");
	if (n > 0)
		return refuse_busy(n, err);
	e = pipe_set_capacity(f->base, s->contents, err);
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

	if ((owner && owner->base < 0 && owner->bytes) || place_base(r, s->mount) == PLACE_NOT_YET)
		return RESTORE_LATER;
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
	struct fifo *f = object->live = object->live ? object->live : fifo_new();
	int e;

	if (s->external.len)
		e = pipe_external_open(r, name, &f->base, err);
	else
		e = s->same ? make_same(r, f, s, path, err) : make_owner(r, object, path, err);
	if (e < 0 && !s->external.len)
		error_object(err, "%s", path);
	return e < 0 ? error_trace(err, e) : e;
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
