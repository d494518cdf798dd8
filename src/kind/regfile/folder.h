/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Directories in which deleted files and FIFOs are made again. Those that are gone as well are made
 * for that moment, and removed.
 */
#pragma once

#include <stddef.h>

#include "util/error.h"

struct journal;

struct folder {
	int fd;      /* O_RDONLY; -1 = none */
	int base;    /* what paths are below: place_open() */
	char **made; /* directories that were not there, the outermost first */
	size_t n_made;
};
#define FOLDER_INIT      \
	{                \
		.fd = -1 \
	}

/*
 * The directory that @path below @base (kind/place.h) names a file in; folder_done() also after a
 * failure.
 */
int folder_open(struct journal *journal, int base, const char *path, struct folder *ret,
                struct error *err);
void folder_done(struct folder *folder); /* removes those that were made */

/* the innermost directory of @path that is there: open, O_RDONLY; -1 with errno */
int folder_nearest(int base, const char *path);
/* pure but for looking: whether folder_open() will do; -EOPNOTSUPP: @refusal says why not */
int folder_check(int base, const char *path, struct error *refusal);
