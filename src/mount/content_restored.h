/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What content_restore() leaves for content_settle(). Only for these two files. */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "mount/content.h"
#include "mount/content_folders.h"

extern const char content_default_acl[]; /* the attribute */

/* what a directory gets in the end; by its number */
struct late_folder {
	struct timespec times[2];
	uint32_t attributes;
	void *acl; /* of content_default_acl, which what is made in it would inherit; NULL: none */
	size_t acl_size;
};

/* a file with attributes, or one that has other names */
struct place {
	uint32_t folder;
	uint32_t attributes;
	char *name;
};

struct content {
	struct folders folders;
	struct late_folder *late; /* as many as folders */
	size_t n_late;
	struct place *flagged;
	size_t n_flagged;
	struct place *linked; /* [link - 1] */
	size_t n_linked;
	struct content_totals totals;
	bool singles; /* of content_restore_inodes(): the root directory is none of those that were
	                 saved */
	struct held { /* of these, what gets attributes when it has no name any more */
		int fd;
		uint32_t attributes;
	} * held;
	size_t n_held;
};

/* with errno: "@what /path" of a name in a directory, or with NULL of that; always a negative errno
 */
int content_fail_at(const struct content *c, uint32_t folder, const char *name, const char *what,
                    struct error *err);
