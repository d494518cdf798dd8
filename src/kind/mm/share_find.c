/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: private pages that several address spaces share since fork. They have the same page
 * frame (or swap entry) at the same address. Only pages that the kernel does not call exclusively
 * mapped are compared, and window by window, so that little is in memory at a time. Where pages
 * have been moved since, it is done again, with the addresses of their homes (mm.h).
 */
#include <stdlib.h>

#include "core/checkpoint.h"
#include "kind/mm.h"
#include "kind/mm/mm.h"
#include "kind/mm/share.h"
#include "kind/mm/share_history.h"
#include "kind/mm/share_search.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define WINDOW_PAGES_MAX 16384u     /* of 4 KiB: 64 MiB of addresses */
#define WINDOW_ENTRIES   (2u << 20) /* pagemap entries in memory: 16 MiB */
/* the lowest page that no window has had */
static uint64_t next_page(const struct search *f)
{
	uint64_t next = UINT64_MAX, done = f->start + f->n_pages * MM_PAGE;

	for (size_t i = 0; i < f->n; i++) {
		const struct space *space = &f->spaces[i];
		if (space->at == space->n_pages)
			continue;
		uint64_t start = space->pages[space->at].start;
		if (start < done)
			start = done;
		if (start < next)
			next = start;
	}
	return next;
}

static int by_rank(const void *a, const void *b)
{
	const struct set *x = *(struct set *const *)a, *y = *(struct set *const *)b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct page_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static void take_results(struct search *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct space *space = &f->spaces[i];
		if (object_state(space->object, MmState)->n_homes && space->n_kept)
			qsort(space->kept, space->n_kept, sizeof(*space->kept), by_start);
		free(space->mm->pages);
		space->mm->pages = take_ptr(space->kept);
		space->mm->n_pages = space->n_kept;
	}
	history_tell(f->genealogy, f->objects, f->parents, f->n);
	if (f->share->n)
		qsort(f->share->sets, f->share->n, sizeof(*f->share->sets), by_rank);
}

/* goes through all windows */
static int pass(struct search *f, struct error *err)
{
	_cleanup_(free_p) struct space **present = xcalloc(f->n, sizeof(struct space *));
	uint64_t pages = WINDOW_ENTRIES / f->n;
	int r = 0;

	f->by_members = map_new();
	f->genealogy = history_new(f->objects, f->parents, f->n);
	f->start = f->n_pages = 0;
	f->last = NULL;
	while (r >= 0 && (f->start = next_page(f)) != UINT64_MAX) {
		f->n_pages = pages < 16 ? 16 : pages > WINDOW_PAGES_MAX ? WINDOW_PAGES_MAX : pages;
		r = share_search_window(f, present, err);
	}
	map_free(f->by_members);
	return r < 0 ? error_trace(err, r) : 0;
}

/* all pages of an address space by their homes */
static void bring_home(struct space *space)
{
	const struct mm *mm = space->mm;

	space->pages = NULL;
	space->n_pages = 0;
	for (size_t i = 0; i < mm->n_pages; i++) {
		struct page_range range = mm->pages[i];
		while (range.start < range.end) {
			uint64_t end = range.end,
				 home = mm_home_of(space->object, range.start, &end);
			*array_push(space->pages, space->n_pages) = (struct page_range){
				home, home + (end - range.start), range.zero, false, false
			};
			range.start = end;
		}
	}
	if (space->n_pages)
		qsort(space->pages, space->n_pages, sizeof(*space->pages), by_start);
}

/* forgets what the first pass has found */
static void begin_again(struct search *f)
{
	f->second_pass = true;
	genealogy_free(f->genealogy);
	sets_forget(f->share);
	for (size_t i = 0; i < f->n; i++) {
		struct space *space = &f->spaces[i];
		MmState *s = object_state(space->object, MmState);
		for (size_t k = 0; k < s->n_page_sets; k++)
			protobuf_c_message_free_unpacked(&s->page_sets[k]->base, NULL);
		free(take_ptr(s->page_sets));
		s->n_page_sets = 0;
		free(take_ptr(space->kept));
		space->n_kept = space->at = space->mapping = space->n_members = 0;
		bring_home(space);
	}
}

/* 1: what has been moved has a home now */
static int find_homes(struct checkpoint *c, struct search *f, struct error *err)
{
	_cleanup_(free_p) struct shared_pages *shared = xcalloc(f->share->n + 1, sizeof(*shared));

	for (size_t i = 0; i < f->share->n; i++) {
		const struct set *set = f->share->sets[i];
		const MmState__PageSet *message =
			object_state(set->owner, MmState)->page_sets[set->id - 1];
		shared[i] = (struct shared_pages){ message->members, message->n_members,
			                           set->ranges, set->n_ranges };
	}
	return moved_find(c, f->objects, f->n, f->strays, f->n_strays, shared, f->share->n, err);
}

static int search(struct checkpoint *c, struct search *f, struct error *err)
{
	f->n_words = (f->n + 63) / 64;
	f->members = xcalloc(f->n_words, sizeof(uint64_t));
	f->last_members = xcalloc(f->n_words, sizeof(uint64_t));
	f->candidates = xcalloc(f->n, sizeof(*f->candidates));
	f->seen = xcalloc(SEEN_FRAMES / 64, sizeof(uint64_t));
	f->parents = history_parents(f->objects, f->n);
	int r = pass(f, err);
	if (r >= 0 && f->n_strays)
		r = find_homes(c, f, err);
	if (r > 0) {
		begin_again(f);
		r = pass(f, err);
	}
	if (r >= 0)
		take_results(f);
	genealogy_free(f->genealogy);
	for (size_t i = 0; i < f->n && f->second_pass; i++)
		free(f->spaces[i].pages);
	for (size_t i = 0; i < f->n; i++)
		free(f->spaces[i].kept);
	free(f->parents);
	free(f->seen);
	free(f->strays);
	free(f->members);
	free(f->last_members);
	free(f->candidates);
	return r < 0 ? error_trace(err, r) : 0;
}

int mm_share_find(struct checkpoint *c, struct error *err)
{
	struct search f = { 0 };
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, &mm_kind, &cursor));) {
		struct mm *mm = mm_live(o);
		size_t n = f.n;
		*array_push(f.objects, n) = o;
		*array_push(f.spaces, f.n) = (struct space){
			.object = o, .mm = mm, .pages = mm->pages, .n_pages = mm->n_pages
		};
	}
	if (f.n < 2) {
		free(f.objects);
		free(f.spaces);
		return 0;
	}
	f.share = xcalloc(1, sizeof(*f.share));
	f.spaces[0].mm->share = f.share;
	int r = search(c, &f, err);
	free(f.objects);
	free(f.spaces);
	return r < 0 ? error_trace(err, r) : 0;
}
