/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Id maps of user namespaces, user_namespaces(7), as plain data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_MAP_MAX 340 /* UID_GID_MAP_MAX_EXTENTS */
#define ID_NONE    UINT32_MAX

struct id_range {
	uint32_t inside, outside, count; /* outside: as the coordinator's namespace has it */
};

struct id_map {
	uint32_t n; /* 0: not written yet, nothing is mapped */
	struct id_range ranges[ID_MAP_MAX];
};

/* the text of /proc/PID/uid_map; false: it is malformed, or has ids that we have no name for */
bool id_map_parse(const char *text, struct id_map *ret);
/* no empty range, none beyond the ids there are, no two with an id in common on either side */
bool id_map_valid(const struct id_map *map);
/* every id that @inner has is one that @outer has, and each range lies in one of its ranges */
bool id_map_within(const struct id_map *inner, const struct id_map *outer);
uint32_t id_map_inside(const struct id_map *map, uint32_t outside); /* ID_NONE: not mapped */
uint32_t id_map_outside(const struct id_map *map, uint32_t inside); /* the same */
/* the map as the kernel takes it from one who is in @parent (NULL: in the coordinator's); on the
 * heap */
char *id_map_text(const struct id_map *map, const struct id_map *parent);
