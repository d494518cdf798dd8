/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which pages an address space has of its own, and writing them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mm/mm.h"
#include "kind/mm/pages.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void add_guard(MmState *s, const struct page_range *range)
{
	MmState__Range *g = xmalloc(sizeof(*g));

	mm_state__range__init(g);
	g->start = range->start;
	g->size = range->end - range->start;
	*array_push(s->guards, s->n_guards) = g;
}

/* scans neighbours in one go: [first, last] lie end to end and all have pages */
static int scan_mappings(struct mm *mm, MmState *s, int pagemap, struct error *err)
{
	for (size_t i = 0; i < s->n_mappings; i++) {
		uint64_t start = s->mappings[i]->start, end = start;

		while (i < s->n_mappings && mm_has_pages(s->mappings[i]) &&
		       s->mappings[i]->start == end) {
			end += s->mappings[i]->size;
			i++;
		}
		if (end == start)
			continue;
		i--;
		int r = pagemap_scan(pagemap, start, end, &mm->pages, &mm->n_pages, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

/* guards may also lie in shared mappings, which have no pages here: scan those for guards alone */
static int scan_shared(MmState *s, int pagemap, struct error *err)
{
	for (size_t i = 0; i < s->n_mappings; i++) {
		const Mapping *m = s->mappings[i];
		struct page_range *ranges = NULL;
		size_t n = 0;

		if (m->backing != MM_STATE__MAPPING__BACKING__OBJECT || !(m->flags & MM_SHARED))
			continue;
		int r = pagemap_scan(pagemap, m->start, m->start + m->size, &ranges, &n, err);
		for (size_t k = 0; k < n && r >= 0; k++)
			if (ranges[k].guard)
				add_guard(s, &ranges[k]);
		free(ranges);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const MmState__Range *x = *(MmState__Range *const *)a, *y = *(MmState__Range *const *)b;

	return (x->start > y->start) - (x->start < y->start);
}

int mm_scan_pages(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mm *mm = mm_live(object);
	MmState *s = object_state(object, MmState);
	size_t kept = 0;
	_cleanup_(close_p) int pagemap = task_openat(mm->task, "pagemap", O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		return error_raise(err, -pagemap, "opening pagemap");
	int r = scan_mappings(mm, s, pagemap, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < mm->n_pages; i++) {
		if (mm->pages[i].guard)
			add_guard(s, &mm->pages[i]);
		else
			mm->pages[kept++] = mm->pages[i];
	}
	mm->n_pages = kept;
	r = scan_shared(s, pagemap, err);
	if (s->n_guards)
		qsort(s->guards, s->n_guards, sizeof(*s->guards), by_start);
	return r < 0 ? error_trace(err, r) : 0;
}

static int fetch(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                 struct error *err)
{
	return pages_read(context, runs, n_runs, buffer, err);
}

int mm_save_pages(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mm *mm = mm_live(object);
	struct pages_source source = { .pid = mm->task->tid };
	_cleanup_(close_p) int mem = task_openat(mm->task, "mem", O_RDONLY | O_CLOEXEC);

	if (mem < 0)
		return error_raise(err, -mem, "opening /proc/%d/mem", (int)mm->task->tid);
	source.mem = mem;
	int r = pages_save(c->image, object->id, 0, mm->pages, mm->n_pages, fetch, &source,
	                   c->options->progress, err);
	free(mm->pages);
	mm->pages = NULL;
	mm->n_pages = 0;
	if (r < 0) {
		error_task(err, mm->task->tid, mm->task->comm);
		return error_trace(err, r);
	}
	return 0;
}
