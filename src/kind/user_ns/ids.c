/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Id maps. See ids.h. */
#include "kind/user_ns/ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

bool id_map_parse(const char *text, struct id_map *ret)
{
	*ret = (struct id_map){ 0 };
	while (*text) {
		unsigned long long inside, outside, count;
		int used = 0;
		if (sscanf(text, " %llu %llu %llu%n", &inside, &outside, &count, &used) != 3 ||
		    ret->n == ID_MAP_MAX || inside >= ID_NONE || outside >= ID_NONE ||
		    count > ID_NONE)
			return false;
		ret->ranges[ret->n++] = (struct id_range){ (uint32_t)inside, (uint32_t)outside,
			                                   (uint32_t)count };
		text += used;
		text += strspn(text, " \n");
	}
	return true;
}

static int by_inside(const void *a, const void *b)
{
	const struct id_range *x = a, *y = b;

	return (x->inside > y->inside) - (x->inside < y->inside);
}

static int by_outside(const void *a, const void *b)
{
	const struct id_range *x = a, *y = b;

	return (x->outside > y->outside) - (x->outside < y->outside);
}

bool id_map_valid(const struct id_map *map)
{
	struct id_map sorted = *map;

	for (uint32_t i = 0; i < map->n; i++) {
		const struct id_range *r = &map->ranges[i];
		if (!r->count || r->inside > ID_NONE - r->count || r->outside > ID_NONE - r->count)
			return false;
	}
	qsort(sorted.ranges, sorted.n, sizeof(*sorted.ranges), by_inside);
	for (uint32_t i = 1; i < sorted.n; i++)
		if (sorted.ranges[i].inside - sorted.ranges[i - 1].inside <
		    sorted.ranges[i - 1].count)
			return false;
	qsort(sorted.ranges, sorted.n, sizeof(*sorted.ranges), by_outside);
	for (uint32_t i = 1; i < sorted.n; i++)
		if (sorted.ranges[i].outside - sorted.ranges[i - 1].outside <
		    sorted.ranges[i - 1].count)
			return false;
	return true;
}

static const struct id_range *find(const struct id_map *map, uint32_t outside)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (outside >= map->ranges[i].outside &&
		    outside - map->ranges[i].outside < map->ranges[i].count)
			return &map->ranges[i];
	return NULL;
}

bool id_map_within(const struct id_map *inner, const struct id_map *outer)
{
	for (uint32_t i = 0; i < inner->n; i++) {
		const struct id_range *r = &inner->ranges[i];
		const struct id_range *above = find(outer, r->outside);
		if (!above || r->count > above->count - (r->outside - above->outside))
			return false;
	}
	return true;
}

uint32_t id_map_inside(const struct id_map *map, uint32_t outside)
{
	const struct id_range *r = find(map, outside);

	return r ? r->inside + (outside - r->outside) : ID_NONE;
}

uint32_t id_map_outside(const struct id_map *map, uint32_t inside)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (inside >= map->ranges[i].inside &&
		    inside - map->ranges[i].inside < map->ranges[i].count)
			return map->ranges[i].outside + (inside - map->ranges[i].inside);
	return ID_NONE;
}

char *id_map_text(const struct id_map *map, const struct id_map *parent)
{
	const size_t line = 36; /* three numbers of up to ten digits, blanks, a newline */
	char *text = xcalloc(map->n + 1, line);
	size_t size = 0;

	for (uint32_t i = 0; i < map->n; i++) {
		const struct id_range *r = &map->ranges[i];
		size += (size_t)snprintf(text + size, line, "%u %u %u\n", r->inside,
		                         parent ? id_map_inside(parent, r->outside) : r->outside,
		                         r->count);
	}
	return text;
}
