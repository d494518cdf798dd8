/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directories of a tree by number. Any of them can be opened at any time though few descriptors
 * are kept: of the chain from the root to the one in use, the last ones. So a walk in depth-first
 * order opens each once, and one back up through a deep chain reopens it in long strides.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define FOLDERS_KEPT 64u /* descriptors */

struct folder {
	uint32_t parent, depth;
	char *name; /* no slash, not "." or ".."; NULL: the root */
};

struct folders {
	struct folder *items; /* [0] is the root */
	size_t n;
	int root;
	int owner; /* a user namespace whose rights open what we may not; -1 none */
	struct folder_kept {
		uint32_t folder;
		int fd;       /* -1: none */
	} kept[FOLDERS_KEPT]; /* by depth */
};

/* @root is opened anew; it becomes number 0. @owner: see above; lent. */
int folders_init(struct folders *f, int root, int owner, struct error *err);
void folders_done(struct folders *f);

/* a new one in @parent; returns its number */
uint32_t folders_add(struct folders *f, uint32_t parent, const char *name);
/* @fd is open for reading its entries: takes it */
void folders_keep(struct folders *f, uint32_t folder, int fd);
/* opens it for reading its entries; *ret is lent until the next call that opens or keeps one */
int folders_open(struct folders *f, uint32_t folder, int *ret, struct error *err);

/*
 * openat2(2) of one name within a directory: nothing is followed, nothing left. A descriptor, or
 * -1 with errno.
 */
int folders_openat(const struct folders *f, int folder, const char *name, int flags, unsigned mode);
/* text for messages, the caller's: the path of @name in it (may be NULL) from the root */
char *folders_path(const struct folders *f, uint32_t folder, const char *name);
