/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deleted FIFOs. See deleted.h. They get their old names as deleted files do: regfile/names.h. */
#include "kind/fifo/deleted.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "kind/place.h"
#include "kind/regfile/names.h"
#include "kind/user_ns.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/path.h"

/* ---- checkpoint ---- */

static bool has_xattrs(const struct descriptor *d)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", d->live);
	return listxattr(link, NULL, 0) > 0;
}

char *fifo_deleted_path(const struct descriptor *d, const struct place *place,
                        struct error *refusal)
{
	size_t size = strlen(place->path), suffix = strlen(PATH_DELETED);
	struct stat st;

	*refusal = ERROR_INIT;
	if (!place->deleted)
		return NULL;
	/* on a mount of the set's the path is without the suffix already */
	_cleanup_(free_p) char *path = xstrndup(place->path, place->mount ? size : size - suffix);
	_cleanup_(close_p) int folder = folder_nearest(place->base, path);
	if (folder < 0 || fstat(folder, &st) < 0 || st.st_dev != d->st.st_dev) {
		error_refuse(refusal, CODE_fifo_path,
		             "it was deleted, and the directory it was in is not to be found "
		             "under its path");
		error_hint(refusal, "checkpoint from the mount namespace of the task");
		return NULL;
	}
	if (d->st.st_nlink == 0 && has_xattrs(d)) {
		error_refuse(refusal, CODE_fifo_deleted,
		             "it was deleted, and has extended attributes");
		error_hint(refusal, "take them away (setfattr -x), or let the program close it");
		return NULL;
	}
	return take_ptr(path);
}

FifoDeleted *fifo_deleted_describe(const struct stat *st)
{
	FifoDeleted *d = xmalloc(sizeof(*d));

	fifo_deleted__init(d);
	d->mode = st->st_mode & 07777;
	d->uid = st->st_uid;
	d->gid = st->st_gid;
	d->atime_seconds = st->st_atim.tv_sec;
	d->atime_nanoseconds = (uint32_t)st->st_atim.tv_nsec;
	d->mtime_seconds = st->st_mtim.tv_sec;
	d->mtime_nanoseconds = (uint32_t)st->st_mtim.tv_nsec;
	return d;
}

/* ---- restart ---- */

int fifo_deleted_validate(const FifoDeleted *d, struct error *err)
{
	if (d->mode & ~07777u || d->atime_nanoseconds >= SECOND_NS ||
	    d->mtime_nanoseconds >= SECOND_NS)
		return error_refuse(err, CODE_image_invalid, "fifo: a deleted one of mode %o",
		                    d->mode);
	return 0;
}

int fifo_deleted_make(struct restart *r, uint32_t mount, const char *path, struct old_name *name,
                      int *ret_fd, struct error *err)
{
	_cleanup_(close_p) int fd = -1;
	_cleanup_(user_ns_author_end) struct user_ns_author author = { 0 };
	int e = user_ns_author_begin(r, place_owner(r, mount), &author, err);

	if (e == 0)
		e = old_name_open(r, mount, path, name, err);
	if (e == 0)
		e = old_name_make(name, S_IFIFO, 0, NULL, &fd, err);
	if (e == 0)
		e = old_name_borrow(name, fd, ret_fd, err);
	if (e < 0)
		return error_trace(err, e);
	if (*ret_fd < 0)
		*ret_fd = take_fd(&fd);
	return 0;
}

int fifo_linked_find(struct restart *r, uint32_t mount, const char *path, int fd, int *ret_fd,
                     struct error *err)
{
	_cleanup_(old_name_close) struct old_name name = OLD_NAME_INIT;
	int e = old_name_open(r, mount, path, &name, err);

	if (e == 0)
		e = old_name_borrow(&name, fd, ret_fd, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int fifo_deleted_finish(int fd, const FifoDeleted *d, struct error *err)
{
	const struct timespec times[] = { { d->atime_seconds, d->atime_nanoseconds },
		                          { d->mtime_seconds, d->mtime_nanoseconds } };

	if (fchown(fd, d->uid, d->gid) < 0 || fchmod(fd, d->mode) < 0 || futimens(fd, times) < 0)
		return error_raise(err, errno, "owner, mode and times of a deleted FIFO");
	return 0;
}
