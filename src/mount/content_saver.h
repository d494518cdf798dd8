/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What content_save.c, which walks, and content_inode.c, which writes one inode, share. */
#pragma once

#include <linux/limits.h>
#include <sys/stat.h>

#include "mount/content.h"
#include "mount/content_folders.h"
#include "mount/content_format.h"

struct saver {
	const struct byte_sink *sink; /* NULL: a survey */
	uint64_t at;                  /* bytes of the stream so far */
	struct folders folders;
	uint32_t *waiting; /* directories that have been written, but not yet what lies in them */
	size_t n_waiting;
	struct map *links; /* of inodes with several names: inode number -> number in the stream */
	dev_t device;      /* of the root, as are these */
	uid_t uid;
	gid_t gid;
	struct map *leased; /* inode numbers of files with a write lease; NULL: not looked yet */
	bool ramfs;
	bool merged;                           /* an overlay */
	const struct content_request *request; /* NULL: none */
	struct map *wanted_inodes;             /* inode number -> its line + 1; NULL: none */
	struct content_totals totals;
	char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
};

/* an inode that is being saved, under one of its names */
struct inode {
	uint32_t folder;
	const char *name; /* NULL: the root */
	int fd;           /* O_PATH when it cannot be opened otherwise */
	struct stat st;
};

/* @what of an inode has failed with errno: -errno, or a refusal if a capability is missing */
int saver_fail(const struct saver *s, const struct inode *i, const char *what, struct error *err);
/* -EOPNOTSUPP */
int saver_refuse(const struct saver *s, const struct inode *i, enum code code, const char *what,
                 struct error *err);

/* ---- content_inode.c ---- */

/* bytes of the stream */
int saver_put(struct saver *s, const void *data, size_t size, struct error *err);
/* whether it is opened for reading, and not with O_PATH only: a regular file or directory */
bool saver_is_open(const struct inode *i);
/* of what is open only with O_PATH: by the link in /proc, which leads to the inode itself */
const char *saver_proc_link(const struct inode *i, char room[40]);
enum content_type saver_type_of(const struct stat *st);
/* all that stat(2) says; the rest is 0 */
struct content_entry saver_describe(const struct inode *i);
/* an entry, with its attributes and data; not what lies in it */
int saver_put_inode(struct saver *s, const struct inode *i, struct error *err);
