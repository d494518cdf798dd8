/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deleted FIFOs. See deleted.h. A new one has its old name for the moment between link and unlink
 * only, as deleted files have (regfile/make.c). If that name is taken by now, the link text is that
 * of a name of ours.
 */
#include "kind/fifo/deleted.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/journal.h"
#include "kind/regfile/folder.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define DELETED   " (deleted)"
#define SECOND_NS 1000000000u

/* ---- checkpoint ---- */

static bool has_xattrs(const struct descriptor *d)
{
	char link[40];

	if (d->live < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", d->live);
	return listxattr(link, NULL, 0) > 0;
}

char *fifo_deleted_path(const struct descriptor *d, struct error *refusal)
{
	size_t size = strlen(d->link), suffix = strlen(DELETED);
	struct stat st;

	*refusal = ERROR_INIT;
	if (d->st.st_nlink != 0 || size <= suffix || strcmp(d->link + size - suffix, DELETED) != 0)
		return NULL;
	_cleanup_(free_p) char *path = xstrndup(d->link, size - suffix);
	_cleanup_(close_p) int folder = folder_nearest(-1, path);
	if (folder < 0 || fstat(folder, &st) < 0 || st.st_dev != d->st.st_dev) {
		error_refuse(refusal, CODE_fifo_path,
		             "it was deleted, and the directory it was in is not to be found "
		             "under its path");
		error_hint(refusal, "checkpoint from the mount namespace of the task");
		return NULL;
	}
	if (has_xattrs(d)) {
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

/* @fd: O_PATH of @temporary in @folder; gets its deleted name for a moment */
static int borrow_name(struct journal *journal, int folder, const char *temporary, const char *path,
                       int *fd, struct error *err)
{
	const char *name = strrchr(path, '/') + 1;
	struct stat st, there;

	if (fstat(*fd, &st) < 0)
		return error_raise(err, errno, "fstat of a FIFO");
	int e = journal_note_inode(journal, path, st.st_dev, st.st_ino, err);
	if (e < 0)
		return error_trace(err, e);
	if (linkat(folder, temporary, folder, name, 0) < 0) {
		if (errno == EEXIST)
			return 0;
		return error_raise(err, errno, "link a FIFO as %s", path);
	}
	_cleanup_(close_p) int named = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool same = named >= 0 && fstat(named, &there) == 0 && there.st_dev == st.st_dev &&
	            there.st_ino == st.st_ino;
	if (!same)
		return error_raise(err, EAGAIN, "open %s", path);
	if (unlinkat(folder, name, 0) < 0)
		return error_raise(err, errno, "unlink %s", path);
	close_p(fd);
	*fd = take_fd(&named);
	return 0;
}

static int make_in(struct journal *journal, int folder, const char *path, int *ret_fd,
                   struct error *err)
{
	const char *slash = strrchr(path, '/');
	char name[64];
	struct stat st;

	snprintf(name, sizeof(name), ".stasis-%d-fifo", (int)getpid());
	_cleanup_(free_p) char *temporary = xasprintf("%.*s/%s", (int)(slash - path), path, name);
	int e = journal_note(journal, JOURNAL_UNLINK, temporary, err);
	if (e < 0)
		return error_trace(err, e);
	if (mknodat(folder, name, S_IFIFO | 0600, 0) < 0)
		return error_raise(err, errno, "make the FIFO %s", temporary);
	_cleanup_(close_p) int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		e = error_raise(err, fd < 0 ? errno : EAGAIN, "open %s", temporary);
	if (e == 0)
		e = borrow_name(journal, folder, name, path, &fd, err);
	if (unlinkat(folder, name, 0) < 0 && e == 0)
		e = error_raise(err, errno, "unlink %s", temporary);
	if (e < 0)
		return error_trace(err, e);
	*ret_fd = take_fd(&fd);
	return 0;
}

int fifo_deleted_make(const char *path, int *ret_fd, struct error *err)
{
	struct journal *journal = journal_new();
	struct folder folder = FOLDER_INIT;
	int e = folder_open(journal, -1, path, &folder, err);

	if (e == 0)
		e = make_in(journal, folder.fd, path, ret_fd, err);
	folder_done(&folder);
	journal_free(journal);
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
