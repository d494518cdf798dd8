/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: contents of memory into page blocks, in parallel. See pages.h. */
#include "kind/mm/pages.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/progress.h"
#include "kind/mm/mm.h"
#include "util/alloc.h"

#define BLOCK_SIZE  (IMAGE_BLOCK_PAGES * MM_PAGE)
#define THREADS_MAX 16

/* what the threads of one pages_save() have in common */
struct job {
	struct image_writer *image;
	uint32_t object, page_set;
	const struct page_range *ranges;
	size_t n;
	pages_fetch fetch;
	void *context;
	struct progress *progress;

	pthread_mutex_t lock; /* for what follows */
	size_t at;            /* the range that is next */
	uint64_t offset;      /* bytes into it that are done */
	int result;
	struct error error; /* the first one */
};

/* takes the next stretch under the lock; returns the bytes of data, *ret_n = 0 at the end */
static size_t take(struct job *j, struct page_run *runs, uint32_t *ret_n)
{
	size_t data = 0;

	*ret_n = 0;
	pthread_mutex_lock(&j->lock);
	while (j->result >= 0 && j->at < j->n && *ret_n < IMAGE_BLOCK_PAGES && data < BLOCK_SIZE) {
		const struct page_range *range = &j->ranges[j->at];
		uint64_t start = range->start + j->offset, size = range->end - start;
		uint64_t most = range->zero ? (uint64_t)UINT32_MAX * MM_PAGE : BLOCK_SIZE - data;

		if (size > most)
			size = most;
		runs[(*ret_n)++] = (struct page_run){ start / MM_PAGE, (uint32_t)(size / MM_PAGE),
			                              range->zero };
		data += range->zero ? 0 : size;
		j->offset += size;
		if (start + size == range->end) {
			j->at++;
			j->offset = 0;
		}
	}
	pthread_mutex_unlock(&j->lock);
	return data;
}

static void fail(struct job *j, int r, const struct error *err)
{
	pthread_mutex_lock(&j->lock);
	if (j->result >= 0) {
		j->result = r;
		j->error = *err;
	}
	pthread_mutex_unlock(&j->lock);
}

static void *work(void *p)
{
	struct job *j = p;
	struct page_run *runs = xcalloc(IMAGE_BLOCK_PAGES, sizeof(*runs));
	void *buffer = xmalloc(BLOCK_SIZE);
	struct error err = ERROR_INIT;

	for (;;) {
		struct page_block block = {
			.object = j->object, .page_set = j->page_set, .runs = runs, .data = buffer
		};
		block.data_size = take(j, runs, &block.n_runs);
		if (block.n_runs == 0)
			break;
		int r = j->fetch(j->context, runs, block.n_runs, buffer, &err);
		if (r >= 0)
			r = image_writer_block(j->image, &block, &err);
		if (r < 0) {
			fail(j, r, &err);
			break;
		}
		progress_add(j->progress, block.data_size);
	}
	free(buffer);
	free(runs);
	return NULL;
}

static uint64_t data_bytes(const struct page_range *ranges, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += ranges[i].zero ? 0 : ranges[i].end - ranges[i].start;
	return bytes;
}

/* threads beside the caller: none for what one does in less time than a thread takes to start */
static unsigned helpers(uint64_t bytes)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t n = bytes / (2 * BLOCK_SIZE);

	if (cpus > THREADS_MAX)
		cpus = THREADS_MAX;
	if (cpus < 1)
		cpus = 1;
	return n < (uint64_t)cpus - 1 ? (unsigned)n : (unsigned)cpus - 1;
}

int pages_save(struct image_writer *image, uint32_t object, uint32_t page_set,
               const struct page_range *ranges, size_t n, pages_fetch fetch, void *context,
               struct progress *progress, struct error *err)
{
	struct job j = { .image = image,
		         .object = object,
		         .page_set = page_set,
		         .ranges = ranges,
		         .n = n,
		         .fetch = fetch,
		         .context = context,
		         .progress = progress };
	pthread_t threads[THREADS_MAX];
	unsigned wanted = helpers(data_bytes(ranges, n)), started = 0;

	pthread_mutex_init(&j.lock, NULL);
	while (started < wanted && pthread_create(&threads[started], NULL, work, &j) == 0)
		started++;
	work(&j); /* works alone as well if no thread is to be had */
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&j.lock);
	if (j.result < 0) {
		*err = j.error;
		return error_trace(err, j.result);
	}
	return 0;
}

/* one run through /proc/PID/mem, which reads what is mapped without PROT_READ as well */
static int read_run(const struct pages_source *source, uint64_t address, char *buffer, size_t size,
                    struct error *err)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(source->mem, buffer + done, size - done, (off_t)(address + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			/* on 6.13 and 6.14 guard regions look like swapped pages; never a zero page
			 */
			int r = error_raise(err, n < 0 ? errno : EIO,
			                    "reading memory at %llx of %d",
			                    (unsigned long long)(address + done), (int)source->pid);
			error_task(err, source->pid, "");
			return r;
		}
		done += (size_t)n;
	}
	return 0;
}

int pages_read(const struct pages_source *source, const struct page_run *runs, uint32_t n_runs,
               void *buffer, struct error *err)
{
	struct iovec remote[IMAGE_BLOCK_PAGES];
	uint32_t first = 0;
	char *at = buffer;

	while (first < n_runs) {
		size_t size = 0;
		unsigned n = 0;
		for (uint32_t i = first; i < n_runs; i++) {
			if (runs[i].zero)
				continue;
			remote[n++] = (struct iovec){ (void *)(uintptr_t)(runs[i].start * MM_PAGE),
				                      runs[i].n_pages * MM_PAGE };
			size += runs[i].n_pages * MM_PAGE;
		}
		if (n == 0)
			return 0;
		struct iovec local = { at, size };
		ssize_t got = process_vm_readv(source->pid, &local, 1, remote, n, 0);
		if (got == (ssize_t)size)
			return 0;
		if (got < 0)
			got = 0;
		/* whole runs that came; the one that stopped it is read the other way */
		while (first < n_runs &&
		       (runs[first].zero || (size_t)got >= runs[first].n_pages * MM_PAGE)) {
			size_t bytes = runs[first].zero ? 0 : runs[first].n_pages * MM_PAGE;
			got -= (ssize_t)bytes;
			at += bytes;
			first++;
		}
		if (first == n_runs)
			return 0;
		int r = read_run(source, runs[first].start * MM_PAGE, at,
		                 runs[first].n_pages * MM_PAGE, err);
		if (r < 0)
			return error_trace(err, r);
		at += runs[first].n_pages * MM_PAGE;
		first++;
	}
	return 0;
}
