/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared memory as tasks see it. See seen.h. */
#include "kind/shmem/seen.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mm/pages.h"
#include "kind/object.h"
#include "proc/maps.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE 4096ull

void shmem_seen_add(struct shmem_seen *seen, const struct task *task, const struct proc_map *map,
                    bool in_memory)
{
	*array_push(seen->views,
	            seen->n_views) = (struct shmem_view){ task, map->start, map->end - map->start,
		                                          map->offset, !in_memory || map->swap };
}

void shmem_seen_done(struct shmem_seen *seen)
{
	free(seen->views);
	free(seen->pages);
}

/* ---- what is there ---- */

static uint64_t view_end(const struct shmem_view *v)
{
	return v->offset + v->size;
}

static int by_offset(const void *a, const void *b)
{
	const struct shmem_view *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->size < y->size) - (x->size > y->size);
}

static int refuse_parts(const char *what, struct error *err)
{
	error_refuse(err, CODE_mm_shared_parts,
	             "%s: without CAP_CHECKPOINT_RESTORE it cannot be saved", what);
	error_hint(err,
	           "run stasis as root, or with that capability; or let the program keep all of it "
	           "mapped");
	return -EOPNOTSUPP;
}

/* keeps of the views those that together show all; each begins where the one before it ends, or
 * before that */
static int find_cover(struct shmem_seen *seen, struct error *err)
{
	uint64_t end = 0;
	size_t n = 0;

	qsort(seen->views, seen->n_views, sizeof(*seen->views), by_offset);
	for (size_t i = 0; i < seen->n_views; i++) {
		const struct shmem_view *v = &seen->views[i];
		if (v->offset > end)
			return refuse_parts("nobody has mapped all of it", err);
		if (view_end(v) <= end)
			continue;
		end = view_end(v);
		seen->views[n++] = *v;
	}
	seen->n_views = n;
	return 0;
}

static bool can_read(int mem, long address)
{
	char byte;

	return pread(mem, &byte, 1, address) == 1;
}

/*
 * Whether it ends where the last view does. The task itself maps the last page once more, and what
 * would come next: that must be nothing. It is unmapped again; if the tracer dies in between, one
 * inert mapping stays.
 */
static int check_end(struct checkpoint *c, const struct shmem_view *last, struct error *err)
{
	struct injection map = { .nr = SYS_mremap,
		                 .arg = { last->start + last->size - PAGE, 0, 2 * PAGE,
		                          MREMAP_MAYMOVE } };
	_cleanup_(close_p) int mem = task_openat(last->task, "mem", O_RDONLY | O_CLOEXEC);

	if (mem < 0)
		return error_raise(err, -mem, "opening /proc/%d/mem", (int)last->task->tid);
	int r = tracer_inject(c->tracer, last->task->tid, &map, 1, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	if (map.result < 0)
		return refuse_parts("the task cannot map it once more, to see where it ends", err);
	bool ends = can_read(mem, map.result) && !can_read(mem, map.result + (long)PAGE);
	struct injection unmap = { .nr = SYS_munmap, .arg = { (uint64_t)map.result, 2 * PAGE } };
	r = tracer_inject(c->tracer, last->task->tid, &unmap, 1, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	return ends ? 0 : refuse_parts("it does not end where the mappings of it do", err);
}

static void add_pages(struct shmem_seen *seen, uint64_t start, uint64_t end)
{
	struct page_range *last = seen->n_pages ? &seen->pages[seen->n_pages - 1] : NULL;

	if (last && last->end == start)
		last->end = end;
	else
		*array_push(seen->pages, seen->n_pages) = (struct page_range){ .start = start,
			                                                       .end = end };
}

/* mincore(2) tells of what is shared whether it is there, whoever has touched it */
static int find_pages(struct checkpoint *c, struct shmem_seen *seen, const struct shmem_view *v,
                      uint64_t from, struct error *err)
{
	unsigned char there[INJECT_BUFFER_SIZE];

	for (uint64_t n; from < view_end(v); from += n * PAGE) {
		n = (view_end(v) - from) / PAGE;
		n = n < sizeof(there) ? n : sizeof(there);
		struct injection ask = { .nr = SYS_mincore,
			                 .arg = { v->start + (from - v->offset), n * PAGE, 0 },
			                 .buffer_args = 1 << 2 };
		int r = tracer_inject(c->tracer, v->task->tid, &ask, 1, there, err);
		if (r < 0)
			return error_trace(err, r);
		if (ask.result < 0)
			return error_raise(err, (int)-ask.result, "mincore of shared memory");
		for (uint64_t i = 0; i < n; i++)
			if (there[i] & 1)
				add_pages(seen, from + i * PAGE, from + (i + 1) * PAGE);
	}
	return 0;
}

static int find_all_pages(struct checkpoint *c, struct shmem_seen *seen, struct error *err)
{
	uint64_t end = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < seen->n_views; i++) {
		const struct shmem_view *v = &seen->views[i];
		if (v->unclear)
			add_pages(seen, end, view_end(v));
		else
			r = find_pages(c, seen, v, end, err);
		end = view_end(v);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int shmem_seen_judge(struct checkpoint *c, struct shmem_seen *seen, const char *what,
                     uint64_t *ret_size, struct error *err)
{
	const struct task *task = seen->views[0].task;
	int r = find_cover(seen, err);

	if (r == 0) {
		const struct shmem_view *last = &seen->views[seen->n_views - 1];
		*ret_size = view_end(last);
		check_unexamined(c, task, "where shared memory ends", CODE_mm_shared_parts);
		r = c->tracer ? check_end(c, last, err) : 0;
	}
	if (r == 0 && c->tracer)
		r = find_all_pages(c, seen, err);
	if (r == -EOPNOTSUPP) {
		error_object(err, "%s", what);
		refuse(c, task, err);
		return 0;
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- contents ---- */

/* the last view that begins at or before it: they ascend, and so do their ends */
static const struct shmem_view *view_at(const struct shmem_seen *seen, uint64_t offset)
{
	size_t low = 0, high = seen->n_views;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;
		if (seen->views[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &seen->views[low];
}

/* as much as one view shows */
static ssize_t fetch_some(const struct shmem_seen *seen, uint64_t offset, char *buffer, size_t size)
{
	const struct shmem_view *v = view_at(seen, offset);
	uint64_t left = view_end(v) - offset;
	_cleanup_(close_p) int mem = task_openat(v->task, "mem", O_RDONLY | O_CLOEXEC);

	if (mem < 0) {
		errno = -mem;
		return -1;
	}
	return pread(mem, buffer, left < size ? left : size,
	             (off_t)(v->start + (offset - v->offset)));
}

static int fetch(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                 struct error *err)
{
	char *at = buffer;

	for (uint32_t i = 0; i < n_runs; i++) {
		size_t size = runs[i].n_pages * PAGE;
		for (size_t done = 0; done < size;) {
			ssize_t n = fetch_some(context, runs[i].start * PAGE + done, at + done,
			                       size - done);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return error_raise(err, n < 0 ? errno : EIO,
				                   "reading shared memory");
			done += (size_t)n;
		}
		at += size;
	}
	return 0;
}

uint64_t shmem_seen_bytes(const struct shmem_seen *seen)
{
	return pages_bytes(seen->pages, seen->n_pages);
}

int shmem_seen_save(struct checkpoint *c, const struct object *object,
                    const struct shmem_seen *seen, struct error *err)
{
	int r = pages_save(c->image, object->id, 0, seen->pages, seen->n_pages, fetch, (void *)seen,
	                   c->options->progress, err);

	return r < 0 ? error_trace(err, r) : 0;
}
