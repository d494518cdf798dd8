/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that an image goes into. It has no name until it is complete: whatever happens before,
 * nothing is left behind.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct journal;

struct image_file {
	int fd;           /* to write to; closed by image_file_close() */
	const char *path; /* "-": standard output, which has nothing to publish */
	bool force;
	char *temporary; /* its name until then, where there are no nameless files; NULL */
	struct journal *journal;
};
#define IMAGE_FILE_INIT ((struct image_file){ .fd = -1 })

/**
 * image_file_open() - make the file, or take standard output
 * @path:	kept, not copied
 * @force:	an existing file may be replaced; without it -EEXIST
 */
int image_file_open(struct image_file *file, const char *path, bool force, struct error *err);
/* gives it its name, and syncs the directory; the contents have been synced */
int image_file_publish(struct image_file *file, struct error *err);
/* closes it; without image_file_publish() it is gone; takes what was never opened */
void image_file_close(struct image_file *file);
