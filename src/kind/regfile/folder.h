/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Directories in which deleted files and FIFOs are made again. Those that are gone as well are made
 * for that moment, and removed.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "core/journal.h"
#include "util/error.h"

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
 * failure. @journal may be NULL, then and below: nothing that is made outlives its file system.
 */
int folder_open(struct journal *journal, int base, const char *path, struct folder *ret,
                struct error *err);
void folder_done(struct folder *folder); /* removes those that were made */
/* notes what is about to be made of @path below @base, in the open directory @fd */
int folder_note(struct journal *journal, int base, int fd, const char *path,
                enum journal_effect effect, const struct stat *st, struct error *err);

/* the innermost directory of @path that is there: open, O_RDONLY; -1 with errno */
int folder_nearest(int base, const char *path);
/*
 * Opens what the handle names, of the file system that @path below @base is on; -1 with errno,
 * EOPNOTSUPP for an empty one.
 */
int folder_open_handle(int base, const char *path, int type, const ProtobufCBinaryData *handle,
                       int flags);
/* pure but for looking: whether folder_open() will do; -EOPNOTSUPP: @refusal says why not */
int folder_check(int base, const char *path, struct error *refusal);
