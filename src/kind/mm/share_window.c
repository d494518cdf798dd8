/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which pages in a window of addresses are shared. See share_search.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kind/mm.h"
#include "kind/mm/pages.h"
#include "kind/mm/share_history.h"
#include "kind/mm/share_search.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/parallel.h"

#define MEMBERS_MAX 50000u     /* in one message: bounds its size */
#define TAKEN       UINT64_MAX /* instead of a frame: the page is in a set */

static uint64_t mapping_end(const Mapping *m)
{
	return m->start + m->size;
}

static bool excluded(const Mapping *m)
{
	return m->flags & MM_DROPPABLE;
}

/* on to the first mapping that may lie in the window; windows ascend, as mappings do */
static void skip_mappings(const struct search *f, struct space *space)
{
	const MmState *s = object_state(space->object, MmState);

	while (space->mapping < s->n_mappings &&
	       mapping_end(s->mappings[space->mapping]) <= f->start)
		space->mapping++;
}

/* frames of pages that cannot be shared by fork are forgotten */
static void forget_excluded(const struct search *f, const struct space *space)
{
	const MmState *s = object_state(space->object, MmState);
	uint64_t end = f->start + f->n_pages * MM_PAGE;

	for (size_t i = space->mapping; i < s->n_mappings && s->mappings[i]->start < end; i++) {
		const Mapping *m = s->mappings[i];
		uint64_t from = m->start > f->start ? m->start : f->start;
		uint64_t to = mapping_end(m) < end ? mapping_end(m) : end;
		if (excluded(m))
			memset(space->frames + (from - f->start) / MM_PAGE, 0,
			       (to - from) / MM_PAGE * sizeof(*space->frames));
	}
}

/* whether the space's page range @i, as far as it lies in the window, is *ret; they ascend */
static bool window_part(const struct search *f, const struct space *space, size_t i,
                        struct page_range *ret)
{
	uint64_t end = f->start + f->n_pages * MM_PAGE;

	if (i >= space->n_pages)
		return false;
	*ret = space->pages[i];
	if (ret->start >= end)
		return false;
	if (ret->start < f->start)
		ret->start = f->start;
	if (ret->end > end)
		ret->end = end;
	return true;
}

/* for several at once */
struct window {
	struct search *search;
	struct space **present; /* those that have pages in it */
};

static int read_frames(void *window, size_t index, struct error *err)
{
	struct search *f = ((struct window *)window)->search;
	struct space *space = ((struct window *)window)->present[index];
	struct page_range part;
	_cleanup_(close_p) int fd = task_openat(space->mm->task, "pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_raise(err, -fd, "opening pagemap");
	space->frames = xcalloc(f->n_pages, sizeof(*space->frames));
	for (size_t i = space->at; window_part(f, space, i, &part); i++) {
		uint64_t *entries = space->frames + (part.start - f->start) / MM_PAGE;
		size_t n = (part.end - part.start) / MM_PAGE;
		if (part.zero || part.end <= part.start)
			continue;
		uint64_t end, from = mm_away_from(space->object, part.start, &end);
		uint64_t own = pages_overlap(space->mm->partly, space->mm->n_partly, from,
		                             from + n * MM_PAGE)
		                       ? PAGEMAP_FILE
		                       : PAGEMAP_FILE | PAGEMAP_EXCLUSIVE;
		int r = pagemap_entries(fd, from, entries, n, err);
		if (r < 0)
			return error_trace(err, r);
		for (size_t k = 0; k < n; k++) {
			bool candidate = entries[k] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED) &&
			                 !(entries[k] & own);
			uint64_t frame = entries[k] & PAGEMAP_FRAME; /* 0: no CAP_SYS_ADMIN */
			entries[k] = candidate && frame ? frame | (entries[k] & PAGEMAP_SWAPPED)
			                                : 0;
		}
	}
	forget_excluded(f, space);
	return 0;
}

/* the address space that all members descend from, or are */
static uint32_t common_ancestor(const struct search *f, const uint64_t *members)
{
	uint32_t common = UINT32_MAX;

	for (uint32_t i = 0; i < f->n; i++) {
		if (!(members[i / 64] >> (i % 64) & 1))
			continue;
		uint32_t a = i, b = common;
		/* parents come before children: the larger index is never the ancestor */
		while (b != UINT32_MAX && a != b) {
			uint32_t *later = a > b ? &a : &b;
			if (f->parents[*later] == *later)
				return 0;
			*later = f->parents[*later];
		}
		common = a;
	}
	return common;
}

static struct set *new_set(struct search *f, const uint64_t *members)
{
	uint32_t count = 0, first = UINT32_MAX;

	for (uint32_t i = 0; i < f->n; i++)
		if (members[i / 64] >> (i % 64) & 1) {
			first = first == UINT32_MAX ? i : first;
			count++;
		}
	struct space *owner = &f->spaces[first];
	if (owner->n_members + count > MEMBERS_MAX)
		return NULL; /* the rest is saved for each on its own: correct, only not shared */
	owner->n_members += count;
	MmState *state = object_state(owner->object, MmState);
	MmState__PageSet *message = xmalloc(sizeof(*message));
	mm_state__page_set__init(message);
	message->members = xcalloc(count, sizeof(*message->members));
	for (uint32_t i = 0; i < f->n; i++)
		if (members[i / 64] >> (i % 64) & 1)
			message->members[message->n_members++] = f->spaces[i].object->id;
	*array_push(state->page_sets, state->n_page_sets) = message;
	message->id = (uint32_t)state->n_page_sets;

	struct set *set = xcalloc(1, sizeof(*set));
	set->owner = owner->object;
	set->id = message->id;
	set->rank = common_ancestor(f, members);
	set->index = (uint32_t)f->share->n;
	*array_push(f->share->sets, f->share->n) = set;
	map_put(f->by_members, members, f->n_words * 8, set);
	return set;
}

static struct set *set_of_members(struct search *f)
{
	size_t size = f->n_words * sizeof(uint64_t);

	if (f->last && !memcmp(f->members, f->last_members, size))
		return f->last;
	struct set *set = map_get(f->by_members, f->members, size);
	if (!set)
		set = new_set(f, f->members);
	memcpy(f->last_members, f->members, size);
	f->last = set;
	return set;
}

static void add_page(struct set *set, uint64_t address)
{
	struct page_range *last = set->n_ranges ? &set->ranges[set->n_ranges - 1] : NULL;

	if (last && last->end == address)
		last->end += MM_PAGE;
	else
		*array_push(set->ranges, set->n_ranges) =
			(struct page_range){ .start = address, .end = address + MM_PAGE };
	object_state(set->owner, MmState)->page_sets[set->id - 1]->n_pages++;
}

static int by_frame(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->frame != y->frame)
		return x->frame < y->frame ? -1 : 1;
	return (x->space > y->space) - (x->space < y->space);
}

static void note_stray(struct search *f, uint64_t frame, uint64_t address, uint32_t space,
                       uint32_t set)
{
	if (frame && !(frame & PAGEMAP_SWAPPED) && !f->second_pass && f->n_strays < STRAYS_MAX)
		*array_push(f->strays, f->n_strays) = (struct stray){ frame, address, space, set };
}

/* a page that several have; if a page that others have had the same bit it may be the same one */
static void note_frame(struct search *f, uint64_t frame, uint64_t address, uint32_t space,
                       uint32_t set)
{
	uint64_t i = frame % SEEN_FRAMES;

	if (f->second_pass)
		return;
	if (f->seen[i / 64] >> (i % 64) & 1)
		note_stray(f, frame, address, space, set);
	f->seen[i / 64] |= 1ull << (i % 64);
}

/* those that have the same frame at this page, f->candidates[first, end), become one set */
static void group(struct search *f, size_t first, size_t end, uint64_t page)
{
	if (end - first < 2)
		return;
	memset(f->members, 0, f->n_words * sizeof(uint64_t));
	for (size_t i = first; i < end; i++) {
		uint32_t space = f->candidates[i].space;
		f->members[space / 64] |= 1ull << (space % 64);
	}
	struct set *set = set_of_members(f);
	if (!set)
		return;
	for (size_t i = first; i < end; i++)
		f->spaces[f->candidates[i].space].frames[page] = TAKEN;
	add_page(set, f->start + page * MM_PAGE);
	note_frame(f, f->candidates[first].frame, f->start + page * MM_PAGE,
	           f->candidates[first].space, set->index + 1);
	genealogy_add(f->genealogy, object_state(set->owner, MmState)->page_sets[set->id - 1]);
}

/* finds who has the same frame at this page */
static void compare_page(struct search *f, struct space *const *present, size_t n, uint64_t page)
{
	bool sorted = true;
	size_t n_candidates = 0;

	for (size_t i = 0; i < n; i++) {
		struct candidate c = { present[i]->frames[page],
			               (uint32_t)(present[i] - f->spaces) };
		if (!c.frame)
			continue;
		sorted &= !n_candidates || f->candidates[n_candidates - 1].frame <= c.frame;
		f->candidates[n_candidates++] = c;
	}
	if (!sorted)
		qsort(f->candidates, n_candidates, sizeof(*f->candidates), by_frame);
	for (size_t first = 0, end; first < n_candidates; first = end) {
		end = first + 1;
		while (end < n_candidates && f->candidates[end].frame == f->candidates[first].frame)
			end++;
		group(f, first, end, page);
	}
	genealogy_next_page(f->genealogy, 1);
}

static void keep(struct space *space, struct page_range range)
{
	struct page_range *last = space->n_kept ? &space->kept[space->n_kept - 1] : NULL;
	uint64_t end, from = mm_away_from(space->object, range.start, &end);

	if (range.start >= range.end)
		return;
	range.end += from - range.start;
	range.start = from;
	if (last && last->end == range.start && last->zero == range.zero)
		last->end = range.end;
	else
		*array_push(space->kept, space->n_kept) = range;
}

/* what of the window stays the space's own */
static void keep_rest(struct search *f, struct space *space)
{
	struct page_range part;
	uint64_t end = f->start + f->n_pages * MM_PAGE;

	for (size_t i = space->at; window_part(f, space, i, &part); i++) {
		uint64_t from = part.start;
		for (uint64_t at = part.start; space->frames && at < part.end; at += MM_PAGE) {
			uint64_t frame = space->frames[(at - f->start) / MM_PAGE];
			if (frame != TAKEN) {
				note_stray(f, frame, at, (uint32_t)(space - f->spaces), 0);
				continue;
			}
			keep(space, (struct page_range){ from, at, part.zero, false, false });
			from = at + MM_PAGE;
		}
		keep(space, (struct page_range){ from, part.end, part.zero, false, false });
	}
	while (space->at < space->n_pages && space->pages[space->at].end <= end)
		space->at++;
	free(space->frames);
	space->frames = NULL;
}

/* whether pages in the window that only one address space has may be another's elsewhere */
static bool may_have_strays(const struct search *f, const struct space *space)
{
	const MmState *s = object_state(space->object, MmState);
	uint64_t end = f->start + f->n_pages * MM_PAGE;
	bool may = false;

	for (size_t i = space->mapping; i < s->n_mappings && s->mappings[i]->start < end; i++)
		may |= space->mm->told[i].may_share && mapping_end(s->mappings[i]) > f->start;
	return may && !f->second_pass;
}

int share_search_window(struct search *f, struct space **present, struct error *err)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct space *space = &f->spaces[i];
		if (space->at < space->n_pages &&
		    space->pages[space->at].start < f->start + f->n_pages * MM_PAGE) {
			skip_mappings(f, space);
			present[n++] = space;
		}
	}
	if (n > 1 || (n && may_have_strays(f, present[0])))
		r = parallel(n, read_frames, &(struct window){ f, present }, err);
	for (uint64_t page = 0; page < f->n_pages && n > 1 && r >= 0; page++)
		compare_page(f, present, n, page);
	for (size_t i = 0; i < n; i++)
		keep_rest(f, present[i]);
	return r < 0 ? error_trace(err, r) : 0;
}
