/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart, phase fill: page blocks from the stream into the tasks. One thread reads, several decode
 * and write. The queue is short, so memory stays bounded whatever the image holds.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/progress.h"
#include "core/restart_parts.h"
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

static int take_block(struct restart *r, struct record *record, struct scratch *scratch,
                      struct error *err)
{
	struct object *object = objects_by_id(r->objects, record->object);
	struct page_block block;

	if (!object || !object->kind->restore_bulk)
		return error_refuse(err, CODE_image_invalid,
		                    "a page block of object %u, which takes none", record->object);
	int e = image_block_decode(record, scratch->buffer, scratch->runs, &block, err);
	if (e < 0)
		return error_trace(err, e);
	e = object->kind->restore_bulk(r, object, &block, err);
	if (e < 0) {
		error_object(err, "%s %u", object->kind->name, object->id);
		return error_trace(err, e);
	}
	atomic_fetch_add(&r->memory_bytes, block.data_size);
	progress_add(r->options->progress, block.data_size);
	return 0;
}

/* the record read ahead, or the next one: 1; 0 at the verified end */
static int next_record(struct restart *r, struct record *ret, struct error *err)
{
	int e;

	if (r->verified)
		return 0;
	if (r->next_record.type) {
		*ret = r->next_record;
		r->next_record.type = 0;
		return 1;
	}
	e = image_reader_next(r->reader, ret, err);
	if (e < 0)
		return error_trace(err, e);
	if (e == 0) {
		r->verified = true;
		return 0;
	}
	if (ret->type != IMAGE_PAGES) {
		error_refuse(err, CODE_image_invalid, "a record of type %u among the page blocks",
		             ret->type);
		record_release(ret);
		return -EOPNOTSUPP;
	}
	return 1;
}

int restart_next_block(struct restart *r, struct error *err)
{
	_cleanup_(free_p) struct scratch *scratch = NULL;
	struct record record;
	int e = next_record(r, &record, err);

	if (e <= 0)
		return e < 0 ? error_trace(err, e) : 0;
	scratch = xmalloc(sizeof(*scratch));
	e = take_block(r, &record, scratch, err);
	record_release(&record);
	return e < 0 ? error_trace(err, e) : 1;
}

struct filling {
	struct restart *r;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct record queue[QUEUE_MAX];
	size_t n;
	bool end; /* nothing more will come */
	int failed;
	struct error *err; /* the first failure's */
};

static void *fill_thread(void *arg)
{
	struct filling *f = arg;
	struct scratch *scratch = xmalloc(sizeof(*scratch));
	struct error err = ERROR_INIT;

	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (f->n == 0 && !f->end)
			pthread_cond_wait(&f->changed, &f->lock);
		if (f->n == 0)
			break;
		struct record record = f->queue[--f->n];
		bool skip = f->failed < 0;
		pthread_cond_broadcast(&f->changed);
		pthread_mutex_unlock(&f->lock);
		int e = skip ? 0 : take_block(f->r, &record, scratch, &err);
		record_release(&record);
		pthread_mutex_lock(&f->lock);
		if (e < 0 && f->failed == 0) {
			f->failed = e;
			*f->err = err;
		}
	}
	pthread_mutex_unlock(&f->lock);
	free(scratch);
	return NULL;
}

/* false when a thread has failed and reading on makes no sense */
static bool enqueue(struct filling *f, struct record *record)
{
	bool failed;

	pthread_mutex_lock(&f->lock);
	while (f->n == QUEUE_MAX)
		pthread_cond_wait(&f->changed, &f->lock);
	f->queue[f->n++] = *record;
	failed = f->failed < 0;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return !failed;
}

static size_t start_threads(struct filling *f, pthread_t *threads)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = 0, want = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus;

	while (n < want && pthread_create(&threads[n], NULL, fill_thread, f) == 0)
		n++;
	return n;
}

int restart_fill(struct restart *r, struct error *err)
{
	struct error worker_err = ERROR_INIT;
	struct filling f = { .r = r,
		             .lock = PTHREAD_MUTEX_INITIALIZER,
		             .changed = PTHREAD_COND_INITIALIZER,
		             .err = &worker_err };
	pthread_t threads[THREADS_MAX];
	struct record record;
	size_t n = 0;
	int e;

	while ((e = next_record(r, &record, err)) > 0) {
		if (n == 0 && (n = start_threads(&f, threads)) == 0) {
			record_release(&record);
			return error_raise(err, EAGAIN, "start a thread");
		}
		if (!enqueue(&f, &record))
			break;
	}
	pthread_mutex_lock(&f.lock);
	f.end = true;
	pthread_cond_broadcast(&f.changed);
	pthread_mutex_unlock(&f.lock);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	if (f.failed < 0) {
		*err = worker_err;
		return error_trace(err, f.failed);
	}
	return e < 0 ? error_trace(err, e) : 0;
}
