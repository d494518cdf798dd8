/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hash map from a byte string to a pointer; keys are copied, values are the caller's. */
#pragma once

#include <stddef.h>

struct map;

struct map *map_new(void);    /* empty; map_free() it */
void map_free(struct map *m); /* takes NULL; values are not touched */
void *map_get(const struct map *m, const void *key, size_t key_size); /* NULL when absent */
/* sets the value of key (replacing); value must not be NULL */
void map_put(struct map *m, const void *key, size_t key_size, void *value);
size_t map_size(const struct map *m);
/* walks all values in no order: start with *cursor = 0; NULL at the end */
void *map_next(const struct map *m, size_t *cursor);

static inline void map_freep(struct map **m)
{
	map_free(*m);
}
