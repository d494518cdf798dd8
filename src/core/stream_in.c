/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See stream.h. Threads take records from the image, one at a time and in order, and decode them
 * each into the slot of its number; the caller goes through the slots. A slot goes
 * free -> being decoded -> ready -> lent to the caller, page run by page run -> free.
 */
#include <pthread.h>
#include <stdlib.h>

#include "core/contents.h"
#include "core/crew.h"
#include "core/progress.h"
#include "core/stream.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE      4096u
#define SLOTS_MAX (CREW_MAX + 1)

struct slot {
	char *buffer;
	struct page_run *runs;
	struct record record; /* owns what block points to */
	struct page_block block;
	bool ready;
};

struct stream_in {
	struct contents *contents;
	struct progress *progress;
	uint32_t object, n_streams;
	unsigned n_slots;
	bool started;

	/* the caller's */
	struct slot *slot;  /* that it goes through; NULL: it has left the last one behind */
	uint64_t at;        /* number of that, or of the next */
	uint32_t run;       /* within its block, that comes next */
	size_t used;        /* bytes of its data */
	uint32_t stream;    /* page set */
	uint64_t next_page; /* that must come */
	uint64_t bytes;

	pthread_mutex_t reading;      /* the image: who has it may read the next record */
	struct crew crew;             /* its lock is for what follows */
	struct slot slots[SLOTS_MAX]; /* block number n lies in n % n_slots */
	uint64_t n_read;              /* so many records have been taken */
	uint64_t n_done;              /* so many slots the caller has left behind */
};

struct stream_in *stream_in_new(struct contents *contents, uint32_t object, uint32_t n,
                                struct progress *progress)
{
	struct stream_in *s = xcalloc(1, sizeof(*s));

	s->contents = contents;
	s->object = object;
	s->n_streams = n;
	s->progress = progress;
	pthread_mutex_init(&s->reading, NULL);
	crew_init(&s->crew);
	return s;
}

/* ---- threads ---- */

/* a stream has no runs but those that follow each other, 1 MiB together at most */
static int check_block(const struct page_block *b, struct error *err)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < b->n_runs; i++) {
		if (b->runs[i].start != b->runs[0].start + n)
			return error_refuse(err, CODE_image_invalid, "a stream with a gap");
		n += b->runs[i].n_pages;
	}
	if (n > IMAGE_BLOCK_PAGES)
		return error_refuse(err, CODE_image_invalid,
		                    "a page block that is no part of a stream");
	return 0;
}

static int decode(struct slot *slot, struct error *err)
{
	if (!slot->buffer)
		slot->buffer = crew_buffer();
	if (!slot->runs)
		slot->runs = xcalloc(IMAGE_BLOCK_PAGES, sizeof(*slot->runs));
	int r = image_block_decode(&slot->record, slot->buffer, slot->runs, &slot->block, err);

	return r < 0 ? error_trace(err, r) : check_block(&slot->block, err);
}

/* waits for a free slot: the one for the next record, or NULL when no more will come */
static struct slot *get_slot(struct stream_in *s)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&s->crew.lock);
	while (!s->crew.failed && !s->crew.end && s->n_read == s->n_done + s->n_slots)
		pthread_cond_wait(&s->crew.changed, &s->crew.lock);
	if (!s->crew.failed && !s->crew.end)
		slot = &s->slots[s->n_read % s->n_slots];
	pthread_mutex_unlock(&s->crew.lock);
	return slot;
}

/* takes the next record: 1, or 0 when there is none; with s->reading held */
static int read_record(struct stream_in *s, struct slot **ret, struct error *err)
{
	struct slot *slot = get_slot(s);

	if (!slot)
		return 0;
	int r = contents_next_of(s->contents, s->object, &slot->record, err);
	pthread_mutex_lock(&s->crew.lock);
	if (r > 0)
		s->n_read++;
	else
		s->crew.end = true;
	pthread_cond_broadcast(&s->crew.changed);
	pthread_mutex_unlock(&s->crew.lock);
	*ret = slot;
	return r;
}

/* one record: 1, or 0 when there are no more */
static int step(struct stream_in *s, struct error *err)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&s->reading);
	int r = read_record(s, &slot, err);
	pthread_mutex_unlock(&s->reading);
	if (r <= 0)
		return r;
	r = decode(slot, err);
	pthread_mutex_lock(&s->crew.lock);
	slot->ready = r == 0;
	pthread_cond_broadcast(&s->crew.changed);
	pthread_mutex_unlock(&s->crew.lock);
	if (r < 0)
		record_release(&slot->record);
	return r < 0 ? r : 1;
}

static void *work(void *p)
{
	struct stream_in *s = p;
	struct error err = ERROR_INIT;
	int r;

	while ((r = step(s, &err)) > 0)
		;
	if (r < 0)
		crew_fail(&s->crew, r, &err);
	return NULL;
}

/*
 * A process that is to have its children in another pid namespace may have no threads: then the
 * caller decodes for itself.
 */
static void start(struct stream_in *s)
{
	s->started = true;
	s->n_slots = s->crew.n_wanted + 1;
	for (unsigned i = 0; i < s->crew.n_wanted; i++)
		crew_hire(&s->crew, work, s);
}

/* ---- the caller ---- */

/* the caller has done with its slot */
static void leave(struct stream_in *s)
{
	struct slot *slot = take_ptr(s->slot);

	record_release(&slot->record);
	s->run = 0;
	s->used = 0;
	s->at++;
	pthread_mutex_lock(&s->crew.lock);
	slot->ready = false;
	s->n_done++;
	pthread_cond_broadcast(&s->crew.changed);
	pthread_mutex_unlock(&s->crew.lock);
}

/* waits for the next slot: 1, or 0 at the end */
static int arrive(struct stream_in *s, struct error *err)
{
	struct slot *slot = &s->slots[s->at % s->n_slots];
	int r = 0;

	if (s->crew.n == 0 && !s->crew.end && (r = step(s, err)) < 0)
		return error_trace(err, r);
	pthread_mutex_lock(&s->crew.lock);
	while (!slot->ready && !s->crew.failed && !(s->crew.end && s->at == s->n_read))
		pthread_cond_wait(&s->crew.changed, &s->crew.lock);
	if (slot->ready) {
		s->slot = slot;
		r = 1;
	} else {
		r = crew_check(&s->crew, err);
	}
	pthread_mutex_unlock(&s->crew.lock);
	return r < 0 ? error_trace(err, r) : r;
}

static void lend(struct stream_in *s, const void **ret, size_t *ret_size)
{
	static const char zeros[IMAGE_BLOCK_PAGES * PAGE];
	const struct page_block *block = &s->slot->block;
	const struct page_run *run = &block->runs[s->run++];

	*ret_size = (size_t)run->n_pages * PAGE;
	*ret = run->zero ? zeros : (const char *)block->data + s->used;
	s->used += run->zero ? 0 : *ret_size;
	s->next_page += run->n_pages;
	s->bytes += *ret_size;
	progress_add(s->progress, *ret_size);
}

static int next(void *context, const void **ret, size_t *ret_size, struct error *err)
{
	struct stream_in *s = context;

	if (!s->started)
		start(s);
	if (s->slot && s->run == s->slot->block.n_runs)
		leave(s);
	if (!s->slot) {
		int r = arrive(s, err);
		if (r <= 0)
			return r;
	}
	const struct page_block *block = &s->slot->block;
	uint64_t start = block->runs[s->run].start;
	if (block->page_set == s->stream && start == s->next_page) {
		lend(s, ret, ret_size);
		return 1;
	}
	if (block->page_set == s->stream + 1 && block->page_set < s->n_streams && start == 0)
		return 0;
	return error_refuse(err, CODE_image_invalid, "a stream whose blocks are in disorder");
}

void stream_in_go_on(struct stream_in *s)
{
	s->stream++;
	s->next_page = 0;
}

struct byte_source stream_in_source(struct stream_in *s)
{
	return (struct byte_source){ .context = s, .next = next };
}

uint64_t stream_in_bytes(const struct stream_in *s)
{
	return s->bytes;
}

void stream_in_free(struct stream_in *s)
{
	if (!s)
		return;
	crew_end(&s->crew);
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		if (s->slots[i].ready)
			record_release(&s->slots[i].record);
		free(s->slots[i].buffer);
		free(s->slots[i].runs);
	}
	crew_done(&s->crew);
	pthread_mutex_destroy(&s->reading);
	free(s);
}
