/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compression of page data, and the scratch memory that it works in, pooled between threads. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "image/image.h"

/* what one thread works in while it encodes or decodes a block */
struct scratch {
	struct scratch *next;
	struct scratch_pool *pool;
	char *body;   /* IMAGE_BLOCK_BODY_MAX and a page of slack before and after, page-aligned */
	char *packed; /* compressed data, or pages moved together; NULL until first used */
	void *compressor, *decompressor; /* zstd contexts; NULL until first used */
};

struct scratch_pool {
	pthread_mutex_t lock;
	struct scratch *free;
};

#define SCRATCH_PACKED_SIZE \
	(IMAGE_BLOCK_PAGES * 4096u + (64u << 10)) /* over both libraries' bounds */

/* a pool is used by all threads; it is empty at first, and scratches come back into it */
void scratch_pool_init(struct scratch_pool *pool);
void scratch_pool_done(struct scratch_pool *pool);      /* all scratches have been put back */
struct scratch *scratch_get(struct scratch_pool *pool); /* the caller's until scratch_put() */
void scratch_put(struct scratch *s);                    /* takes NULL */
char *scratch_packed(struct scratch *s); /* SCRATCH_PACKED_SIZE bytes, made when first used */

static inline void scratch_putp(struct scratch **s)
{
	scratch_put(*s);
}

/**
 * compress_pages() - compress into a buffer
 * @out:	SCRATCH_PACKED_SIZE bytes
 * @level:	0 = the default
 * Returns the size, or 0 when the data does not get smaller (it is then stored as it is).
 */
size_t compress_pages(struct scratch *s, enum image_compression compression, int level,
                      const void *data, size_t size, void *out);
/* decompresses to exactly @out_size bytes; false when the data is not that */
bool decompress_pages(struct scratch *s, enum image_compression compression, const void *data,
                      size_t size, void *out, size_t out_size);
