/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See stream.h. The caller fills one buffer after the other; threads hand them to the image's
 * writer, which gives them their places in the order in which they were filled. A buffer goes
 * free -> being filled -> full -> being written -> free.
 */
#include <stdlib.h>
#include <string.h>

#include "core/crew.h"
#include "core/progress.h"
#include "core/stream.h"
#include "image/image.h"
#include "util/alloc.h"

#define PAGE        4096u
#define BUFFER_SIZE ((size_t)IMAGE_BLOCK_PAGES * PAGE)
#define BUFFERS_MAX (2 * CREW_MAX)

struct buffer {
	char *data;
	size_t size;     /* bytes filled */
	uint64_t number; /* in the stream */
	enum { FREE, FULL, BUSY } state;
};

struct stream_out {
	struct image_writer *image;
	struct progress *progress;
	uint32_t object, page_set;
	struct image_order order;

	struct crew crew; /* its lock is for what follows */
	struct buffer buffers[BUFFERS_MAX];
	unsigned n_buffers;
	struct buffer *filling; /* only the caller's; NULL: none */
	uint64_t n_full;        /* so many have become full */
};

struct stream_out *stream_out_new(struct image_writer *image, uint32_t object, uint32_t page_set,
                                  struct progress *progress)
{
	struct stream_out *s = xcalloc(1, sizeof(*s));

	s->image = image;
	s->object = object;
	s->page_set = page_set;
	s->progress = progress;
	crew_init(&s->crew);
	return s;
}

/* ---- threads ---- */

static void write_buffer(struct stream_out *s, const struct buffer *b)
{
	uint32_t n_pages = (uint32_t)((b->size + PAGE - 1) / PAGE);
	struct page_run run = { b->number * IMAGE_BLOCK_PAGES, n_pages, 0 };
	struct page_block block = {
		.object = s->object,
		.page_set = s->page_set,
		.n_runs = 1,
		.runs = &run,
		.data = b->data,
		.data_size = (size_t)n_pages * PAGE,
	};
	struct error err = ERROR_INIT;

	memset(b->data + b->size, 0, block.data_size - b->size);
	int r = image_writer_block_in_order(s->image, &block, &s->order, b->number, &err);
	progress_add(s->progress, b->size);
	if (r < 0)
		crew_fail(&s->crew, r, &err);
}

/* the full buffer that comes first: who waits for its turn waits only for those that are on it */
static struct buffer *first_full(struct stream_out *s)
{
	struct buffer *first = NULL;

	for (unsigned i = 0; i < s->n_buffers; i++) {
		struct buffer *b = &s->buffers[i];
		if (b->state == FULL && (!first || b->number < first->number))
			first = b;
	}
	return first;
}

static void *work(void *p)
{
	struct stream_out *s = p;

	pthread_mutex_lock(&s->crew.lock);
	for (;;) {
		struct buffer *b = first_full(s);
		if (!b && s->crew.end)
			break;
		if (!b) {
			pthread_cond_wait(&s->crew.changed, &s->crew.lock);
			continue;
		}
		b->state = BUSY;
		pthread_mutex_unlock(&s->crew.lock);
		write_buffer(s, b);
		pthread_mutex_lock(&s->crew.lock);
		b->state = FREE;
		pthread_cond_broadcast(&s->crew.changed);
	}
	pthread_mutex_unlock(&s->crew.lock);
	return NULL;
}

/* ---- the caller ---- */

/* under the lock; NULL when all are in use and no more may be made */
static struct buffer *get_free(struct stream_out *s)
{
	for (unsigned i = 0; i < s->n_buffers; i++)
		if (s->buffers[i].state == FREE)
			return &s->buffers[i];
	if (s->n_buffers == s->crew.n_wanted + 1)
		return NULL;
	struct buffer *b = &s->buffers[s->n_buffers++];
	b->data = crew_buffer();
	return b;
}

static int room(void *context, void **ret, size_t *ret_size, struct error *err)
{
	struct stream_out *s = context;
	int r = 0;

	if (!s->filling) {
		pthread_mutex_lock(&s->crew.lock);
		while ((r = crew_check(&s->crew, err)) == 0 && !(s->filling = get_free(s)))
			pthread_cond_wait(&s->crew.changed, &s->crew.lock);
		pthread_mutex_unlock(&s->crew.lock);
		if (r < 0)
			return error_trace(err, r);
		s->filling->size = 0;
	}
	*ret = s->filling->data + s->filling->size;
	*ret_size = BUFFER_SIZE - s->filling->size;
	return 0;
}

/* a thread more for a stream that turns out long; without any, the caller does it */
static void hand_over(struct stream_out *s)
{
	struct buffer *b = s->filling;

	s->filling = NULL;
	b->number = s->n_full++;
	if (b->number)
		crew_hire(&s->crew, work, s);
	if (s->crew.n == 0) {
		write_buffer(s, b);
		return;
	}
	pthread_mutex_lock(&s->crew.lock);
	b->state = FULL;
	pthread_cond_broadcast(&s->crew.changed);
	pthread_mutex_unlock(&s->crew.lock);
}

static int filled(void *context, size_t size, struct error *err)
{
	struct stream_out *s = context;

	s->filling->size += size;
	if (s->filling->size == BUFFER_SIZE)
		hand_over(s);
	return 0;
}

struct byte_sink stream_out_sink(struct stream_out *s)
{
	return (struct byte_sink){ .context = s, .room = room, .filled = filled };
}

int stream_out_end(struct stream_out *s, struct error *err)
{
	if (s->filling && s->filling->size)
		hand_over(s);
	crew_end(&s->crew);
	int r = crew_check(&s->crew, err);
	return r < 0 ? error_trace(err, r) : 0;
}

void stream_out_free(struct stream_out *s)
{
	if (!s)
		return;
	crew_end(&s->crew);
	for (unsigned i = 0; i < s->n_buffers; i++)
		free(s->buffers[i].data);
	crew_done(&s->crew);
	free(s);
}
