/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image: one stream of records, written and read front to back, and seekable by the index in
 * its trailer. stasis-image(5) is the specification. Layout:
 *
 *   header | record... | page block... | trailer (counts, index, checksum of it all)
 *
 * A record is {type, flags, object id, length, checksum} and a protobuf message of at most 1 MiB.
 * A page block is a record whose body holds up to 1 MiB of pages of one page set. All integers are
 * little-endian. Nothing in an image is trusted.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define IMAGE_RECORD_MAX  (1u << 20)
#define IMAGE_BLOCK_PAGES 256u /* 1 MiB of 4 KiB pages */

enum image_compression { IMAGE_RAW, IMAGE_LZ4, IMAGE_ZSTD };

/* record types below 1000 are kinds' numbers (kinds.def); these are the engine's */
enum image_record {
	IMAGE_PAGES = 1001, /* object id = the object whose bulk data it is */
	IMAGE_ERROR = 1002, /* the checkpoint failed here; body: text */
	IMAGE_TRAILER = 1003,
};

/* a run of pages of one page set, in units of pages of 4 KiB; starts ascend within a block */
struct page_run {
	uint64_t start; /* address / 4096 for memory, offset / 4096 for file contents */
	uint32_t n_pages;
	uint32_t zero; /* 1: all zero, no data in the block */
};

struct page_block {
	uint32_t object;   /* id of the object it belongs to */
	uint32_t page_set; /* number within that object: the kind's */
	uint32_t n_runs;
	const struct page_run *runs;
	const void *data; /* the pages of the runs that are not zero, packed in order */
	size_t data_size;
	size_t stored_size; /* reading: bytes of its record, compressed */
};

struct image_writer;
struct image_writer_options {
	enum image_compression compression;
	int level; /* 0 = the default */
};

/**
 * image_writer_new() - write the header to a descriptor
 * @fd:		file, pipe or socket; stays the caller's
 */
int image_writer_new(struct image_writer **ret, int fd, const struct image_writer_options *options,
                     struct error *err);
/* appends one message; -EMSGSIZE when it packs to more than IMAGE_RECORD_MAX */
int image_writer_message(struct image_writer *w, uint32_t type, uint32_t object,
                         const ProtobufCMessage *message, struct error *err);
/*
 * Appends one page block; compresses and checksums in the caller's thread, so call it from
 * several; blocks land in any order unless the caller orders them. Finds zero pages itself.
 */
int image_writer_block(struct image_writer *w, const struct page_block *block, struct error *err);
/*
 * The same for blocks that are to lie in order though several threads make them: @order is theirs
 * in common, zeroed at first, and @number counts up from 0. It waits until all blocks with lower
 * numbers have their place, so none may be left out. A block of at most IMAGE_BLOCK_PAGES pages,
 * those of zero runs included.
 */
struct image_order {
	uint64_t next;
};
int image_writer_block_in_order(struct image_writer *w, const struct page_block *block,
                                struct image_order *order, uint64_t number, struct error *err);
/* trailer and fsync(2) (where the descriptor can) */
int image_writer_finish(struct image_writer *w, struct error *err);
/* the stream ends with a record that says why; best effort */
void image_writer_fail(struct image_writer *w, const struct error *why);
uint64_t image_writer_bytes(const struct image_writer *w);
uint64_t image_writer_memory(const struct image_writer *w); /* bytes of pages, before compression */
void image_writer_free(struct image_writer *w);             /* takes NULL */

struct image_reader;

struct image_info { /* the header, checked */
	uint32_t version_major, version_minor;
	uint64_t created_us; /* since the epoch */
	uint8_t id[16];
	char kernel_release[65];
	char stasis_version[32];
};

struct image_totals { /* the trailer, when it has been seen and is right */
	uint64_t n_messages, n_blocks;
	uint64_t n_data_pages, n_zero_pages;
	uint64_t size; /* bytes of the whole image */
};

struct record {
	uint32_t type, object;
	uint64_t offset; /* in the stream */
	const void
		*body; /* valid until record_release(); a file's page block: NULL until decoded */
	size_t size;
	void *owned; /* what record_release() frees */
	/* page blocks: for image_block_decode() */
	struct image_reader *reader;
	uint32_t padding, flags;
	uint64_t checksum;
};

/* reads and checks the header; @fd stays the caller's */
int image_reader_new(struct image_reader **ret, int fd, struct error *err);
/*
 * Of a regular file: is the end there? So that a copy that is not complete is rejected before
 * anything is made of it; a stream shows its end only when it is reached. (A checkpoint that failed
 * says why where image_reader_next() finds it, so call that first to get at the metadata.)
 */
int image_reader_complete(struct image_reader *r, struct error *err);
const struct image_info *image_reader_info(const struct image_reader *r);
/* NULL before the end */
const struct image_totals *image_reader_totals(const struct image_reader *r);
/*
 * The next record: 1, or 0 at the end, when the trailer has been verified. Checksums of message
 * records are verified here, those of page blocks by image_block_decode(). Not for two threads at
 * once.
 */
int image_reader_next(struct image_reader *r, struct record *ret, struct error *err);
void record_release(struct record *record);
/*
 * Verifies and decompresses a page block (of a file: reads it first); thread-safe.
 * @buffer:	room for IMAGE_BLOCK_PAGES pages; ret->data points into it or into what the record
 *		owns: release it after use, in any thread.
 * ret->runs points into @runs (room for IMAGE_BLOCK_PAGES entries).
 */
int image_block_decode(struct record *record, void *buffer, struct page_run *runs,
                       struct page_block *ret, struct error *err);
/*
 * Unpacks a message with a bounded allocator (at most 16 MiB for one record of 1 MiB). Fields that
 * this build does not know are an error. The data of bytes fields is never NULL.
 */
int image_message_decode(const struct record *record, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **ret, struct error *err);
void image_reader_free(struct image_reader *r); /* takes NULL */
