/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/parallel.h"

#include <pthread.h>
#include <unistd.h>

#define THREADS_MAX 16

struct work {
	parallel_fn *fn;
	void *context;
	size_t n;
	pthread_mutex_t lock; /* for what follows */
	size_t next;
	int result;
	struct error error; /* the first one */
};

static void *work(void *p)
{
	struct work *w = p;
	struct error err = ERROR_INIT;

	pthread_mutex_lock(&w->lock);
	while (w->result >= 0 && w->next < w->n) {
		size_t i = w->next++;
		pthread_mutex_unlock(&w->lock);
		int r = w->fn(w->context, i, &err);
		pthread_mutex_lock(&w->lock);
		if (r < 0 && w->result >= 0) {
			w->result = r;
			w->error = err;
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int parallel(size_t n, parallel_fn *fn, void *context, struct error *err)
{
	struct work w = { .fn = fn, .context = context, .n = n };
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t wanted = cpus < 1 ? 0 : cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus - 1;
	size_t started = 0;

	if (wanted >= n)
		wanted = n ? n - 1 : 0;
	pthread_mutex_init(&w.lock, NULL);
	while (started < wanted && pthread_create(&threads[started], NULL, work, &w) == 0)
		started++;
	work(&w); /* alone as well, if no thread is to be had */
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&w.lock);
	if (w.result < 0)
		*err = w.error;
	return w.result < 0 ? error_trace(err, w.result) : 0;
}
