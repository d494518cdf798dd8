/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a file of a tmpfs or ramfs has data. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "mount/content_format.h"
#include "util/error.h"

#define CONTENT_WINDOW 4096u /* pages that are looked at in one go */

/* a walk through the data of one file, from its start to its end */
struct content_data {
	int fd;        /* open for reading */
	uint64_t size; /* of the file */
	bool ramfs;
	uint64_t left;                       /* ramfs: pages of data that have not been seen */
	uint64_t window;                     /* ramfs: offset that pages[] begins with */
	size_t n_pages;                      /* ramfs: of pages[], 0 at first */
	unsigned char pages[CONTENT_WINDOW]; /* ramfs: whether they are there */
};

/* @fd stays the caller's; @st is its fstat(2) */
void content_data_init(struct content_data *d, int fd, const struct stat *st, bool ramfs);
/* the next stretch at or after @at: 1, 0 when there is none, -1 with errno */
int content_next_data(struct content_data *d, uint64_t at, struct content_extent *ret);
/*
 * Of a file of a tmpfs: @n_pages that have been allocated but not written, which SEEK_DATA passes
 * over, also beyond its end. @ret: in ascending order; the caller's. 0, or -1 with errno.
 */
int content_find_unwritten(int fd, const struct stat *st, uint64_t n_pages,
                           struct content_extent **ret, size_t *ret_n);
