/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names that were deleted. See names.h. */
#include "kind/regfile/names.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/journal.h"
#include "kind/place.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"

int old_name_open(struct restart *r, uint32_t mount, const char *path, struct old_name *ret,
                  struct error *err)
{
	ret->path = xstrdup(path);
	ret->name = strrchr(ret->path, '/') + 1;
	ret->journal = place_is_new(r, mount) ? NULL : journal_new();
	int e = folder_open(ret->journal, place_base(r, mount), path, &ret->folder, err);

	return e < 0 ? error_trace(err, e) : 0;
}

void old_name_close(struct old_name *n)
{
	if (n->temporary[0])
		(void)unlinkat(n->folder.fd, n->temporary, 0);
	n->temporary[0] = 0;
	folder_done(&n->folder);
	journal_free(take_ptr(n->journal));
	free(n->path);
	n->path = NULL;
}

int old_name_note(struct old_name *n, int effect, const struct stat *st, struct error *err)
{
	return folder_note(n->journal, n->folder.base, n->folder.fd, n->path,
	                   (enum journal_effect)effect, st, err);
}

/* a temporary name is set only when it is there: until then the journal alone knows of it */
static int note_temporary(struct old_name *n, char name[64], struct error *err)
{
	uint64_t number = 0;

	(void)getrandom(&number, sizeof(number), 0);
	snprintf(name, 64, ".stasis-%d-%llx", (int)getpid(), (unsigned long long)number);
	_cleanup_(free_p) char *path = xasprintf("%.*s%s", (int)(n->name - n->path), n->path, name);

	return folder_note(n->journal, n->folder.base, n->folder.fd, path, JOURNAL_UNLINK, NULL,
	                   err);
}

static int make_node(int folder, const char *name, mode_t mode, dev_t device, const char *target)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

	if (S_ISREG(mode))
		return openat(folder, name, flags, 0600);
	if (S_ISLNK(mode) ? symlinkat(target, folder, name) < 0
	                  : mknodat(folder, name, (mode & S_IFMT) | 0600, device) < 0)
		return -1;
	return openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

int old_name_make(struct old_name *n, mode_t mode, dev_t device, const char *target, int *ret_fd,
                  struct error *err)
{
	struct stat st;
	char name[64];
	int e = note_temporary(n, name, err);

	if (e < 0)
		return error_trace(err, e);
	_cleanup_(close_p) int fd = make_node(n->folder.fd, name, mode, device, target);
	if (fd < 0)
		return error_raise(err, errno, "make what was deleted as %s", n->path);
	memcpy(n->temporary, name, sizeof(name));
	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != (mode & S_IFMT))
		return error_raise(err, EAGAIN, "open %s in the directory of %s", name, n->path);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int link_as(const struct old_name *n, int fd, const char *name)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, link, n->folder.fd, name, AT_SYMLINK_FOLLOW);
}

int old_name_keep(struct old_name *n, int fd, struct error *err)
{
	char name[64];
	int e = note_temporary(n, name, err);

	if (e < 0)
		return error_trace(err, e);
	if (link_as(n, fd, name) < 0)
		return error_raise(err, errno, "link a deleted file beside %s", n->path);
	memcpy(n->temporary, name, sizeof(name));
	return 0;
}

static bool same_inode(int fd, const struct stat *st)
{
	struct stat there;

	return fstat(fd, &there) == 0 && there.st_dev == st->st_dev && there.st_ino == st->st_ino;
}

/* the same, as it is on the mount that the name is on: no link goes from one mount to another */
static int to_mount(const struct old_name *n, int fd)
{
	struct handle_room handle = HANDLE_ROOM_INIT;
	int mount_id;

	if (name_to_handle_at(fd, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0)
		return -1;
	return open_by_handle_at(n->folder.fd, &handle.head, O_PATH | O_CLOEXEC);
}

static int link_old(const struct old_name *n, int fd)
{
	if (link_as(n, fd, n->name) == 0)
		return 0;
	if (errno != EXDEV)
		return -1;
	_cleanup_(close_p) int there = to_mount(n, fd);
	return there < 0 ? -1 : link_as(n, there, n->name);
}

int old_name_open_all(struct old_name *n, int *ret_fd, struct error *err)
{
	const int flags = O_NOFOLLOW | O_CLOEXEC;

	*ret_fd = openat(n->folder.fd, n->name, O_PATH | flags);
	if (*ret_fd < 0)
		return error_raise(err, errno, "open %s", n->path);
	for (size_t i = 0; i < n->n_nofollow; i++) {
		int fd = openat(n->folder.fd, n->name, (int)n->nofollow[i] | flags);
		if (fd < 0)
			return error_raise(err, errno, "open %s with flags %o", n->path,
			                   n->nofollow[i]);
		opened_add(&n->opened, n->nofollow[i], fd);
	}
	return 0;
}

int old_name_borrow(struct old_name *n, int fd, int *ret_fd, struct error *err)
{
	struct stat st;

	*ret_fd = -1;
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of a deleted file");
	int e = old_name_note(n, JOURNAL_INODE, &st, err);
	if (e < 0)
		return error_trace(err, e);
	if (link_old(n, fd) < 0) {
		if (errno == EEXIST)
			return 0;
		return error_raise(err, errno, "link a deleted file as %s", n->path);
	}
	_cleanup_(close_p) int named = -1;
	e = old_name_open_all(n, &named, err);
	if (e < 0)
		return error_trace(err, e);
	if (!same_inode(named, &st))
		return error_raise(err, EAGAIN, "open %s", n->path);
	if (unlinkat(n->folder.fd, n->name, 0) < 0)
		return error_raise(err, errno, "unlink %s", n->path);
	*ret_fd = take_fd(&named);
	return 0;
}
