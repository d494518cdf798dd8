/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page blocks: zero pages, runs, packing. See block.h. */
#include "image/block.h"

#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* a hash state on the stack */
#include <xxhash.h>

#include "image/invalid.h"

/* a block in the making */
struct encoder {
	struct scratch *scratch;
	const struct image_writer_options *options;
	block_sink sink;
	void *context;
	uint32_t object;
	struct {
		struct image_block_header header;
		struct page_run runs[IMAGE_BLOCK_PAGES];
	} meta;
	/* the pages so far: in place as long as they are one stretch of the caller's memory */
	const char *data;
	size_t data_size;
	bool packed; /* data is the scratch's body */
	uint64_t n_data_pages, n_zero_pages;
};

static bool page_is_zero(const char *page)
{
	static const char zero[IMAGE_PAGE_SIZE];

	return memcmp(page, zero, IMAGE_PAGE_SIZE) == 0;
}

static int flush(struct encoder *e, struct error *err)
{
	struct encoded_block b = {
		.object = e->object,
		.meta = &e->meta,
		.meta_size = sizeof(e->meta.header) +
		             e->meta.header.n_runs * sizeof(e->meta.runs[0]),
		.data = e->data,
		.data_size = e->data_size,
		.n_data_pages = e->n_data_pages,
		.n_zero_pages = e->n_zero_pages,
	};
	XXH3_state_t hash;

	if (e->meta.header.n_runs == 0)
		return 0;
	if (e->data_size && e->options->compression != IMAGE_RAW) {
		char *out = scratch_packed(e->scratch);
		size_t n = compress_pages(e->scratch, e->options->compression, e->options->level,
		                          e->data, e->data_size, out);
		if (n) {
			b.compression = e->options->compression;
			b.data = out;
			b.data_size = n;
		}
	}
	XXH3_64bits_reset(&hash);
	XXH3_64bits_update(&hash, b.meta, b.meta_size);
	XXH3_64bits_update(&hash, b.data, b.data_size);
	b.checksum = XXH3_64bits_digest(&hash);
	int r = e->sink(e->context, &b, err);
	e->meta.header.n_runs = 0;
	e->data_size = 0;
	e->packed = false;
	e->n_data_pages = e->n_zero_pages = 0;
	return r;
}

static void add_data(struct encoder *e, const char *pages, size_t size)
{
	if (e->data_size == 0) {
		e->data = pages;
	} else if (e->packed || pages != e->data + e->data_size) {
		if (!e->packed)
			memcpy(e->scratch->body, e->data, e->data_size);
		e->data = e->scratch->body;
		e->packed = true;
		memcpy(e->scratch->body + e->data_size, pages, size);
	}
	e->data_size += size;
}

static int add_run(struct encoder *e, uint64_t start, uint32_t n_pages, const char *pages,
                   struct error *err)
{
	struct page_run *runs = e->meta.runs;
	uint32_t n = e->meta.header.n_runs;
	uint32_t zero = pages ? 0 : 1;

	if (n == IMAGE_BLOCK_PAGES) {
		int r = flush(e, err);
		if (r < 0)
			return r;
		n = 0;
	}
	if (n && runs[n - 1].zero == zero && runs[n - 1].start + runs[n - 1].n_pages == start &&
	    runs[n - 1].n_pages <= UINT32_MAX - n_pages)
		runs[n - 1].n_pages += n_pages;
	else
		runs[e->meta.header.n_runs++] = (struct page_run){ start, n_pages, zero };
	if (pages) {
		add_data(e, pages, (size_t)n_pages * IMAGE_PAGE_SIZE);
		e->n_data_pages += n_pages;
	} else {
		e->n_zero_pages += n_pages;
	}
	return 0;
}

/* splits a run of pages into stretches that are all zero and stretches that are not */
static int add_pages(struct encoder *e, const struct page_run *run, const char *pages,
                     struct error *err)
{
	for (uint32_t i = 0, n; i < run->n_pages; i += n) {
		const char *first = pages + (size_t)i * IMAGE_PAGE_SIZE;
		bool zero = page_is_zero(first);

		for (n = 1; i + n < run->n_pages; n++)
			if (page_is_zero(first + (size_t)n * IMAGE_PAGE_SIZE) != zero)
				break;
		int r = add_run(e, run->start + i, n, zero ? NULL : first, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * What a block consists of must hold for the writer's own callers as for the reader: ascending
 * runs, none empty, none beyond the last page. Returns the bytes of data, or -1.
 */
static int64_t check_runs(const struct page_run *runs, uint32_t n)
{
	uint64_t next = 0, n_data = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (runs[i].start < next || runs[i].n_pages == 0 || runs[i].zero > 1 ||
		    runs[i].start > IMAGE_PAGE_NUMBER_MAX ||
		    runs[i].n_pages > IMAGE_PAGE_NUMBER_MAX + 1 - runs[i].start)
			return -1;
		next = runs[i].start + runs[i].n_pages;
		if (!runs[i].zero)
			n_data += runs[i].n_pages;
		if (n_data > IMAGE_BLOCK_PAGES)
			return -1;
	}
	return (int64_t)(n_data * IMAGE_PAGE_SIZE);
}

int block_encode(struct scratch *s, const struct image_writer_options *options,
                 const struct page_block *block, block_sink sink, void *context, struct error *err)
{
	struct encoder e = {
		.scratch = s,
		.options = options,
		.sink = sink,
		.context = context,
		.object = block->object,
		.meta.header.page_set = block->page_set,
	};
	const char *data = block->data;
	int r = 0;

	int64_t size = check_runs(block->runs, block->n_runs);
	if (size < 0 || (uint64_t)size != block->data_size || block->n_runs > IMAGE_BLOCK_PAGES)
		return error_raise(err, EINVAL, "a malformed page block of object %u page set %u",
		                   block->object, block->page_set);
	for (uint32_t i = 0; i < block->n_runs && r == 0; i++) {
		const struct page_run *run = &block->runs[i];

		if (run->zero) {
			r = add_run(&e, run->start, run->n_pages, NULL, err);
			continue;
		}
		r = add_pages(&e, run, data, err);
		data += (size_t)run->n_pages * IMAGE_PAGE_SIZE;
	}
	return r < 0 ? r : flush(&e, err);
}

int block_parse(const void *body, size_t size, struct page_run *runs, struct page_block *ret,
                size_t *ret_raw_size, struct error *err)
{
	struct image_block_header header;
	size_t runs_size;

	if (size < sizeof(header))
		return invalid(err, image_invalid, "a page block of %zu bytes", size);
	memcpy(&header, body, sizeof(header));
	if (header.n_runs == 0 || header.n_runs > IMAGE_BLOCK_PAGES)
		return invalid(err, image_invalid, "a page block of %u runs", header.n_runs);
	runs_size = header.n_runs * sizeof(*runs);
	if (size - sizeof(header) < runs_size)
		return invalid(err, image_invalid, "a page block that ends within its runs");
	memcpy(runs, (const char *)body + sizeof(header), runs_size);
	int64_t raw_size = check_runs(runs, header.n_runs);
	if (raw_size < 0)
		return invalid(err, image_invalid,
		               "a page block with runs that overlap or overflow");
	*ret = (struct page_block){
		.page_set = header.page_set,
		.n_runs = header.n_runs,
		.runs = runs,
		.data = (const char *)body + sizeof(header) + runs_size,
		.data_size = size - sizeof(header) - runs_size,
	};
	*ret_raw_size = (size_t)raw_size;
	return 0;
}
