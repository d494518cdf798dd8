/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories for what was deleted. See folder.h. */
#include "kind/regfile/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kind/place.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"
#include "util/path.h"

static int open_directory(int base, const char *path)
{
	return place_open(base, path, O_RDONLY | O_DIRECTORY);
}

/*
 * No path of ours need lead to a mount of another namespace. File systems without handles have no
 * name that `stasis cleanup` could use (overlay without nfs_export, exfat).
 */
int folder_note(struct journal *journal, int base, int fd, const char *path,
                enum journal_effect effect, const struct stat *st, struct error *err)
{
	if (!journal)
		return 0;
	if (base < 0)
		return journal_note(journal, effect, path, st, err);
	int r = journal_note_below(journal, effect, fd, strrchr(path, '/') + 1, st, err);
	return r == -EOPNOTSUPP ? 0 : r;
}

/* makes @path and what is missing above it */
static int make(struct journal *journal, const char *path, struct folder *folder, struct error *err)
{
	_cleanup_(close_p) int there = place_open(folder->base, path, O_PATH);
	_cleanup_(free_p) char *above = path_folder(path);
	int r = 0;

	if (there >= 0)
		return 0;
	if (strcmp(above, path) != 0)
		r = make(journal, above, folder, err);
	_cleanup_(close_p) int fd = open_directory(folder->base, above);
	if (r == 0 && fd >= 0)
		r = folder_note(journal, folder->base, fd, path, JOURNAL_RMDIR, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	if (fd >= 0 && mkdirat(fd, strrchr(path, '/') + 1, 0700) == 0)
		*array_push(folder->made, folder->n_made) = xstrdup(path);
	else if (fd < 0 || errno != EEXIST)
		return error_raise(err, errno, "make the deleted directory %s", path);
	return 0;
}

int folder_open(struct journal *journal, int base, const char *path, struct folder *ret,
                struct error *err)
{
	_cleanup_(free_p) char *folder = path_folder(path);

	ret->base = base;
	int r = make(journal, folder, ret, err);
	if (r < 0)
		return error_trace(err, r);
	ret->fd = open_directory(base, folder);
	return ret->fd < 0 ? error_raise(err, errno, "open the directory %s", folder) : 0;
}

void folder_done(struct folder *folder)
{
	close_p(&folder->fd);
	while (folder->n_made) {
		_cleanup_(free_p) char *path = folder->made[--folder->n_made];
		_cleanup_(free_p) char *above = path_folder(path);
		_cleanup_(close_p) int fd = open_directory(folder->base, above);
		(void)unlinkat(fd, strrchr(path, '/') + 1, AT_REMOVEDIR);
	}
	free(folder->made);
	folder->made = NULL;
}

int folder_nearest(int base, const char *path)
{
	char *folder = path_folder(path);
	int fd = open_directory(base, folder);

	while (fd < 0 && errno == ENOENT && folder[1]) {
		char *above = path_folder(folder);
		free(folder);
		folder = above;
		fd = open_directory(base, folder);
	}
	int saved = errno;
	free(folder);
	errno = saved;
	return fd;
}

int folder_open_handle(int base, const char *path, int type, const ProtobufCBinaryData *handle,
                       int flags)
{
	struct handle_room room = { .head = { .handle_bytes = (unsigned)handle->len,
		                              .handle_type = type } };

	if (handle->len == 0) {
		errno = EOPNOTSUPP;
		return -1;
	}
	_cleanup_(close_p) int folder = folder_nearest(base, path);
	if (folder < 0)
		return -1;
	memcpy(room.head.f_handle, handle->data, handle->len);
	return open_by_handle_at(folder, &room.head, flags | O_CLOEXEC);
}

int folder_check(int base, const char *path, struct error *refusal)
{
	_cleanup_(close_p) int fd = folder_nearest(base, path);
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fd >= 0 && access(link, W_OK | X_OK) == 0)
		return 0;
	error_refuse(refusal, CODE_regfile_folder,
	             "it was deleted, and cannot be made again in the directory it was in: %s",
	             strerror(errno));
	error_hint(refusal, "let that directory be there and be written to, for the restart");
	return -EOPNOTSUPP;
}
