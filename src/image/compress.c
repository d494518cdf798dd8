/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zstd and lz4 behind one function each way. See compress.h. */
#include "image/compress.h"

#include <lz4.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zstd.h>

#include "image/format.h"
#include "util/alloc.h"

/* level 1: a checkpoint's time is the application's time; who wants it smaller says zstd:N */
#define ZSTD_LEVEL_DEFAULT 1

static_assert(ZSTD_COMPRESSBOUND(IMAGE_BLOCK_DATA_MAX) <= SCRATCH_PACKED_SIZE, "room for zstd");
static_assert(LZ4_COMPRESSBOUND(IMAGE_BLOCK_DATA_MAX) <= SCRATCH_PACKED_SIZE, "room for lz4");

void scratch_pool_init(struct scratch_pool *pool)
{
	pthread_mutex_init(&pool->lock, NULL);
	pool->free = NULL;
}

static void scratch_free(struct scratch *s)
{
	ZSTD_freeCCtx(s->compressor);
	ZSTD_freeDCtx(s->decompressor);
	free(s->packed);
	free(s->body);
	free(s);
}

void scratch_pool_done(struct scratch_pool *pool)
{
	while (pool->free) {
		struct scratch *s = pool->free;
		pool->free = s->next;
		scratch_free(s);
	}
	pthread_mutex_destroy(&pool->lock);
}

static char *page_aligned(size_t size)
{
	void *p;

	if (posix_memalign(&p, IMAGE_PAGE_SIZE, size))
		return xmalloc(SIZE_MAX); /* ends the program with its message */
	return p;
}

struct scratch *scratch_get(struct scratch_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	struct scratch *s = pool->free;
	if (s)
		pool->free = s->next;
	pthread_mutex_unlock(&pool->lock);
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->pool = pool;
		s->body = page_aligned(IMAGE_BLOCK_BODY_MAX + 3 * IMAGE_PAGE_SIZE);
	}
	s->next = NULL;
	return s;
}

void scratch_put(struct scratch *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->pool->lock);
	s->next = s->pool->free;
	s->pool->free = s;
	pthread_mutex_unlock(&s->pool->lock);
}

char *scratch_packed(struct scratch *s)
{
	if (!s->packed)
		s->packed = page_aligned(SCRATCH_PACKED_SIZE);
	return s->packed;
}

static size_t zstd_compress(struct scratch *s, int level, const void *data, size_t size, void *out)
{
	if (!s->compressor)
		s->compressor = ZSTD_createCCtx();
	if (!s->compressor)
		return 0;
	size_t n = ZSTD_compressCCtx(s->compressor, out, SCRATCH_PACKED_SIZE, data, size,
	                             level ? level : ZSTD_LEVEL_DEFAULT);
	return ZSTD_isError(n) ? 0 : n;
}

size_t compress_pages(struct scratch *s, enum image_compression compression, int level,
                      const void *data, size_t size, void *out)
{
	size_t n = 0;
	int lz4;

	switch (compression) {
	case IMAGE_RAW:
		return 0;
	case IMAGE_ZSTD:
		n = zstd_compress(s, level, data, size, out);
		break;
	case IMAGE_LZ4:
		lz4 = LZ4_compress_fast(data, out, (int)size, SCRATCH_PACKED_SIZE,
		                        level > 0 ? level : 1);
		n = lz4 > 0 ? (size_t)lz4 : 0;
		break;
	}
	return n < size ? n : 0;
}

bool decompress_pages(struct scratch *s, enum image_compression compression, const void *data,
                      size_t size, void *out, size_t out_size)
{
	switch (compression) {
	case IMAGE_RAW:
		return false; /* not called for it */
	case IMAGE_ZSTD:
		if (!s->decompressor)
			s->decompressor = ZSTD_createDCtx();
		return s->decompressor &&
		       ZSTD_decompressDCtx(s->decompressor, out, out_size, data, size) == out_size;
	case IMAGE_LZ4:
		return size <= INT32_MAX &&
		       LZ4_decompress_safe(data, out, (int)size, (int)out_size) == (int)out_size;
	}
	return false;
}
