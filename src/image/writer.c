/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image writer: places records one after the other, keeps the index and ends with the trailer.
 *
 * A record's place is reserved under the lock, where its header's checksum is made too (it depends
 * on the place); the record is then written without the lock when the output is seekable. Messages
 * are small: they gather in a buffer that goes out before the first page block or when it is full.
 * The first failure sticks: whoever comes later gets the same error.
 */
#include <elf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <xxhash.h>

#include "image/block.h"
#include "image/compress.h"
#include "image/format.h"
#include "image/image.h"
#include "image/output.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define GATHER_SIZE (256u << 10)

struct image_writer {
	struct output output;
	struct image_writer_options options;
	uint8_t id[16];
	struct scratch_pool scratches;

	pthread_mutex_t lock;   /* for all that follows, and every struct image_order */
	pthread_cond_t in_turn; /* an order has gone on, or there is a failure */
	uint64_t size;          /* bytes placed so far */
	char *gathered;         /* small records at gathered_at, not yet written */
	size_t gathered_size;
	uint64_t gathered_at;
	struct image_index_entry *index;
	size_t n_index;
	struct image_trailer counts;
	struct error failure; /* errnum != 0: nothing more is written */
};

/* what a record consists of, in the order in which it is written */
struct parts {
	struct image_record_header header;
	struct iovec iov[5]; /* [0] header, [1] padding, [2]... body */
	int n_iov;
};

static const char zeros[IMAGE_PAGE_SIZE];

static int stick(struct image_writer *w, struct error *err, int r)
{
	if (r < 0 && !w->failure.errnum) {
		w->failure = *err;
		pthread_cond_broadcast(&w->in_turn);
	}
	return r;
}

static int check_failure(const struct image_writer *w, struct error *err)
{
	if (!w->failure.errnum)
		return 0;
	*err = w->failure;
	return -err->errnum;
}

static int flush(struct image_writer *w, struct error *err)
{
	struct iovec iov = { w->gathered, w->gathered_size };

	w->gathered_size = 0;
	return output_write(&w->output, w->gathered_at, &iov, 1, err);
}

/* appends bytes to the buffer of small records; under the lock, or before there are threads */
static int gather(struct image_writer *w, const void *data, size_t size, struct error *err)
{
	if (w->gathered_size + size > GATHER_SIZE) {
		int r = flush(w, err);
		if (r < 0)
			return r;
	}
	if (w->gathered_size == 0)
		w->gathered_at = w->size;
	if (size > GATHER_SIZE) {
		struct iovec iov = { (void *)data, size };
		w->size += size;
		return output_write(&w->output, w->gathered_at, &iov, 1, err);
	}
	memcpy(w->gathered + w->gathered_size, data, size);
	w->gathered_size += size;
	w->size += size;
	return 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

static int write_header(struct image_writer *w, struct error *err)
{
	struct image_header header = {
		.version_major = IMAGE_VERSION_MAJOR,
		.version_minor = IMAGE_VERSION_MINOR,
		.arch = EM_X86_64,
		.page_size = IMAGE_PAGE_SIZE,
	};
	struct timespec now;
	struct utsname host;

	memcpy(header.magic, IMAGE_MAGIC, sizeof(header.magic));
	if (getrandom(header.id, sizeof(header.id), 0) != sizeof(header.id))
		return error_raise(err, errno, "getrandom for the image's id");
	header.id[6] = (header.id[6] & 0x0f) | 0x40; /* RFC 4122: version 4, random */
	header.id[8] = (header.id[8] & 0x3f) | 0x80;
	memcpy(w->id, header.id, sizeof(w->id));
	clock_gettime(CLOCK_REALTIME, &now);
	header.created_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	if (w->options.compression == IMAGE_ZSTD)
		header.needed |= IMAGE_NEEDS_ZSTD;
	if (w->options.compression == IMAGE_LZ4)
		header.needed |= IMAGE_NEEDS_LZ4;
	uname(&host);
	copy_text(header.kernel_release, 65, host.release);
	copy_text(header.stasis_version, sizeof(header.stasis_version), STASIS_VERSION);
	header.checksum = XXH3_64bits(&header, offsetof(struct image_header, checksum));
	return gather(w, &header, sizeof(header), err);
}

int image_writer_new(struct image_writer **ret, int fd, const struct image_writer_options *options,
                     struct error *err)
{
	struct image_writer *w = xcalloc(1, sizeof(*w));

	w->options = *options;
	output_init(&w->output, fd);
	scratch_pool_init(&w->scratches);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->in_turn, NULL);
	w->gathered = xmalloc(GATHER_SIZE);
	int r = write_header(w, err);
	if (r < 0) {
		image_writer_free(w);
		return error_trace(err, r);
	}
	*ret = w;
	return 0;
}

static void note_in_index(struct image_writer *w, const struct image_record_header *h)
{
	*array_push(w->index, w->n_index) = (struct image_index_entry){
		.offset = w->size,
		.body_checksum = h->body_checksum,
		.type = h->type,
		.object = h->object,
		.flags = h->flags,
		.length = (uint32_t)h->length,
	};
}

static void seal(const struct image_writer *w, struct image_record_header *h)
{
	h->checksum = XXH3_64bits_withSeed(h, offsetof(struct image_record_header, checksum),
	                                   image_record_seed(w->id, w->size));
}

/* a record that gathers with others; under the lock */
static int append_small(struct image_writer *w, struct image_record_header *h, const void *body,
                        struct error *err)
{
	seal(w, h);
	int r = gather(w, h, sizeof(*h), err);
	if (r == 0)
		r = gather(w, body, h->length, err);
	return r;
}

int image_writer_message(struct image_writer *w, uint32_t type, uint32_t object,
                         const ProtobufCMessage *message, struct error *err)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	if (size > IMAGE_RECORD_MAX)
		return error_raise(err, EMSGSIZE,
		                   "a %s message of %zu bytes is over the image's limit of %u",
		                   message->descriptor->short_name, size, IMAGE_RECORD_MAX);
	_cleanup_(free_p) void *body = xmalloc(size);
	protobuf_c_message_pack(message, body);
	struct image_record_header h = {
		.type = type,
		.object = object,
		.length = size,
		.body_checksum = XXH3_64bits(body, size),
	};
	pthread_mutex_lock(&w->lock);
	int r = check_failure(w, err);
	if (r == 0 && w->counts.n_blocks)
		r = error_raise(err, EINVAL, "a message after the first page block");
	if (r == 0) {
		note_in_index(w, &h);
		w->counts.n_messages++;
		r = stick(w, err, append_small(w, &h, body, err));
	}
	pthread_mutex_unlock(&w->lock);
	return r < 0 ? error_trace(err, r) : 0;
}

/* so many zero bytes before the body that uncompressed pages lie page-aligned in the file */
static uint32_t padding_for(const struct image_writer *w, const struct encoded_block *b)
{
	if (!w->output.seekable || b->compression != IMAGE_RAW || b->data_size == 0)
		return 0;
	uint64_t data_at = w->output.base + w->size + sizeof(struct image_record_header) +
	                   b->meta_size;
	return (uint32_t)(-data_at % IMAGE_PAGE_SIZE);
}

/* gives the block its place; under the lock */
static uint64_t place_block(struct image_writer *w, const struct encoded_block *b,
                            struct parts *parts)
{
	struct image_record_header *h = &parts->header;
	uint64_t at = w->size;

	h->padding = padding_for(w, b);
	seal(w, h);
	note_in_index(w, h);
	w->counts.n_blocks++;
	w->counts.n_data_pages += b->n_data_pages;
	w->counts.n_zero_pages += b->n_zero_pages;
	w->size += sizeof(*h) + h->padding + h->length;
	parts->iov[0] = (struct iovec){ h, sizeof(*h) };
	parts->iov[1] = (struct iovec){ (void *)zeros, h->padding };
	parts->iov[2] = (struct iovec){ (void *)b->meta, b->meta_size };
	parts->iov[3] = (struct iovec){ (void *)b->data, b->data_size };
	parts->n_iov = 4;
	return at;
}

/* a block on its way, and its place in an order, if there is one */
struct writing {
	struct image_writer *w;
	struct image_order *order;
	uint64_t number;
};

/* under the lock, which it gives up meanwhile */
static int wait_for_turn(const struct writing *writing, struct error *err)
{
	struct image_writer *w = writing->w;

	while (writing->order && writing->order->next != writing->number && !w->failure.errnum)
		pthread_cond_wait(&w->in_turn, &w->lock);
	return check_failure(w, err);
}

static void pass_turn(const struct writing *writing)
{
	if (!writing->order)
		return;
	writing->order->next++;
	pthread_cond_broadcast(&writing->w->in_turn);
}

/* block_encode() calls it for each block that it makes */
static int write_block(void *context, const struct encoded_block *b, struct error *err)
{
	const struct writing *writing = context;
	struct image_writer *w = writing->w;
	struct parts parts = { .header = {
				       .type = IMAGE_PAGES,
				       .flags = b->compression,
				       .object = b->object,
				       .length = b->meta_size + b->data_size,
				       .body_checksum = b->checksum,
			       } };

	pthread_mutex_lock(&w->lock);
	int r = wait_for_turn(writing, err);
	if (r == 0 && w->gathered_size)
		r = stick(w, err, flush(w, err));
	if (r < 0) {
		pthread_mutex_unlock(&w->lock);
		return r;
	}
	uint64_t at = place_block(w, b, &parts);
	pass_turn(writing);
	if (!w->output.seekable)
		r = stick(w, err, output_write(&w->output, at, parts.iov, parts.n_iov, err));
	pthread_mutex_unlock(&w->lock);
	if (!w->output.seekable)
		return r;
	r = output_write(&w->output, at, parts.iov, parts.n_iov, err);
	if (r < 0) {
		pthread_mutex_lock(&w->lock);
		stick(w, err, r);
		pthread_mutex_unlock(&w->lock);
	}
	return r;
}

static int encode_block(const struct writing *writing, const struct page_block *block,
                        struct error *err)
{
	struct image_writer *w = writing->w;
	_cleanup_(scratch_putp) struct scratch *scratch = scratch_get(&w->scratches);

	return block_encode(scratch, &w->options, block, write_block, (void *)writing, err);
}

int image_writer_block(struct image_writer *w, const struct page_block *block, struct error *err)
{
	int r = encode_block(&(struct writing){ .w = w }, block, err);

	return r < 0 ? error_trace(err, r) : 0;
}

int image_writer_block_in_order(struct image_writer *w, const struct page_block *block,
                                struct image_order *order, uint64_t number, struct error *err)
{
	struct writing writing = { w, order, number };
	int r = encode_block(&writing, block, err);

	if (r == 0)
		return 0;
	pthread_mutex_lock(&w->lock); /* nobody waits for a block that will not come */
	stick(w, err, r);
	pthread_mutex_unlock(&w->lock);
	return error_trace(err, r);
}

static int write_trailer(struct image_writer *w, struct error *err)
{
	size_t index_size = w->n_index * sizeof(*w->index);
	size_t size = sizeof(w->counts) + index_size;
	_cleanup_(free_p) char *body = xmalloc(size);
	struct image_footer footer = { .trailer_offset = w->size };

	w->counts.index_checksum = XXH3_64bits(w->index, index_size);
	memcpy(body, &w->counts, sizeof(w->counts));
	if (index_size)
		memcpy(body + sizeof(w->counts), w->index, index_size);
	struct image_record_header h = {
		.type = IMAGE_TRAILER,
		.length = size,
		.body_checksum = XXH3_64bits(body, size),
	};
	int r = append_small(w, &h, body, err);
	if (r < 0)
		return r;
	memcpy(footer.magic, IMAGE_FOOTER_MAGIC, sizeof(footer.magic));
	footer.checksum = XXH3_64bits_withSeed(&footer, offsetof(struct image_footer, checksum),
	                                       image_record_seed(w->id, w->size));
	return gather(w, &footer, sizeof(footer), err);
}

int image_writer_finish(struct image_writer *w, struct error *err)
{
	pthread_mutex_lock(&w->lock);
	int r = check_failure(w, err);
	if (r == 0)
		r = write_trailer(w, err);
	if (r == 0)
		r = flush(w, err);
	if (r == 0)
		r = output_finish(&w->output, w->size, err);
	stick(w, err, r);
	pthread_mutex_unlock(&w->lock);
	return r < 0 ? error_trace(err, r) : 0;
}

void image_writer_fail(struct image_writer *w, const struct error *why)
{
	struct error ignored;
	char text[sizeof(why->cause) + sizeof(why->comm) + sizeof(why->object) + 64];
	int n = why->pid ? snprintf(text, sizeof(text), "pid %d (%s): %s%s%s", why->pid, why->comm,
	                            why->object, why->object[0] ? ": " : "", why->cause)
	                 : snprintf(text, sizeof(text), "%s%s%s", why->object,
	                            why->object[0] ? ": " : "", why->cause);
	struct image_record_header h = {
		.type = IMAGE_ERROR,
		.length = (uint64_t)n,
		.body_checksum = XXH3_64bits(text, (size_t)n),
	};

	pthread_mutex_lock(&w->lock);
	/* after a failed write the stream may end in the middle of a record: nothing to add */
	if (!w->failure.errnum && append_small(w, &h, text, &ignored) == 0)
		(void)flush(w, &ignored);
	w->failure = *why;
	pthread_mutex_unlock(&w->lock);
}

uint64_t image_writer_memory(const struct image_writer *w)
{
	return w->counts.n_data_pages * IMAGE_PAGE_SIZE;
}

uint64_t image_writer_bytes(const struct image_writer *w)
{
	struct image_writer *unlocked = (struct image_writer *)w;

	pthread_mutex_lock(&unlocked->lock);
	uint64_t size = w->size;
	pthread_mutex_unlock(&unlocked->lock);
	return size;
}

void image_writer_free(struct image_writer *w)
{
	if (!w)
		return;
	scratch_pool_done(&w->scratches);
	pthread_cond_destroy(&w->in_turn);
	pthread_mutex_destroy(&w->lock);
	free(w->gathered);
	free(w->index);
	free(w);
}
