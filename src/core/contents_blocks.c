/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page blocks of an image: one thread reads, several decode and hand them on. The queue is
 * short, so memory stays bounded whatever the image holds.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/contents.h"
#include "kind/kind.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define QUEUE_MAX   8
#define THREADS_MAX 16
#define PAGE        4096u

struct scratch {
	char buffer[IMAGE_BLOCK_PAGES * PAGE];
	struct page_run runs[IMAGE_BLOCK_PAGES];
};

static int decode_block(const struct contents *c, struct record *record, struct scratch *scratch,
                        take_block *take, void *context, struct error *err)
{
	struct object *object = objects_by_id(c->objects, record->object);
	struct page_block block;

	if (!object || !object->kind->save_bulk)
		return error_refuse(err, CODE_image_invalid,
		                    "a page block of object %u, which takes none", record->object);
	int r = image_block_decode(record, scratch->buffer, scratch->runs, &block, err);
	if (r < 0)
		return error_trace(err, r);
	r = take(context, object, &block, err);
	if (r < 0) {
		error_object(err, "%s %u", object->kind->name, object->id);
		return error_trace(err, r);
	}
	return 0;
}

/* the record read ahead, or the next one: 1; 0 at the verified end */
static int next_record(struct contents *c, struct record *ret, struct error *err)
{
	int r;

	if (c->ended)
		return 0;
	if (c->ahead.type) {
		*ret = c->ahead;
		c->ahead.type = 0;
		return 1;
	}
	r = image_reader_next(c->reader, ret, err);
	if (r < 0)
		return error_trace(err, r);
	if (r == 0) {
		c->ended = true;
		return 0;
	}
	if (ret->type != IMAGE_PAGES) {
		r = error_refuse(err, CODE_image_invalid,
		                 "a record of type %u among the page blocks", ret->type);
		record_release(ret);
		return r;
	}
	return 1;
}

int contents_peek(struct contents *c, uint32_t *ret_object, struct error *err)
{
	struct record record;
	int r = next_record(c, &record, err);

	if (r <= 0)
		return r < 0 ? error_trace(err, r) : 0;
	c->ahead = record;
	*ret_object = record.object;
	return 1;
}

int contents_next_of(struct contents *c, uint32_t object, struct record *ret, struct error *err)
{
	struct record record;
	int r = next_record(c, &record, err);

	if (r <= 0)
		return r < 0 ? error_trace(err, r) : 0;
	if (record.object == object) {
		*ret = record;
		return 1;
	}
	c->ahead = record;
	return 0;
}

int contents_next_block(struct contents *c, take_block *take, void *context, struct error *err)
{
	_cleanup_(free_p) struct scratch *scratch = NULL;
	struct record record;
	int r = next_record(c, &record, err);

	if (r <= 0)
		return r < 0 ? error_trace(err, r) : 0;
	scratch = xmalloc(sizeof(*scratch));
	r = decode_block(c, &record, scratch, take, context, err);
	record_release(&record);
	return r < 0 ? error_trace(err, r) : 1;
}

int contents_skip_blocks(struct contents *c, struct error *err)
{
	struct record record;
	int r;

	while ((r = next_record(c, &record, err)) > 0)
		record_release(&record);
	return r < 0 ? error_trace(err, r) : 0;
}

struct walk {
	const struct contents *contents;
	take_block *take;
	void *context;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct record queue[QUEUE_MAX];
	size_t n;
	bool end; /* nothing more will come */
	int failed;
	struct error *err; /* the first failure's */
};

static void *block_thread(void *arg)
{
	struct walk *w = arg;
	struct scratch *scratch = xmalloc(sizeof(*scratch));
	struct error err = ERROR_INIT;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->n == 0 && !w->end)
			pthread_cond_wait(&w->changed, &w->lock);
		if (w->n == 0)
			break;
		struct record record = w->queue[--w->n];
		bool skip = w->failed < 0;
		pthread_cond_broadcast(&w->changed);
		pthread_mutex_unlock(&w->lock);
		int r = skip ? 0
		             : decode_block(w->contents, &record, scratch, w->take, w->context,
		                            &err);
		record_release(&record);
		pthread_mutex_lock(&w->lock);
		if (r < 0 && w->failed == 0) {
			w->failed = r;
			*w->err = err;
		}
	}
	pthread_mutex_unlock(&w->lock);
	free(scratch);
	return NULL;
}

/* false when a thread has failed and reading on makes no sense */
static bool enqueue(struct walk *w, struct record *record)
{
	bool failed;

	pthread_mutex_lock(&w->lock);
	while (w->n == QUEUE_MAX)
		pthread_cond_wait(&w->changed, &w->lock);
	w->queue[w->n++] = *record;
	failed = w->failed < 0;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return !failed;
}

static size_t start_threads(struct walk *w, pthread_t *threads)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = 0, want = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus;

	while (n < want && pthread_create(&threads[n], NULL, block_thread, w) == 0)
		n++;
	return n;
}

static void join_threads(struct walk *w, const pthread_t *threads, size_t n)
{
	pthread_mutex_lock(&w->lock);
	w->end = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static int take_alone(struct contents *c, take_block *take, void *context, struct error *err)
{
	int r;

	while ((r = contents_next_block(c, take, context, err)) > 0)
		;
	return r < 0 ? error_trace(err, r) : 0;
}

int contents_each_block(struct contents *c, take_block *take, void *context, struct error *err)
{
	struct error thread_err = ERROR_INIT;
	struct walk w = { .contents = c,
		          .take = take,
		          .context = context,
		          .lock = PTHREAD_MUTEX_INITIALIZER,
		          .changed = PTHREAD_COND_INITIALIZER,
		          .err = &thread_err };
	pthread_t threads[THREADS_MAX];
	struct record record;
	size_t n = 0;
	int r;

	while ((r = next_record(c, &record, err)) > 0) {
		if (n == 0 && (n = start_threads(&w, threads)) == 0) {
			/* a process that is to have its children in another pid namespace, and may
			 * not go back (--new-pidns as a user), may have no threads: clone(2) */
			c->ahead = record;
			return take_alone(c, take, context, err);
		}
		if (!enqueue(&w, &record))
			break;
	}
	join_threads(&w, threads, n);
	if (w.failed < 0) {
		*err = thread_err;
		return error_trace(err, w.failed);
	}
	return r < 0 ? error_trace(err, r) : 0;
}
