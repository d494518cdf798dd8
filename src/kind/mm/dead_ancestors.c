/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dead ancestors, by shared pages. See dead_ancestors.h. */
#include "kind/mm/dead_ancestors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define NONE     UINT32_MAX
#define WORK_MAX (200u << 20) /* steps from member to parent: then no more is looked for */

struct dead_ancestors {
	const uint32_t *ids;
	uint32_t *parents, *components; /* components: union-find */
	bool *many;                     /* per root of a component: it has several */
	uint32_t n;
	const MmState__PageSet **here; /* the sets of the page that is looked at */
	size_t n_here;
	const MmState__PageSet *last[2]; /* what was compared last: mostly the same again */
	struct map *compared;
	uint64_t work;
};

struct dead_ancestors *dead_ancestors_new(const uint32_t *parents, const uint32_t *ids, uint32_t n)
{
	struct dead_ancestors *d = xcalloc(1, sizeof(*d));

	d->n = n;
	d->ids = xmemdup(ids, n * sizeof(*ids));
	d->parents = xmemdup(parents, n * sizeof(*parents));
	d->components = xcalloc(n, sizeof(*d->components));
	d->many = xcalloc(n, sizeof(*d->many));
	d->compared = map_new();
	for (uint32_t i = 0; i < n; i++)
		d->components[i] = i;
	return d;
}

void dead_ancestors_free(struct dead_ancestors *d)
{
	if (!d)
		return;
	free((void *)d->ids);
	free(d->parents);
	free(d->components);
	free(d->many);
	free(d->here);
	map_free(d->compared);
	free(d);
}

static uint32_t find_component(struct dead_ancestors *d, uint32_t i)
{
	while (d->components[i] != i)
		i = d->components[i] = d->components[d->components[i]];
	return i;
}

/* the smaller index becomes the root */
static void join(struct dead_ancestors *d, uint32_t a, uint32_t b)
{
	a = find_component(d, a);
	b = find_component(d, b);
	if (a == b)
		return;
	d->components[a > b ? a : b] = a < b ? a : b;
	d->many[a < b ? a : b] = true;
}

uint32_t dead_ancestors_number(struct dead_ancestors *d, uint32_t space)
{
	uint32_t root = find_component(d, space);

	return d->many[root] ? root + 1 : 0;
}

static uint32_t index_of(const struct dead_ancestors *d, uint32_t id)
{
	uint32_t low = 0, high = d->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (d->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint32_t common_ancestor(struct dead_ancestors *d, const MmState__PageSet *set)
{
	uint32_t a = index_of(d, set->members[0]);

	for (size_t k = 1; k < set->n_members; k++)
		for (uint32_t b = index_of(d, set->members[k]); a != b; d->work++) {
			/* parents come before children: the larger index is never the ancestor */
			uint32_t *later = a > b ? &a : &b;
			if (d->parents[*later] == *later)
				return NONE;
			*later = d->parents[*later];
		}
	return a;
}

/* where a set has members, as seen from an address space */
struct view {
	bool itself;
	uint32_t first, last; /* of its children, or their descendants; NONE: none */
};

/* the child of @top that @space is or descends from; NONE if it does not */
static uint32_t branch(struct dead_ancestors *d, uint32_t top, uint32_t space)
{
	for (; space > top; space = d->parents[space], d->work++)
		if (d->parents[space] == top)
			return space;
		else if (d->parents[space] == space)
			return NONE;
	return NONE;
}

static struct view look(struct dead_ancestors *d, uint32_t top, const MmState__PageSet *set)
{
	struct view view = { .first = NONE, .last = NONE };

	for (size_t k = 0; k < set->n_members; k++) {
		uint32_t i = index_of(d, set->members[k]), child = branch(d, top, i);
		view.itself |= i == top;
		if (child == NONE)
			continue;
		view.first = child < view.first ? child : view.first;
		view.last = view.last == NONE || child > view.last ? child : view.last;
	}
	return view;
}

/* whether @set cannot be filled in @top because @other has the same page */
static bool in_the_way(struct dead_ancestors *d, uint32_t top, const struct view *set,
                       const MmState__PageSet *other)
{
	const struct view there = look(d, top, other);
	uint32_t above = common_ancestor(d, other);

	if (above != NONE && above > top)
		return false; /* filled later, below */
	if (above == top && there.itself)
		return there.first < set->last; /* what is the ancestor's own comes last */
	if (there.itself)
		return true; /* it has inherited that, and keeps it */
	if (there.first == NONE)
		return false;
	if (above == top) /* one after the other; of two that alternate the later gives way */
		return there.first < set->first && there.last > set->first;
	return there.last > set->first;
}

static void compare(struct dead_ancestors *d, const MmState__PageSet *set,
                    const MmState__PageSet *other)
{
	const struct MmState__PageSet *pair[] = { set, other };

	if (d->work > WORK_MAX || map_get(d->compared, pair, sizeof(pair)))
		return;
	map_put(d->compared, pair, sizeof(pair), d);
	uint32_t top = common_ancestor(d, set);
	if (top == NONE)
		return;
	const struct view view = look(d, top, set);
	if (view.itself || !in_the_way(d, top, &view, other))
		return;
	for (size_t k = 0; k < set->n_members; k++)
		join(d, view.first, branch(d, top, index_of(d, set->members[k])));
}

void dead_ancestors_add(struct dead_ancestors *d, const MmState__PageSet *set)
{
	*array_push(d->here, d->n_here) = set;
}

void dead_ancestors_compare(struct dead_ancestors *d)
{
	bool same = d->n_here == 2 && d->here[0] == d->last[0] && d->here[1] == d->last[1];

	for (size_t i = 0; i < d->n_here && d->n_here > 1 && !same; i++)
		for (size_t k = 0; k < d->n_here; k++)
			if (k != i)
				compare(d, d->here[i], d->here[k]);
	if (d->n_here == 2)
		memcpy(d->last, d->here, sizeof(d->last));
	d->n_here = 0;
}
