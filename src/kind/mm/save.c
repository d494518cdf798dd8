/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which pages an address space has of its own, and writing them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/mm.h"
#include "kind/mm/huge.h"
#include "kind/mm/mm.h"
#include "kind/mm/pages.h"
#include "kind/mm/share.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/parallel.h"

static void add_guard(MmState *s, const struct page_range *range)
{
	MmState__Range *g = xmalloc(sizeof(*g));

	mm_state__range__init(g);
	g->start = range->start;
	g->size = range->end - range->start;
	*array_push(s->guards, s->n_guards) = g;
}

/*
 * Without PAGEMAP_SCAN each entry is read: hours for what some programs reserve. What is passed
 * over are pages that were read, never written; they read as zero without being there.
 */
static bool is_scanned(const struct mm *mm, const MmState *s, size_t i)
{
	return mm_has_pages(s->mappings[i]) &&
	       (feature(FEATURE_pagemap_scan) || !mm->told[i].is_empty);
}

/* scans neighbours of one sort in one go: they lie end to end and all have pages */
static int scan_mappings(struct mm *mm, MmState *s, int pagemap, struct error *err)
{
	for (size_t i = 0; i < s->n_mappings; i++) {
		uint64_t start = s->mappings[i]->start, end = start;
		MmState__Mapping__Backing backing = s->mappings[i]->backing;
		bool files = backing == MM_STATE__MAPPING__BACKING__OBJECT;

		while (i < s->n_mappings && is_scanned(mm, s, i) && s->mappings[i]->start == end &&
		       s->mappings[i]->backing == backing) {
			end += s->mappings[i]->size;
			i++;
		}
		if (end == start)
			continue;
		i--;
		int r = pagemap_scan(pagemap, start, end, files, &mm->pages, &mm->n_pages, err);
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
		int r = pagemap_scan(pagemap, m->start, m->start + m->size, true, &ranges, &n, err);
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

/* whether bytes differ, and all that do are breakpoints (int3) */
static bool has_breakpoints(const uint8_t *memory, const uint8_t *file, size_t size)
{
	bool differs = false;

	for (size_t i = 0; i < size; i++) {
		if (memory[i] == file[i])
			continue;
		if (memory[i] != 0xcc)
			return false;
		differs = true;
	}
	return differs;
}

/* one page of a mapping of code that the program cannot have changed itself */
static int check_code(const struct mm *mm, const Mapping *m, const struct page_range *range,
                      bool *ret, struct error *err)
{
	uint8_t memory[MM_PAGE], file[MM_PAGE];
	char path[96];
	_cleanup_(close_p) int mem = task_openat(mm->task, "mem", O_RDONLY | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)mm->task->tid,
	         (unsigned long long)m->start, (unsigned long long)(m->start + m->size));
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return error_raise(err, -mem, "opening /proc/%d/mem", (int)mm->task->tid);
	for (uint64_t at = range->start; fd >= 0 && at < range->end && !*ret; at += MM_PAGE) {
		ssize_t n = pread(fd, file, MM_PAGE, (off_t)(m->offset + (at - m->start)));
		if (n > 0 && pread(mem, memory, MM_PAGE, (off_t)at) == (ssize_t)MM_PAGE)
			*ret = has_breakpoints(memory, file, (size_t)n);
	}
	return 0;
}

/*
 * A uprobe is a breakpoint in a private copy of a page of code: saved, it would be a breakpoint
 * that nobody handles. The kernel tells who set it nobody.
 */
static int find_uprobes(struct checkpoint *c, const struct mm *mm, const MmState *s,
                        struct error *err)
{
	struct error refusal = ERROR_INIT;
	bool found = false;
	int r = 0;

	for (size_t i = 0, k = 0; i < mm->n_pages && r >= 0 && !found; i++) {
		struct page_range part = mm->pages[i];
		for (; k < s->n_mappings && s->mappings[k]->start < part.end && r >= 0; k++) {
			const Mapping *m = s->mappings[k];
			uint64_t end = m->start + m->size;
			if (end > part.start && m->prot & PROT_EXEC && !(m->flags & MM_ACCOUNTED) &&
			    m->backing == MM_STATE__MAPPING__BACKING__OBJECT && !part.zero) {
				struct page_range here = { part.start > m->start ? part.start
					                                         : m->start,
					                   part.end < end ? part.end : end, false,
					                   false, false };
				r = check_code(mm, m, &here, &found, err);
			}
			if (end > part.end)
				break;
		}
	}
	if (found) {
		error_refuse(&refusal, CODE_mm_uprobes, "breakpoints are set in its code");
		error_hint(&refusal, "end the tracing (perf, bpftrace...) that set uprobes, or let "
		                     "the debugger remove its breakpoints");
		refuse(c, mm->task, &refusal);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* one of several at once: it touches nothing but its own */
static int scan(void *mms, size_t i, struct error *err)
{
	struct object *object = ((struct object **)mms)[i];
	struct mm *mm = mm_live(object);
	MmState *s = object_state(object, MmState);
	size_t kept = 0;
	_cleanup_(close_p) int pagemap = task_openat(mm->task, "pagemap", O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		return error_raise(err, -pagemap, "opening pagemap");
	int r = scan_mappings(mm, s, pagemap, err);
	if (r < 0)
		return error_trace(err, r);
	mm_huge_note(mm, s);
	for (size_t k = 0; k < mm->n_pages; k++) {
		if (mm->pages[k].guard)
			add_guard(s, &mm->pages[k]);
		else
			mm->pages[kept++] = mm->pages[k];
	}
	mm->n_pages = kept;
	r = feature(FEATURE_pagemap_scan_guard) ? scan_shared(s, pagemap, err) : 0;
	if (s->n_guards)
		qsort(s->guards, s->n_guards, sizeof(*s->guards), by_start);
	return r < 0 ? error_trace(err, r) : 0;
}

int mm_scan_pages(struct checkpoint *c, struct error *err)
{
	_cleanup_(free_p) struct object **mms = NULL;
	size_t cursor = 0, n = 0;

	for (struct object *o; (o = objects_next(c->objects, &mm_kind, &cursor));)
		*array_push(mms, n) = o;
	/* asked for now, once: to find out is nothing for several at once */
	(void)feature(FEATURE_pagemap_scan);
	(void)feature(FEATURE_pagemap_scan_guard);
	int r = parallel(n, scan, mms, err);
	for (size_t i = 0; i < n && r >= 0; i++)
		r = find_uprobes(c, mm_live(mms[i]), object_state(mms[i], MmState), err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int fetch(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                 struct error *err)
{
	return pages_read(context, runs, n_runs, buffer, err);
}

uint64_t mm_bulk_bytes(struct object *object)
{
	const struct mm *mm = mm_live(object);

	return pages_bytes(mm->pages, mm->n_pages) + mm_share_bytes(mm->share);
}

int mm_save_pages(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mm *mm = mm_live(object);
	_cleanup_(pages_source_close) struct pages_source source = PAGES_SOURCE_INIT;

	source.shared = mm->partly;
	source.n_shared = mm->n_partly;
	int r = pages_source_open(&source, mm->task, err);
	if (r >= 0)
		r = pages_save(c->image, object->id, 0, mm->pages, mm->n_pages, fetch, &source,
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
