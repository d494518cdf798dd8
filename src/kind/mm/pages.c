/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: contents of memory into page blocks, in parallel. See pages.h. */
#include "kind/mm/pages.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/progress.h"
#include "kind/mm/mm.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define BLOCK_SIZE  (IMAGE_BLOCK_PAGES * MM_PAGE)
#define THREADS_MAX 16
#define SPAN_PAGES  2048u /* pagemap entries read at once */

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

uint64_t pages_bytes(const struct page_range *ranges, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += ranges[i].zero ? 0 : ranges[i].end - ranges[i].start;
	return bytes;
}

size_t pages_above(const struct page_range *ranges, size_t n, uint64_t address)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (ranges[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool pages_overlap(const struct page_range *ranges, size_t n, uint64_t start, uint64_t end)
{
	size_t i = pages_above(ranges, n, start);

	return i < n && ranges[i].start < end;
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
	unsigned wanted = helpers(pages_bytes(ranges, n)), started = 0;

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
			/*
			 * on 6.13 and 6.14 guard regions look like swapped pages; never a zero page
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

int pages_source_open(struct pages_source *source, const struct task *task, struct error *err)
{
	source->pid = task->tid;
	source->mem = task_openat(task, "mem", O_RDONLY | O_CLOEXEC);
	if (source->mem < 0)
		return error_raise(err, -source->mem, "opening /proc/%d/mem", (int)task->tid);
	source->pagemap = task_openat(task, "pagemap", O_RDONLY | O_CLOEXEC);
	if (source->pagemap < 0)
		return error_raise(err, -source->pagemap, "opening /proc/%d/pagemap",
		                   (int)task->tid);
	return 0;
}

void pages_source_close(struct pages_source *source)
{
	close_p(&source->mem);
	close_p(&source->pagemap);
}

/* may reading it with a pin make the kernel copy it? Swapped pages do not tell. */
static bool may_be_shared(uint64_t entry)
{
	if (entry & PAGEMAP_SWAPPED)
		return true;
	return entry & PAGEMAP_PRESENT && !(entry & (PAGEMAP_EXCLUSIVE | PAGEMAP_FILE));
}

/* 1 when there is a page in the runs that may be shared; reads pagemap in few large pieces */
static int any_shared(const struct pages_source *source, const struct page_run *runs, uint32_t n,
                      struct error *err)
{
	uint64_t entries[SPAN_PAGES];

	for (uint32_t i = 0; i < n && source->n_shared; i++)
		if (!runs[i].zero &&
		    pages_overlap(source->shared, source->n_shared, runs[i].start * MM_PAGE,
		                  (runs[i].start + runs[i].n_pages) * MM_PAGE))
			return 1;
	for (uint32_t i = 0, last; i < n; i = last) {
		uint64_t start = runs[i].start, end = start;
		for (last = i; last < n; last++) {
			if (!runs[last].zero &&
			    runs[last].start + runs[last].n_pages - start > SPAN_PAGES)
				break;
			if (!runs[last].zero)
				end = runs[last].start + runs[last].n_pages;
		}
		if (runs[i].zero) { /* begin with one that is not */
			last = i + 1;
			continue;
		}
		int r = pagemap_entries(source->pagemap, start * MM_PAGE, entries, end - start,
		                        err);
		if (r < 0)
			return error_trace(err, r);
		for (uint32_t k = i; k < last; k++)
			for (uint64_t p = runs[k].start;
			     !runs[k].zero && p < runs[k].start + runs[k].n_pages; p++)
				if (may_be_shared(entries[p - start]))
					return 1;
	}
	return 0;
}

/* all of it through /proc/PID/mem, which takes references but does not pin */
static int read_gently(const struct pages_source *source, const struct page_run *runs,
                       uint32_t n_runs, char *at, struct error *err)
{
	for (uint32_t i = 0; i < n_runs; i++) {
		size_t size = runs[i].n_pages * MM_PAGE;
		if (runs[i].zero)
			continue;
		int r = read_run(source, runs[i].start * MM_PAGE, at, size, err);
		if (r < 0)
			return error_trace(err, r);
		at += size;
	}
	return 0;
}

/*
 * the most runs that one process_vm_readv takes; returns how many bytes came, from runs[first] on
 */
static ssize_t read_vector(const struct pages_source *source, const struct page_run *runs,
                           uint32_t n_runs, char *at, size_t *ret_size)
{
	struct iovec remote[IMAGE_BLOCK_PAGES];
	size_t size = 0;
	unsigned n = 0;

	for (uint32_t i = 0; i < n_runs; i++) {
		if (runs[i].zero)
			continue;
		remote[n++] = (struct iovec){ (void *)(uintptr_t)(runs[i].start * MM_PAGE),
			                      runs[i].n_pages * MM_PAGE };
		size += runs[i].n_pages * MM_PAGE;
	}
	struct iovec local = { at, size };
	*ret_size = size;
	return n ? process_vm_readv(source->pid, &local, 1, remote, n, 0) : 0;
}

int pages_read(const struct pages_source *source, const struct page_run *runs, uint32_t n_runs,
               void *buffer, struct error *err)
{
	char *at = buffer;
	int shared = any_shared(source, runs, n_runs, err);

	if (shared < 0)
		return error_trace(err, shared);
	if (shared)
		return read_gently(source, runs, n_runs, at, err);
	while (n_runs > 0) {
		size_t size;
		ssize_t got = read_vector(source, runs, n_runs, at, &size);
		if (got == (ssize_t)size)
			return 0;
		if (got < 0)
			got = 0;
		/* whole runs that came; the one that stopped it is read the other way */
		for (; runs->zero || (size_t)got >= runs->n_pages * MM_PAGE; runs++, n_runs--) {
			size_t bytes = runs->zero ? 0 : runs->n_pages * MM_PAGE;
			got -= (ssize_t)bytes;
			at += bytes;
		}
		int r = read_gently(source, runs, 1, at, err);
		if (r < 0)
			return error_trace(err, r);
		at += runs->n_pages * MM_PAGE;
		runs++;
		n_runs--;
	}
	return 0;
}
