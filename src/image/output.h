/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an image goes: a seekable file, of which several threads write different parts at once, or
 * a stream (pipe, socket, terminal, O_APPEND file), which takes them one after the other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/error.h"

struct output {
	int fd;        /* the caller's */
	bool seekable; /* write at offsets */
	uint64_t base; /* seekable: the file's offset of the image's first byte */
};

/* finds out whether @fd, which stays the caller's, is seekable */
void output_init(struct output *o, int fd);
/*
 * writes all of it; @offset counts from the image's begin and is not used for streams. Changes
 * @iov.
 */
int output_write(const struct output *o, uint64_t offset, struct iovec *iov, int n_iov,
                 struct error *err);
/* leaves the file offset behind the image, as write(2) would have, and syncs what can be synced */
int output_finish(const struct output *o, uint64_t size, struct error *err);
