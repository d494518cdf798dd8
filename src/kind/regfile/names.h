/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names that were deleted, at restart. What is made again has its old name between link and unlink
 * only, so that the link text in /proc ends in " (deleted)" again. The journal knows of it, unless
 * the file system is made anew and goes away by itself.
 */
#pragma once

#include <sys/stat.h>

#include "kind/opened.h"
#include "kind/regfile/folder.h"
#include "util/error.h"

struct restart;

struct old_name {
	struct journal *journal;
	struct folder folder;
	char *path;               /* owned */
	const char *name;         /* the last component of it */
	char temporary[64];       /* a name of ours in the same directory; "" none */
	const uint32_t *nofollow; /* flags, lent */
	size_t n_nofollow;
	struct opened opened; /* of these; the caller's */
};
#define OLD_NAME_INIT                  \
	{                              \
		.folder = FOLDER_INIT, \
	}

/* @path on @mount (kind/place.h); old_name_close() also after a failure */
int old_name_open(struct restart *r, uint32_t mount, const char *path, struct old_name *ret,
                  struct error *err);
/* removes the temporary name and directories that were made; takes what old_name_open() left */
void old_name_close(struct old_name *n);

/*
 * Makes a node of type @mode, empty and root's, under the temporary name. @target: of a symlink;
 * @device: of a device. *ret_fd: O_RDWR of a regular file, otherwise O_PATH.
 */
int old_name_make(struct old_name *n, mode_t mode, dev_t device, const char *target, int *ret_fd,
                  struct error *err);
/* gives @fd, which may be of O_TMPFILE, the temporary name: it can be linked until that is gone */
int old_name_keep(struct old_name *n, int fd, struct error *err);
/*
 * Gives @fd its old name for a moment. *ret_fd: O_PATH under that name, on the mount of that name;
 * -1 when it is taken by now: then the link text is another. n->nofollow is opened by that name,
 * too: /proc could only give what has several names by its last one then.
 */
int old_name_borrow(struct old_name *n, int fd, int *ret_fd, struct error *err);
/* the second half: opens what is there under the name now */
int old_name_open_all(struct old_name *n, int *ret_fd, struct error *err);
/* notes an effect on the old name in the journal */
int old_name_note(struct old_name *n, int effect, const struct stat *st, struct error *err);
