/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image reader: walks the records in order and trusts nothing.
 *
 * For each record: header under its checksum, type, flags, lengths within bounds, messages before
 * page blocks; each is added to a running checksum of the index, and the trailer must show the same
 * index and counts. Of a file the footer is looked at first, so that a copy that is not complete is
 * rejected before anything is made of it.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "image/block.h"
#include "image/compress.h"
#include "image/format.h"
#include "image/image.h"
#include "image/input.h"
#include "image/invalid.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct image_reader {
	struct input input;
	struct image_header header;
	struct image_info info;
	struct image_totals totals; /* from at_end on */
	struct scratch_pool scratches;
	struct image_trailer seen; /* but for the checksum: that is what index gives */
	XXH3_state_t *index;
	bool at_end;
	uint64_t trailer_offset; /* seekable: as the footer says; then checked */
};

static int check_text(const char *text, size_t size, const char *what, struct error *err)
{
	size_t n = strnlen(text, size);

	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~')
			return invalid(err, image_invalid, "unprintable %s in the header", what);
	if (n == size)
		return invalid(err, image_invalid, "unterminated %s in the header", what);
	return 0;
}

static int check_needed(const struct image_header *h, struct error *err)
{
	uint64_t unknown = h->needed & ~IMAGE_NEEDS_KNOWN;

	if (unknown)
		return invalid(err, image_feature,
		               "the image needs feature bit %d, which this build does not know",
		               __builtin_ctzll(unknown));
	for (size_t i = 0; i < sizeof(h->parent); i++)
		if (h->parent[i])
			return invalid(err, image_feature,
			               "the image is an increment to another one");
	return 0;
}

static int check_header(const struct image_header *h, struct error *err)
{
	int r;

	if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)) != 0)
		return invalid(err, image_invalid, "not a Stasis image");
	if (h->version_major > IMAGE_VERSION_MAJOR || h->version_major == 0) {
		r = invalid(err, image_feature, "the image has format version %u.%u, this is %u.%u",
		            h->version_major, h->version_minor, IMAGE_VERSION_MAJOR,
		            IMAGE_VERSION_MINOR);
		error_hint(err, "use a newer stasis");
		return r;
	}
	if (!image_checksum_is(h->checksum,
	                       XXH3_64bits(h, offsetof(struct image_header, checksum))))
		return invalid(err, image_checksum, "the image's header is damaged");
	if (h->arch != EM_X86_64)
		return invalid(err, image_feature, "the image is of architecture %u, this is %u",
		               h->arch, EM_X86_64);
	if (h->page_size != IMAGE_PAGE_SIZE)
		return invalid(err, image_feature, "the image has pages of %u bytes", h->page_size);
	r = check_text(h->kernel_release, 65, "kernel release", err);
	if (r == 0)
		r = check_text(h->stasis_version, sizeof(h->stasis_version), "version", err);
	return r < 0 ? r : check_needed(h, err);
}

static void fill_info(struct image_reader *r)
{
	r->info.version_major = r->header.version_major;
	r->info.version_minor = r->header.version_minor;
	r->info.created_us = r->header.created_us;
	memcpy(r->info.id, r->header.id, sizeof(r->info.id));
	memcpy(r->info.kernel_release, r->header.kernel_release, sizeof(r->info.kernel_release));
	memcpy(r->info.stasis_version, r->header.stasis_version, sizeof(r->info.stasis_version));
}

static int check_footer(const struct image_reader *r, const struct image_footer *f, uint64_t at,
                        struct error *err)
{
	if (memcmp(f->magic, IMAGE_FOOTER_MAGIC, sizeof(f->magic)) != 0)
		return invalid(err, image_truncated, "the image has no end: it is not complete");
	if (!image_checksum_is(f->checksum,
	                       XXH3_64bits_withSeed(f, offsetof(struct image_footer, checksum),
	                                            image_record_seed(r->header.id, at))))
		return invalid(err, image_checksum, "the image's footer is damaged");
	return 0;
}

/* a file: is it all there? A checkpoint that failed has left its reason where the walk finds it. */
static int look_at_end(struct image_reader *r, struct error *err)
{
	struct image_footer footer;
	uint64_t at = r->input.size - sizeof(footer);
	int e;

	if (r->input.size < sizeof(r->header) + sizeof(footer))
		return invalid(err, image_truncated, "the image ends at byte %llu",
		               (unsigned long long)r->input.size);
	e = input_read_at(&r->input, at, &footer, sizeof(footer), err);
	if (e == 0)
		e = check_footer(r, &footer, at, err);
	if (e == 0)
		r->trailer_offset = footer.trailer_offset;
	return e;
}

static int start(struct image_reader *r, struct error *err)
{
	int e = input_read(&r->input, &r->header, sizeof(r->header), err);

	if (e < 0 && err->code == CODE_image_truncated &&
	    memcmp(r->header.magic, IMAGE_MAGIC, sizeof(r->header.magic)) != 0)
		return invalid(err, image_invalid, "not a Stasis image");
	if (e == 0)
		e = check_header(&r->header, err);
	if (e < 0)
		return e;
	fill_info(r);
	return 0;
}

int image_reader_new(struct image_reader **ret, int fd, struct error *err)
{
	struct image_reader *r = xcalloc(1, sizeof(*r));

	scratch_pool_init(&r->scratches);
	r->index = XXH3_createState();
	if (!r->index)
		xmalloc(SIZE_MAX);
	XXH3_64bits_reset(r->index);
	int e = input_init(&r->input, fd, err);
	if (e == 0)
		e = start(r, err);
	if (e < 0) {
		image_reader_free(r);
		return error_trace(err, e);
	}
	*ret = r;
	return 0;
}

const struct image_info *image_reader_info(const struct image_reader *r)
{
	return &r->info;
}

const struct image_totals *image_reader_totals(const struct image_reader *r)
{
	return r->at_end ? &r->totals : NULL;
}

static int check_record_header(const struct image_reader *r, const struct image_record_header *h,
                               uint64_t at, struct error *err)
{
	uint64_t max = IMAGE_RECORD_MAX;

	if (!image_checksum_is(h->checksum,
	                       XXH3_64bits_withSeed(h,
	                                            offsetof(struct image_record_header, checksum),
	                                            image_record_seed(r->header.id, at))))
		return invalid(err, image_checksum, "a record's header is damaged");
	if (h->type == 0 || (h->type >= 1000 && h->type != IMAGE_PAGES && h->type != IMAGE_ERROR &&
	                     h->type != IMAGE_TRAILER))
		return invalid(err, image_feature, "a record of unknown type %u", h->type);
	if (h->type == IMAGE_PAGES ? h->flags > IMAGE_ZSTD : h->flags != 0)
		return invalid(err, image_feature, "a record with unknown flags %#x", h->flags);
	if (h->padding >= IMAGE_PAGE_SIZE || (h->padding && h->type != IMAGE_PAGES))
		return invalid(err, image_invalid, "a record with padding of %u", h->padding);
	if (h->type == IMAGE_PAGES)
		max = IMAGE_BLOCK_BODY_MAX;
	if (h->type == IMAGE_TRAILER)
		max = sizeof(struct image_trailer) +
		      (r->seen.n_messages + r->seen.n_blocks) * sizeof(struct image_index_entry);
	if (h->length > max)
		return invalid(err, image_invalid, "a record of %llu bytes",
		               (unsigned long long)h->length);
	if (h->type < 1000 && r->seen.n_blocks)
		return invalid(err, image_invalid, "a message after the first page block");
	return 0;
}

static void note_in_index(struct image_reader *r, const struct image_record_header *h, uint64_t at)
{
	struct image_index_entry e = {
		.offset = at,
		.body_checksum = h->body_checksum,
		.type = h->type,
		.object = h->object,
		.flags = h->flags,
		.length = (uint32_t)h->length,
	};

	XXH3_64bits_update(r->index, &e, sizeof(e));
	if (h->type == IMAGE_PAGES)
		r->seen.n_blocks++;
	else
		r->seen.n_messages++;
}

/* the index in the trailer is compared piece by piece: it may be large, the buffer is not */
static int check_index(struct image_reader *r, const struct image_record_header *h,
                       const struct image_trailer *t, struct error *err)
{
	_cleanup_(scratch_putp) struct scratch *s = scratch_get(&r->scratches);
	XXH3_state_t *body = XXH3_createState();
	uint64_t left = h->length - sizeof(*t);
	int e = 0;

	if (!body)
		xmalloc(SIZE_MAX);
	XXH3_64bits_reset(body);
	XXH3_64bits_update(body, t, sizeof(*t));
	while (left && e == 0) {
		size_t n = left < IMAGE_BLOCK_DATA_MAX ? (size_t)left : IMAGE_BLOCK_DATA_MAX;
		e = input_read(&r->input, s->body, n, err);
		if (e == 0)
			XXH3_64bits_update(body, s->body, n);
		left -= n;
	}
	/* all of the body: that it is the index of these records follows from index_checksum */
	if (e == 0 && !image_checksum_is(h->body_checksum, XXH3_64bits_digest(body)))
		e = invalid(err, image_checksum, "the image's index is damaged");
	XXH3_freeState(body);
	return e;
}

static int read_trailer(struct image_reader *r, const struct image_record_header *h, uint64_t at,
                        struct error *err)
{
	struct image_trailer t;
	struct image_footer footer;
	uint64_t n = r->seen.n_messages + r->seen.n_blocks;
	int e;

	if (h->length != sizeof(t) + n * sizeof(struct image_index_entry))
		return invalid(err, image_invalid, "the trailer's size does not fit %llu records",
		               (unsigned long long)n);
	e = input_read(&r->input, &t, sizeof(t), err);
	if (e == 0)
		e = check_index(r, h, &t, err);
	if (e < 0)
		return e;
	if (t.n_messages != r->seen.n_messages || t.n_blocks != r->seen.n_blocks ||
	    !image_checksum_is(t.index_checksum, XXH3_64bits_digest(r->index)))
		return invalid(err, image_invalid, "the trailer describes other records");
	uint64_t footer_at = r->input.at;
	e = input_read(&r->input, &footer, sizeof(footer), err);
	if (e == 0)
		e = check_footer(r, &footer, footer_at, err);
	if (e < 0)
		return e;
	if (footer.trailer_offset != at)
		return invalid(err, image_invalid, "the footer points elsewhere");
	if (r->input.seekable && r->input.at != r->input.size)
		return invalid(err, image_invalid, "there are %llu bytes after the image's end",
		               (unsigned long long)(r->input.size - r->input.at));
	r->totals = (struct image_totals){ .n_messages = t.n_messages,
		                           .n_blocks = t.n_blocks,
		                           .n_data_pages = t.n_data_pages,
		                           .n_zero_pages = t.n_zero_pages,
		                           .size = r->input.at };
	r->at_end = true;
	return 0;
}

static int check_body(const struct image_record_header *h, const void *body, struct error *err)
{
	if (!image_checksum_is(h->body_checksum, XXH3_64bits(body, h->length)))
		return invalid(err, image_checksum, "a record of type %u is damaged", h->type);
	return 0;
}

static int read_message(struct image_reader *r, const struct image_record_header *h,
                        struct record *ret, struct error *err)
{
	_cleanup_(free_p) void *body = xmalloc(h->length);
	int e = input_read(&r->input, body, h->length, err);

	if (e == 0)
		e = check_body(h, body, err);
	if (e < 0)
		return e;
	ret->body = body;
	ret->owned = take_ptr(body);
	return 0;
}

/* the body of a failed checkpoint's last record becomes the error's text */
static int report_failure(struct image_reader *r, const struct image_record_header *h,
                          struct error *err)
{
	struct record record = { 0 };
	int e = read_message(r, h, &record, err);

	if (e < 0)
		return e;
	char *text = record.owned;
	for (size_t i = 0; i < record.size; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?'; /* goes to a terminal */
	e = invalid(err, image_failed, "the checkpoint failed: %.*s",
	            h->length < 256 ? (int)h->length : 256, text);
	record_release(&record);
	return e;
}

/* where a body goes so that its pages lie as they lie in the file: copying is faster so */
static char *place_body(struct scratch *s, uint64_t offset)
{
	return s->body + offset % IMAGE_PAGE_SIZE;
}

static int check_padding(const char *padding, size_t size, struct error *err)
{
	for (size_t i = 0; i < size; i++)
		if (padding[i])
			return invalid(err, image_checksum, "a page block's padding is damaged");
	return 0;
}

/* a stream's page block is read here, a file's by image_block_decode() in its caller's thread */
static int read_block(struct image_reader *r, const struct image_record_header *h,
                      struct record *ret, struct error *err)
{
	ret->reader = r;
	ret->padding = h->padding;
	ret->flags = h->flags;
	ret->checksum = h->body_checksum;
	if (r->input.seekable) {
		if (h->length + h->padding > r->input.size - r->input.at)
			return invalid(err, image_truncated, "the image ends within a page block");
		input_skip(&r->input, h->length + h->padding);
		return 0;
	}
	struct scratch *s = scratch_get(&r->scratches);
	char *to = place_body(s, 0);
	int e = input_read(&r->input, to, h->padding + h->length, err);
	if (e == 0)
		e = check_padding(to, h->padding, err);
	if (e < 0) {
		scratch_put(s);
		return e;
	}
	ret->owned = s;
	ret->body = to + h->padding;
	return 0;
}

static int next(struct image_reader *r, struct record *ret, struct error *err)
{
	struct image_record_header h;
	uint64_t at = r->input.at;
	int e = input_read(&r->input, &h, sizeof(h), err);

	if (e == 0)
		e = check_record_header(r, &h, at, err);
	if (e < 0)
		return e;
	*ret = (struct record){
		.type = h.type, .object = h.object, .offset = at, .size = h.length
	};
	if (h.type == IMAGE_TRAILER)
		return read_trailer(r, &h, at, err);
	if (h.type == IMAGE_ERROR)
		return report_failure(r, &h, err);
	e = h.type == IMAGE_PAGES ? read_block(r, &h, ret, err) : read_message(r, &h, ret, err);
	if (e < 0)
		return e;
	note_in_index(r, &h, at);
	return 1;
}

int image_reader_next(struct image_reader *r, struct record *ret, struct error *err)
{
	uint64_t at = r->input.at;

	*ret = (struct record){ 0 };
	if (r->at_end)
		return 0;
	int e = next(r, ret, err);
	if (e < 0) {
		error_object(err, "image record at byte %llu", (unsigned long long)at);
		return error_trace(err, e);
	}
	return e;
}

int image_reader_complete(struct image_reader *r, struct error *err)
{
	if (!r->input.seekable)
		return 0;
	int e = look_at_end(r, err);
	return e < 0 ? error_trace(err, e) : 0;
}

void record_release(struct record *record)
{
	if (record->type == IMAGE_PAGES)
		scratch_put(record->owned);
	else
		free(record->owned);
	record->owned = NULL;
	record->body = NULL;
}

static int load_block(struct record *record, struct error *err)
{
	struct scratch *s = scratch_get(&record->reader->scratches);
	uint64_t offset = record->offset + sizeof(struct image_record_header);
	char *to = place_body(s, record->reader->input.base + offset);
	int e = input_read_at(&record->reader->input, offset, to, record->padding + record->size,
	                      err);

	if (e == 0)
		e = check_padding(to, record->padding, err);
	if (e < 0) {
		scratch_put(s);
		return e;
	}
	record->owned = s;
	record->body = to + record->padding;
	return 0;
}

static int decode(struct record *record, void *buffer, struct page_run *runs,
                  struct page_block *ret, struct error *err)
{
	size_t raw_size;
	int e = record->body ? 0 : load_block(record, err);

	if (e < 0)
		return e;
	if (!image_checksum_is(record->checksum, XXH3_64bits(record->body, record->size)))
		return invalid(err, image_checksum, "a page block is damaged");
	e = block_parse(record->body, record->size, runs, ret, &raw_size, err);
	if (e < 0)
		return e;
	ret->object = record->object;
	ret->stored_size = record->size;
	if (record->flags == IMAGE_RAW || raw_size == 0) {
		if (ret->data_size != raw_size)
			return invalid(err, image_invalid, "a page block with %zu bytes of %zu",
			               ret->data_size, raw_size);
		return 0;
	}
	if (!decompress_pages(record->owned, record->flags, ret->data, ret->data_size, buffer,
	                      raw_size))
		return invalid(err, image_invalid, "a page block does not decompress");
	ret->data = buffer;
	ret->data_size = raw_size;
	return 0;
}

int image_block_decode(struct record *record, void *buffer, struct page_run *runs,
                       struct page_block *ret, struct error *err)
{
	int e = decode(record, buffer, runs, ret, err);

	if (e < 0) {
		error_object(err, "image record at byte %llu", (unsigned long long)record->offset);
		return error_trace(err, e);
	}
	return 0;
}

void image_reader_free(struct image_reader *r)
{
	if (!r)
		return;
	scratch_pool_done(&r->scratches);
	input_done(&r->input);
	XXH3_freeState(r->index);
	free(r);
}
