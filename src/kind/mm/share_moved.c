/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: what has been moved since a fork. See share_moved.h. */
#include "kind/mm/share_moved.h"

#include <fcntl.h>
#include <stdlib.h>

#include "core/checkpoint.h"
#include "kind/mm.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define ALIGNMENT (2ull << 20) /* whole page tables are moved then, and huge pages stay such */
#define ENTRIES   4096u
#define PARTS_MAX 200u /* in one address space; else its pages are saved on their own */

/* a mapping of one address space; those that share pages are related */
struct node {
	const Mapping *mapping;
	uint32_t space;
	uint64_t low, high;  /* pages that others have at another address lie in there */
	struct node *parent; /* of related ones; itself: it is the first of them */
	uint64_t away;       /* its addresses, minus those of the parent for the same pages */
	/* of the first one: */
	uint64_t n;        /* of all */
	uint64_t from, to; /* all lie in there, in its own addresses */
	uint64_t home;     /* minus these addresses */
	bool moved;
};

struct moved {
	struct object *const *objects;
	struct node *nodes;
	size_t *begin; /* of each address space; the last is the end */
	size_t n;
	const struct stray *strays;
	size_t n_strays;
	const struct shared_pages *shared;
	size_t n_shared;
	bool any; /* are related */
};

static uint64_t mapping_end(const Mapping *m)
{
	return m->start + m->size;
}

/* ---- relations ---- */

/* NULL: nothing is there that a process can have inherited */
static struct node *node_at(const struct moved *m, uint32_t space, uint64_t address)
{
	size_t low = m->begin[space], high = m->begin[space + 1];

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (mapping_end(m->nodes[middle].mapping) <= address)
			low = middle + 1;
		else
			high = middle;
	}
	struct node *node = &m->nodes[low];
	if (low == m->begin[space + 1] || node->mapping->start > address)
		return NULL;
	return mm_has_pages(node->mapping) && !(node->mapping->flags & MM_DROPPABLE) ? node : NULL;
}

static struct node *first_of(struct node *node, uint64_t *ret_away)
{
	*ret_away = 0;
	for (; node->parent != node; node = node->parent)
		*ret_away += node->away;
	return node;
}

static void add_page(struct node *node, uint64_t address)
{
	if (address < node->low)
		node->low = address;
	if (address + MM_PAGE > node->high)
		node->high = address + MM_PAGE;
}

/* at these addresses two address spaces have the same page */
static void relate(struct moved *m, uint32_t space_a, uint64_t at_a, uint32_t space_b,
                   uint64_t at_b)
{
	struct node *a = node_at(m, space_a, at_a), *b = node_at(m, space_b, at_b);
	uint64_t away_a, away_b;

	if (!a || !b || space_a == space_b)
		return;
	if (at_a != at_b) {
		add_page(a, at_a);
		add_page(b, at_b);
	}
	struct node *first = first_of(a, &away_a), *other = first_of(b, &away_b);
	if (first == other)
		return;
	m->any = true;
	at_a -= away_a;
	at_b -= away_b;
	if (first->n >= other->n) {
		other->parent = first;
		other->away = at_b - at_a;
		first->n += other->n;
	} else {
		first->parent = other;
		first->away = at_a - at_b;
		other->n += first->n;
	}
}

static int by_frame(const void *a, const void *b)
{
	const struct stray *x = a, *y = b;

	return (x->frame > y->frame) - (x->frame < y->frame);
}

static void relate_strays(struct moved *m)
{
	for (size_t i = 1; i < m->n_strays; i++) {
		const struct stray *a = &m->strays[i - 1], *b = &m->strays[i];
		if (a->frame == b->frame)
			relate(m, a->space, a->address, b->space, b->address);
	}
}

static uint32_t space_of(const struct moved *m, uint32_t id)
{
	size_t low = 0, high = m->n - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (m->objects[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return (uint32_t)low;
}

/* pages one after the other that a set has at one address, and strays are at another */
struct run {
	const struct shared_pages *set;
	const struct stray *stray; /* the first one; NULL: none */
	uint64_t at, size;
};

static void relate_run(struct moved *m, const struct run *run)
{
	const struct stray *stray = run->stray;
	uint32_t first = space_of(m, run->set->members[0]);

	for (uint64_t offset = 0; stray && offset < run->size; offset += run->size - MM_PAGE) {
		for (size_t k = 0; k < run->set->n_members; k++)
			relate(m, space_of(m, run->set->members[k]), run->at + offset, stray->space,
			       stray->address + offset);
		for (size_t k = 0; stray->set && k < m->shared[stray->set - 1].n_members; k++)
			relate(m, first, run->at + offset,
			       space_of(m, m->shared[stray->set - 1].members[k]),
			       stray->address + offset);
		if (run->size == MM_PAGE)
			break;
	}
}

/* a page of a set may be a stray as well */
static void relate_entry(struct moved *m, struct run *run, uint64_t at, uint64_t entry)
{
	const struct stray key = { .frame = entry & PAGEMAP_FRAME };
	const struct stray *stray = bsearch(&key, m->strays, m->n_strays, sizeof(*m->strays),
	                                    by_frame);

	if (!(entry & PAGEMAP_PRESENT) || !stray || stray->address == at)
		return;
	if (run->stray && run->stray->space == stray->space && run->stray->set == stray->set &&
	    run->at + run->size == at && run->stray->address + run->size == stray->address) {
		run->size += MM_PAGE;
		return;
	}
	relate_run(m, run);
	run->stray = stray;
	run->at = at;
	run->size = MM_PAGE;
}

static int relate_shared(struct moved *m, const struct shared_pages *shared, struct error *err)
{
	uint64_t entries[ENTRIES];
	struct run run = { .set = shared };
	const struct task *task = mm_live(m->objects[space_of(m, shared->members[0])])->task;
	_cleanup_(close_p) int fd = task_openat(task, "pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_raise(err, -fd, "opening pagemap");
	for (size_t i = 0; i < shared->n_ranges; i++) {
		uint64_t at = shared->ranges[i].start;
		while (at < shared->ranges[i].end) {
			uint64_t n = (shared->ranges[i].end - at) / MM_PAGE;
			n = n < ENTRIES ? n : ENTRIES;
			int r = pagemap_entries(fd, at, entries, n, err);
			if (r < 0)
				return error_trace(err, r);
			for (uint64_t k = 0; k < n; k++, at += MM_PAGE)
				relate_entry(m, &run, at, entries[k]);
		}
	}
	relate_run(m, &run);
	return 0;
}

/* all that have the pages at the same addresses */
static void relate_members(struct moved *m, const struct shared_pages *shared)
{
	uint32_t first = space_of(m, shared->members[0]);

	for (size_t k = 1; k < shared->n_members; k++) {
		uint32_t other = space_of(m, shared->members[k]);
		for (size_t i = 0; i < shared->n_ranges; i++) {
			uint64_t at = shared->ranges[i].start, end = shared->ranges[i].end;
			while (at < end) {
				const struct node *a = node_at(m, first, at);
				const struct node *b = node_at(m, other, at);
				if (!a || !b)
					break;
				relate(m, first, at, other, at);
				at = mapping_end(a->mapping) < mapping_end(b->mapping)
				             ? mapping_end(a->mapping)
				             : mapping_end(b->mapping);
			}
		}
	}
}

/* ---- homes ---- */

/* how far apart the first ones' homes must be, in bytes: all of it, on the same alignment */
static uint64_t room_for(const struct node *first, uint64_t *ret_alignment)
{
	*ret_alignment = ALIGNMENT;
	if (first->mapping->huge_shift && 1ull << first->mapping->huge_shift > ALIGNMENT)
		*ret_alignment = 1ull << first->mapping->huge_shift;
	return first->to - first->from + 2 * *ret_alignment;
}

/* finds which related ones are not all at the same address; returns how many bytes they need */
static uint64_t find_moved(struct moved *m, size_t n)
{
	uint64_t away, alignment, size = 0;

	for (size_t i = 0; i < n; i++) {
		const Mapping *mapping = m->nodes[i].mapping;
		struct node *first = first_of(&m->nodes[i], &away);
		first->moved |= away != 0;
		if (mapping->start - away < first->from)
			first->from = mapping->start - away;
		if (mapping_end(mapping) - away > first->to)
			first->to = mapping_end(mapping) - away;
	}
	for (size_t i = 0; i < n; i++)
		if (m->nodes[i].moved)
			size += room_for(&m->nodes[i], &alignment);
	return size;
}

static void place_homes(struct moved *m, size_t n, uint64_t at)
{
	uint64_t alignment;

	for (size_t i = 0; i < n; i++) {
		struct node *first = &m->nodes[i];
		if (!first->moved)
			continue;
		uint64_t room = room_for(first, &alignment);
		first->home = (at + alignment - 1 - first->from) & ~(alignment - 1);
		at += room;
	}
}

static int by_home(const void *a, const void *b)
{
	const MmState__Home *x = *(MmState__Home *const *)a, *y = *(MmState__Home *const *)b;

	return (x->home > y->home) - (x->home < y->home);
}

static int by_start(const void *a, const void *b)
{
	const MmState__Home *x = *(MmState__Home *const *)a, *y = *(MmState__Home *const *)b;

	return (x->start > y->start) - (x->start < y->start);
}

/* whether pages that others have at another address are at home there */
static bool has_moved(const struct moved *m, uint32_t space, const MmState__Home *h, uint64_t from,
                      uint64_t to)
{
	const struct node *node = node_at(m, space, h->start);
	uint64_t away = h->start - h->home;

	return node && node->low < to + away && node->high > from + away;
}

static void cut_front(MmState__Home *h, uint64_t size)
{
	size = size < h->size ? size : h->size;
	h->start += size;
	h->home += size;
	h->size -= size;
}

/*
 * Where part of a mapping was moved away, and something else came to its place and became one
 * mapping with the rest, both have the same home. What was moved stays there; the other needs none.
 * Returns false if it must be tried again.
 */
static bool part(const struct moved *m, uint32_t space, MmState *s)
{
	qsort(s->homes, s->n_homes, sizeof(*s->homes), by_home);
	for (size_t i = 1; i < s->n_homes; i++) {
		MmState__Home *a = s->homes[i - 1], *b = s->homes[i];
		uint64_t end_a = a->home + a->size, end_b = b->home + b->size;
		uint64_t end = end_a < end_b ? end_a : end_b;
		if (b->home >= end)
			continue;
		if (!has_moved(m, space, b, b->home, end)) {
			cut_front(b, end - b->home);
			return false;
		}
		if (end_a > end) {
			MmState__Home *rest = xmemdup(a, sizeof(*a));
			cut_front(rest, end - a->home);
			*array_push(s->homes, s->n_homes) = rest;
		}
		a->size = b->home - a->home;
		return false;
	}
	return true;
}

/* empty ones go */
static void part_all(const struct moved *m, uint32_t space, MmState *s)
{
	size_t kept = 0;
	unsigned n = 0;

	while (n < PARTS_MAX && !part(m, space, s))
		n++;
	for (size_t i = 0; i < s->n_homes; i++)
		if (n == PARTS_MAX || !s->homes[i]->size)
			free(s->homes[i]);
		else
			s->homes[kept++] = s->homes[i];
	s->n_homes = kept;
	if (kept)
		qsort(s->homes, kept, sizeof(*s->homes), by_start);
}

static void go_home(const struct moved *m, uint32_t space)
{
	MmState *s = object_state(m->objects[space], MmState);
	uint64_t away;

	for (size_t i = m->begin[space]; i < m->begin[space + 1]; i++) {
		const Mapping *mapping = m->nodes[i].mapping;
		const struct node *first = first_of(&m->nodes[i], &away);
		if (!first->moved)
			continue;
		MmState__Home *h = xmalloc(sizeof(*h));
		mm_state__home__init(h);
		h->start = mapping->start;
		h->size = mapping->size;
		h->home = mapping->start - away + first->home;
		*array_push(s->homes, s->n_homes) = h;
	}
	if (s->n_homes)
		part_all(m, space, s);
	mm_index_homes(m->objects[space]);
}

/* ---- all of it ---- */

static size_t make_nodes(struct moved *m)
{
	const size_t n_spaces = m->n;
	size_t n = 0;

	m->begin = xcalloc(n_spaces + 1, sizeof(*m->begin));
	for (size_t i = 0; i < n_spaces; i++)
		m->begin[i + 1] = m->begin[i] + object_state(m->objects[i], MmState)->n_mappings;
	m->nodes = xcalloc(m->begin[n_spaces] + 1, sizeof(*m->nodes));
	for (uint32_t i = 0; i < n_spaces; i++)
		for (size_t k = m->begin[i]; k < m->begin[i + 1]; k++, n++)
			m->nodes[n] = (struct node){
				.mapping = object_state(m->objects[i], MmState)
				                   ->mappings[k - m->begin[i]],
				.space = i,
				.low = UINT64_MAX,
				.parent = &m->nodes[k],
				.n = 1,
				.from = UINT64_MAX,
			};
	return n;
}

static int find_relations(struct moved *m, struct error *err)
{
	relate_strays(m);
	for (size_t i = 0; i < m->n_shared; i++) {
		int r = relate_shared(m, &m->shared[i], err);
		if (r < 0)
			return error_trace(err, r);
	}
	for (size_t i = 0; i < m->n_shared && m->any; i++)
		relate_members(m, &m->shared[i]);
	return 0;
}

int moved_find(struct checkpoint *c, struct object *const *objects, size_t n, struct stray *strays,
               size_t n_strays, const struct shared_pages *shared, size_t n_shared,
               struct error *err)
{
	struct moved m = { .objects = objects,
		           .n = n,
		           .strays = strays,
		           .n_strays = n_strays,
		           .shared = shared,
		           .n_shared = n_shared };
	struct error no_hole = ERROR_INIT;
	size_t n_nodes = make_nodes(&m);
	uint64_t at = 0;

	qsort(strays, n_strays, sizeof(*strays), by_frame);
	int r = find_relations(&m, err);
	uint64_t size = r >= 0 && m.any ? find_moved(&m, n_nodes) : 0;
	/* without a hole they are saved for each on its own */
	if (size && mm_hole(c->objects, size, &at, &no_hole) >= 0) {
		place_homes(&m, n_nodes, at);
		for (uint32_t i = 0; i < n; i++)
			go_home(&m, i);
		r = 1;
	}
	free(m.nodes);
	free(m.begin);
	return r < 0 ? error_trace(err, r) : r;
}
