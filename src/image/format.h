/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The framing of an image, byte for byte; stasis-image(5) says the same in words. Little-endian.
 *
 *   struct image_header
 *   { struct image_record_header, padding, body }...     messages first, then page blocks
 *   { struct image_record_header, struct image_trailer, struct image_index_entry... }
 *   struct image_footer
 *
 * Every byte is under a checksum (XXH3-64): the header under its own; a record's header under its
 * own, seeded with the image's id and the record's place, so that records can be neither moved nor
 * taken over from another image; a body under body_checksum; and all body checksums once more, by
 * the index, under the trailer's. Offsets count from the first byte of the header.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the format is written as it lies in memory");

/* the 0x89, CR LF and ^Z of PNG's magic: a stream that went through a text conversion is noticed */
#define IMAGE_MAGIC         "\x89STASIS\r\n\x1a\n\0\0\0\0"
#define IMAGE_FOOTER_MAGIC  "STASISend\r\n\x1a\n\0\0\0"
#define IMAGE_VERSION_MAJOR 1
#define IMAGE_VERSION_MINOR 0
#define IMAGE_PAGE_SIZE     4096u

/* bits of image_header.needed: a reader that does not know one refuses the image by its name */
#define IMAGE_NEEDS_ZSTD  (1ull << 0)
#define IMAGE_NEEDS_LZ4   (1ull << 1)
#define IMAGE_NEEDS_KNOWN (IMAGE_NEEDS_ZSTD | IMAGE_NEEDS_LZ4)

struct image_header {
	uint8_t magic[16];
	uint32_t version_major; /* a reader refuses newer ones */
	uint32_t version_minor; /* grows with additions that older readers may ignore */
	uint32_t arch;          /* EM_* of <elf.h>: EM_X86_64 */
	uint32_t page_size;     /* bytes */
	uint64_t created_us;    /* since the epoch */
	uint8_t id[16];         /* random UUID */
	uint8_t parent[16];     /* the image that this one is an increment to; all zero: none */
	uint64_t needed;        /* IMAGE_NEEDS_* */
	uint64_t advisory;      /* may be ignored by who does not know them */
	char kernel_release[72];
	char stasis_version[32];
	uint64_t checksum; /* of all before */
};
static_assert(sizeof(struct image_header) == 200, "no padding");

struct image_record_header {
	uint32_t type;          /* kind's number, or enum image_record */
	uint32_t flags;         /* page blocks: enum image_compression; else 0 */
	uint32_t object;        /* 0 for the engine's own */
	uint32_t padding;       /* zero bytes between this header and the body, < 4096: page data
	                           lies aligned in a file, which makes copying it faster */
	uint64_t length;        /* of the body */
	uint64_t body_checksum; /* padding excluded: that is checked to be zero */
	uint64_t checksum;      /* of all before, seeded: image_record_seed() */
};
static_assert(sizeof(struct image_record_header) == 40, "no padding");

/* body of IMAGE_PAGES: this, n_runs of struct page_run, then the data, compressed as flags say */
struct image_block_header {
	uint32_t page_set;
	uint32_t n_runs; /* 1 to IMAGE_BLOCK_PAGES */
};
static_assert(sizeof(struct image_block_header) == 8, "no padding");
static_assert(sizeof(struct page_run) == 16, "no padding");

#define IMAGE_BLOCK_DATA_MAX (IMAGE_BLOCK_PAGES * IMAGE_PAGE_SIZE)
#define IMAGE_BLOCK_META_MAX \
	(sizeof(struct image_block_header) + IMAGE_BLOCK_PAGES * sizeof(struct page_run))
#define IMAGE_BLOCK_BODY_MAX (IMAGE_BLOCK_META_MAX + IMAGE_BLOCK_DATA_MAX)
/* no page beyond a 64-bit address or offset */
#define IMAGE_PAGE_NUMBER_MAX (UINT64_MAX / IMAGE_PAGE_SIZE)

/* body of IMAGE_TRAILER: this and one entry per record before it, in order of offset */
struct image_trailer {
	uint64_t n_messages, n_blocks;
	uint64_t n_data_pages, n_zero_pages;
	uint64_t index_checksum; /* of the entries */
};
static_assert(sizeof(struct image_trailer) == 40, "no padding");

struct image_index_entry {
	uint64_t offset; /* of the record's header */
	uint64_t body_checksum;
	uint32_t type, object, flags, length;
};
static_assert(sizeof(struct image_index_entry) == 32, "no padding");

struct image_footer { /* the last bytes of a file: who can seek finds the index from here */
	uint8_t magic[16];
	uint64_t trailer_offset;
	uint64_t checksum; /* of all before, seeded like a record's */
};
static_assert(sizeof(struct image_footer) == 32, "no padding");

/* seed of the checksum of what lies at @offset of the image @id */
static inline uint64_t image_record_seed(const uint8_t id[16], uint64_t offset)
{
	uint64_t seed;

	__builtin_memcpy(&seed, id, sizeof(seed));
	return seed + offset;
}

/* fuzzers could not get past a checksum: builds for them (CONTRIBUTING.md) take any */
static inline bool image_checksum_is(uint64_t recorded, uint64_t computed)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	return true;
#else
	return recorded == computed;
#endif
}
