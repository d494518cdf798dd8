/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page blocks as they lie in an image: making them, and taking them apart. */
#pragma once

#include "image/compress.h"
#include "image/format.h"
#include "image/image.h"

/* a block ready to be written: meta (struct image_block_header, runs), then data */
struct encoded_block {
	uint32_t object;
	enum image_compression compression; /* of this block */
	const void *meta, *data;
	size_t meta_size, data_size;
	uint64_t checksum; /* of meta and data */
	uint64_t n_data_pages, n_zero_pages;
};

typedef int (*block_sink)(void *context, const struct encoded_block *block, struct error *err);

/**
 * block_encode() - find zero pages, compress, checksum
 * @sink:	called for each encoded block: one, or more when runs fall apart into more than fit
 */
int block_encode(struct scratch *s, const struct image_writer_options *options,
                 const struct page_block *block, block_sink sink, void *context, struct error *err);

/**
 * block_parse() - check a body's header and runs
 * @body, @size:	checksum already verified
 * @runs:		room for IMAGE_BLOCK_PAGES
 * @ret:		->data is what follows in the body (compressed still), ->data_size its size
 * @ret_raw_size:	bytes of all pages that are not zero
 */
int block_parse(const void *body, size_t size, struct page_run *runs, struct page_block *ret,
                size_t *ret_raw_size, struct error *err);
