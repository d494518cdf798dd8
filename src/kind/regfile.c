/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regular files and directories: the operations. See regfile.h. */
#include "kind/regfile.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/restart.h"
#include "kind/mount.h"
#include "kind/place.h"
#include "kind/regfile/regfile.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/handle.h"

struct regfile *regfile_live(struct object *object)
{
	if (!object->live) {
		struct regfile *f = xcalloc(1, sizeof(*f));
		f->keep = f->made = f->contents = f->ahead = f->base = -1;
		f->name = (struct old_name)OLD_NAME_INIT;
		object->live = f;
	}
	return object->live;
}

char *regfile_path(const RegfileState *s)
{
	return bytes_text(&s->path);
}

static void release(struct object *object)
{
	struct regfile *f = object->live;

	if (!f)
		return;
	close_p(&f->keep);
	close_p(&f->made);
	close_p(&f->contents);
	close_p(&f->ahead);
	old_name_close(&f->name);
	opened_done(&f->opened);
	free(f->source);
	free(f->written);
	shmem_seen_done(&f->seen);
	free(f->path);
	free(f);
	object->live = NULL;
}

/* ---- restart ---- */

static bool is_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return !(mode & ~(uint32_t)(S_IFMT | 07777));
	default:
		return false;
	}
}

/* what only files, only directories, only nodes have */
static bool suits_type(const RegfileState *s)
{
	const RegfileDeleted *d = s->deleted;
	bool is_device = S_ISCHR(s->mode) || S_ISBLK(s->mode);

	if (d->device && !is_device)
		return false;
	if (S_ISLNK(s->mode)
	            ? !d->target.len || d->target.len >= PATH_MAX || bytes_have_nul(&d->target)
	            : d->target.len > 0)
		return false;
	if ((d->more_names && S_ISDIR(s->mode)) || (d->unnamed && !S_ISREG(s->mode)))
		return false;
	return S_ISREG(s->mode) || S_ISDIR(s->mode) || !d->attributes;
}

/* the record of the name that O_TMPFILE gave is this one, or is valid as its `same` */
static bool unnamed_valid(const struct objects *objects, const struct object *object, uint32_t id)
{
	const struct object *other = objects_by_id(objects, id);

	if (!id || id == object->id)
		return true;
	return other && other->kind == &regfile_kind &&
	       object_state(other, RegfileState)->same == object->id;
}

static int validate_deleted(const struct objects *objects, const struct object *object,
                            struct error *err)
{
	static const uint32_t unnamed = O_TMPFILE & ~(uint32_t)O_DIRECTORY;
	const RegfileState *s = object_state(object, RegfileState);
	const RegfileDeleted *d = s->deleted;

	/* open FIFOs are kind fifo's, and their O_PATH descriptors with them */
	if (!d || S_ISFIFO(s->mode))
		return error_raise(err, EBADMSG, "a deleted file without what it needs");
	if (d->atime_nanoseconds >= SECOND_NS || d->attributes & ~REGFILE_ATTRIBUTES)
		return error_raise(err, EBADMSG, "a deleted file: attributes %x", d->attributes);
	if (!suits_type(s) || !unnamed_valid(objects, object, d->unnamed))
		return error_raise(err, EBADMSG, "what no deleted file of mode %o has", s->mode);
	if (d->flags && (!d->unnamed || !(d->flags & unnamed) ||
	                 d->flags & (O_PATH | O_CREAT | O_EXCL | O_TRUNC)))
		return error_raise(err, EBADMSG, "a deleted file made with flags %o", d->flags);
	for (size_t i = 0; i < d->n_xattrs; i++) {
		const RegfileXattr *x = d->xattrs[i];
		if (!x->name.len || x->name.len > 255 || bytes_have_nul(&x->name) ||
		    x->value.len > 65536)
			return error_raise(err, EBADMSG, "extended attribute %zu", i);
	}
	return 0;
}

struct object *regfile_same(const struct objects *objects, const struct object *object)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct object *other = objects_by_id(objects, s->same);

	if (!other || other->kind != &regfile_kind)
		return NULL;
	const RegfileState *o = object_state(other, RegfileState);
	if (s->deleted || o->name != REGFILE_STATE__NAME__DELETED || !o->deleted ||
	    !o->deleted->more_names || o->mode != s->mode)
		return NULL;
	return other;
}

int regfile_validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);

	if (!place_valid(objects, s->mount, &s->path) || !is_type(s->mode))
		return error_raise(err, EBADMSG, "a file of mode %o without a path", s->mode);
	if (s->size > INT64_MAX - 4096 || s->mtime_nanoseconds >= SECOND_NS)
		return error_raise(err, EBADMSG, "a file of %llu bytes",
		                   (unsigned long long)s->size);
	if (s->handle.len > MAX_HANDLE_SZ)
		return error_raise(err, EBADMSG, "a file handle of %zu bytes", s->handle.len);
	if (s->name != REGFILE_STATE__NAME__HERE && s->path.data[s->path.len - 1] == '/')
		return error_raise(err, EBADMSG, "a deleted file without a name");
	if (s->same && s->name != REGFILE_STATE__NAME__DELETED)
		return error_raise(err, EBADMSG, "the same as what was not deleted");
	for (size_t i = 0; i < s->n_nofollow; i++)
		if (!(s->nofollow[i] & O_NOFOLLOW) ||
		    s->nofollow[i] & (O_CREAT | O_EXCL | O_TRUNC) ||
		    (!(s->nofollow[i] & O_PATH) && !S_ISREG(s->mode) && !S_ISDIR(s->mode)))
			return error_raise(err, EBADMSG, "opened with flags %o", s->nofollow[i]);
	if (s->ghost && (!s->mount || s->name == REGFILE_STATE__NAME__HERE ||
	                 s->path.data[s->path.len - 1] == '/' ||
	                 s->ghost > mount_n_ghosts(objects, objects_by_id(objects, s->mount))))
		return error_raise(err, EBADMSG, "a file that is number %u of its file system",
		                   s->ghost);
	switch (s->name) {
	case REGFILE_STATE__NAME__HERE:
		return 0;
	case REGFILE_STATE__NAME__LINKED:
		if (S_ISDIR(s->mode))
			return error_raise(err, EBADMSG, "a directory with other names");
		return 0;
	case REGFILE_STATE__NAME__DELETED:
		if (!s->same)
			return validate_deleted(objects, object, err);
		if (!regfile_same(objects, object))
			return error_raise(err, EBADMSG, "the same as %u", s->same);
		return 0;
	case _REGFILE_STATE__NAME_IS_INT_SIZE:
		break;
	}
	return error_raise(err, EBADMSG, "a file found in way %d", (int)s->name);
}

static char *self_link(int fd, char room[40])
{
	snprintf(room, 40, "/proc/self/fd/%d", fd);
	return room;
}

static int open_kept(const struct regfile *f, const char *path, int flags)
{
	/* any directory of its mount will do */
	_cleanup_(close_p) int folder = flags & O_NOFOLLOW
	                                        ? folder_nearest(f->base, f->base < 0 ? path : "/")
	                                        : -1;

	return handle_reopen(f->keep, flags, folder);
}

/* checks that nobody has exchanged it between preflight and now */
static bool is_what_was_found(const struct regfile *f, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == f->device && st.st_ino == f->inode;
}

/* never opens by name what may have become a FIFO that blocks, unless O_NOFOLLOW is to be kept */
static int open_here(const struct regfile *f, uint32_t flags)
{
	char link[40];

	if (flags & (O_NOFOLLOW | O_PATH))
		return place_open(f->base, f->path, (int)flags);
	_cleanup_(close_p) int fd = place_open(f->base, f->path, O_PATH);
	if (fd < 0 || !is_what_was_found(f, fd)) {
		errno = fd < 0 ? errno : ESTALE;
		return -1;
	}
	return open(self_link(fd, link), (int)flags | O_CLOEXEC);
}

int regfile_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                 struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);
	static const uint32_t unnamed = O_TMPFILE & ~(uint32_t)O_DIRECTORY;
	_cleanup_(free_p) char *path = regfile_path(s);
	_cleanup_(close_p) int fd = opened_take(&f->opened, flags);

	if (!(flags & O_PATH) && !S_ISREG(s->mode) && !S_ISDIR(s->mode))
		return error_raise(err, EBADMSG, "%s is open, not by O_PATH only", path);
	if (fd >= 0)
		; /* by its name, as long as it had one */
	else if (flags & unnamed && f->made >= 0)
		fd = fcntl(f->made, F_DUPFD_CLOEXEC, 3);
	else if (f->keep >= 0) /* O_TMPFILE would make another: core/lost.def */
		fd = open_kept(f, path, (int)(flags & unnamed ? flags & ~O_TMPFILE : flags));
	else if (f->path)
		fd = open_here(f, flags);
	else
		errno = ENOENT;
	if (fd < 0)
		return error_raise(err, errno, "open %s with flags %o", path, flags);
	if (f->path && !is_what_was_found(f, fd))
		return error_raise(err, ESTALE, "%s was replaced while it was being opened", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

const struct kind regfile_kind = {
	.name = "regfile",
	.number = 20,
	.message = &regfile_state__descriptor,
	.judge = regfile_judge,
	.save_bulk = regfile_save_bulk,
	.bulk_bytes = regfile_bulk_bytes,
	.validate = regfile_validate,
	.preflight = regfile_find,
	.restore = regfile_make,
	.restore_bulk = regfile_restore_bulk,
	.finish = regfile_finish,
	.release = release,
	.claims = regfile_claims,
	.collect_descriptor = regfile_collect_descriptor,
	.open = regfile_open,
};
