/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses in page sets, and where pages really are. See mm.h. */
#include <stdlib.h>

#include "kind/mm/mm.h"
#include "util/alloc.h"

static int by_home(const void *a, const void *b)
{
	const MmState__Home *x = *(MmState__Home *const *)a, *y = *(MmState__Home *const *)b;

	return (x->home > y->home) - (x->home < y->home);
}

void mm_index_homes(struct object *object)
{
	const MmState *s = object_state(object, MmState);
	struct mm *mm = mm_live(object);

	free(mm->homes);
	mm->homes = NULL;
	if (!s->n_homes)
		return;
	mm->homes = xmemdup(s->homes, s->n_homes * sizeof(*s->homes));
	qsort(mm->homes, s->n_homes, sizeof(*s->homes), by_home);
}

/* how many end at an address or below it: @homes by home, or else by where they are */
static size_t homes_below(MmState__Home *const *homes, size_t n, bool home, uint64_t address)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const MmState__Home *h = homes[middle];
		if ((home ? h->home : h->start) + h->size <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t count(const struct object *object)
{
	const struct mm *mm = object->live;

	return mm && mm->homes ? object_state(object, MmState)->n_homes : 0;
}

uint64_t mm_away_from(const struct object *object, uint64_t home, uint64_t *ret_end)
{
	const struct mm *mm = object->live;
	size_t n = count(object), i = n ? homes_below(mm->homes, n, true, home) : 0;

	*ret_end = i < n ? mm->homes[i]->home : UINT64_MAX;
	if (*ret_end > home)
		return home;
	*ret_end += mm->homes[i]->size;
	return home + (mm->homes[i]->start - mm->homes[i]->home);
}

uint64_t mm_home_of(const struct object *object, uint64_t address, uint64_t *end)
{
	const MmState *s = object_state(object, MmState);
	size_t n = count(object), i = homes_below(s->homes, n, false, address);
	const MmState__Home *h = i < n ? s->homes[i] : NULL;
	bool here = h && h->start <= address;
	uint64_t stop = !h ? UINT64_MAX : here ? h->start + h->size : h->start;

	if (stop < *end)
		*end = stop;
	return here ? address - h->start + h->home : address;
}

bool mm_piece_at(const struct object *object, uint64_t home, struct mm_piece *ret)
{
	const MmState *s = object_state(object, MmState);
	uint64_t end, at = mm_away_from(object, home, &end);
	size_t n = count(object), i = homes_below(s->homes, n, false, at);
	const Mapping *m = mm_mapping_at(s, at, at + MM_PAGE);
	const MmState__Home *h = i < n ? s->homes[i] : NULL;

	if (!m || (h && h->start <= at && h->home + (at - h->start) != home))
		return false; /* nothing is there, or its home is elsewhere */
	uint64_t low = i ? s->homes[i - 1]->start + s->homes[i - 1]->size : 0;
	uint64_t high = h ? h->start : UINT64_MAX;
	if (h && h->start <= at) {
		low = h->start;
		high = h->start + h->size;
	}
	*ret = (struct mm_piece){ .mapping = m, .away = at - home };
	ret->start = (m->start > low ? m->start : low) - ret->away;
	ret->end = (m->start + m->size < high ? m->start + m->size : high) - ret->away;
	return true;
}

/* the first mapping that ends above an address; NULL if none does */
static const Mapping *mapping_above(const MmState *s, uint64_t address)
{
	size_t low = 0, high = s->n_mappings;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (s->mappings[middle]->start + s->mappings[middle]->size <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->n_mappings ? s->mappings[low] : NULL;
}

bool mm_piece_above(const struct object *object, uint64_t home, struct mm_piece *ret)
{
	const MmState *s = object_state(object, MmState);
	const struct mm *mm = object->live;
	size_t n = count(object);

	while (!mm_piece_at(object, home, ret)) {
		const Mapping *m = mapping_above(s, home);
		size_t i = n ? homes_below(mm->homes, n, true, home) : 0;
		uint64_t next = m ? m->start : UINT64_MAX;
		if (next <= home) { /* that part of it is at home elsewhere */
			size_t k = homes_below(s->homes, n, false, home);
			next = k < n ? s->homes[k]->start + s->homes[k]->size : UINT64_MAX;
		}
		if (i < n && mm->homes[i]->home > home && mm->homes[i]->home < next)
			next = mm->homes[i]->home;
		if (next == UINT64_MAX || next <= home)
			return false;
		home = next;
	}
	return true;
}
