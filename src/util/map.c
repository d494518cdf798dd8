/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open addressing with linear probing over xxh3; grows at three quarters. See map.h. */
#include "util/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "util/alloc.h"

struct slot {
	uint64_t hash;
	void *key;
	size_t key_size;
	void *value; /* NULL = free slot */
};

struct map {
	struct slot *slots;
	size_t n, capacity; /* capacity is a power of two */
};

struct map *map_new(void)
{
	struct map *m = xcalloc(1, sizeof(*m));
	m->capacity = 64;
	m->slots = xcalloc(m->capacity, sizeof(*m->slots));
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->capacity; i++)
		free(m->slots[i].key);
	free(m->slots);
	free(m);
}

static struct slot *find(const struct map *m, uint64_t hash, const void *key, size_t key_size)
{
	for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
		struct slot *s = &m->slots[i];
		if (!s->value)
			return s;
		if (s->hash == hash && s->key_size == key_size && !memcmp(s->key, key, key_size))
			return s;
	}
}

void *map_get(const struct map *m, const void *key, size_t key_size)
{
	return find(m, XXH3_64bits(key, key_size), key, key_size)->value;
}

static void grow(struct map *m)
{
	struct map bigger = { .n = m->n, .capacity = m->capacity * 2 };

	bigger.slots = xcalloc(bigger.capacity, sizeof(*bigger.slots));
	for (size_t i = 0; i < m->capacity; i++) {
		struct slot *s = &m->slots[i];
		if (s->value)
			*find(&bigger, s->hash, s->key, s->key_size) = *s;
	}
	free(m->slots);
	*m = bigger;
}

void map_put(struct map *m, const void *key, size_t key_size, void *value)
{
	if ((m->n + 1) * 4 > m->capacity * 3)
		grow(m);
	uint64_t hash = XXH3_64bits(key, key_size);
	struct slot *s = find(m, hash, key, key_size);
	if (!s->value) {
		*s = (struct slot){ .hash = hash,
			            .key = xmemdup(key, key_size),
			            .key_size = key_size };
		m->n++;
	}
	s->value = value;
}

size_t map_size(const struct map *m)
{
	return m->n;
}

void *map_next(const struct map *m, size_t *cursor)
{
	while (*cursor < m->capacity) {
		struct slot *s = &m->slots[(*cursor)++];
		if (s->value)
			return s->value;
	}
	return NULL;
}
