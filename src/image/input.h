/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an image comes from: a regular file, read at offsets by several threads, or a stream.
 *
 * Files are read with pread(2), not mapped: what has been verified cannot change under us when
 * somebody else writes to the file, and a file that is truncated meanwhile is a short read and not
 * a SIGBUS. (Reading a MiB at a time into a warm buffer costs no more than faulting pages in.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct input {
	int fd; /* the caller's */
	bool seekable;
	uint64_t base; /* seekable: the file's offset of the image's first byte */
	uint64_t size; /* seekable: bytes from base to the end of the file */
	uint64_t at;   /* offset in the image of the next byte that input_read() gives */
	char *buffer;  /* read ahead: buffered bytes from buffered_from on */
	size_t buffered_from, buffered;
};

/* @fd stays the caller's, and open until input_done() */
int input_init(struct input *in, int fd, struct error *err);
void input_done(struct input *in);
/* the next bytes in order; image.truncated when there are fewer */
int input_read(struct input *in, void *to, size_t size, struct error *err);
/* seekable: passes over bytes without reading them */
void input_skip(struct input *in, uint64_t size);
/* seekable, any thread: bytes at an offset in the image */
int input_read_at(const struct input *in, uint64_t offset, void *to, size_t size,
                  struct error *err);
