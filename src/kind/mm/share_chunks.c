/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: which page set each page has been filled from. See share.c. */
#include "kind/mm/share_parts.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

static struct chunk *chunk_at(const struct inheritance *in, uint64_t number)
{
	return map_get(in->chunks, &number, sizeof(number));
}

/* the set that a page of a chunk is of for those who see what was filled up to @phase */
static uint32_t chunk_set(const struct sharing *sharing, const struct chunk *c, unsigned page,
                          uint32_t phase)
{
	uint32_t set = c->pages ? c->pages[page] : c->whole;

	if (!set || sharing->sets[set - 1]->phase <= phase || phase == ALWAYS)
		return set;
	for (size_t i = c->n_old; i-- > 0;)
		if (page >= c->old[i].first && page < c->old[i].first + c->old[i].n &&
		    sharing->sets[c->old[i].set - 1]->phase <= phase)
			return c->old[i].set;
	return 0;
}

struct lens share_lens_new(const struct sharing *sharing, const struct inheritance *in)
{
	struct lens lens = { .sharing = sharing };

	lens.levels = xcalloc(in->depth + 1u, sizeof(*lens.levels));
	return lens;
}

void share_lens_done(struct lens *lens)
{
	free(lens->levels);
}

void share_lens_focus(struct lens *lens, const struct inheritance *in, uint64_t number)
{
	uint32_t phase = ALWAYS;

	lens->n = 0;
	for (; in; phase = in->index, in = in->parent) {
		const struct chunk *c = chunk_at(in, number);
		if (!c)
			continue;
		lens->levels[lens->n].chunk = c;
		lens->levels[lens->n++].phase = phase;
	}
}

uint32_t share_lens_set(const struct lens *lens, unsigned page)
{
	uint32_t set = 0;

	for (size_t i = 0; i < lens->n && !set; i++)
		set = chunk_set(lens->sharing, lens->levels[i].chunk, page, lens->levels[i].phase);
	return set;
}

static void expand(struct chunk *c)
{
	if (c->pages)
		return;
	c->pages = xmalloc(CHUNK_PAGES * sizeof(*c->pages));
	for (unsigned i = 0; i < CHUNK_PAGES; i++)
		c->pages[i] = c->whole;
}

static void collapse(struct chunk *c)
{
	for (unsigned i = 1; i < CHUNK_PAGES; i++)
		if (c->pages[i] != c->pages[0])
			return;
	c->whole = c->pages[0];
	free(c->pages);
	c->pages = NULL;
}

static void remember_old(struct chunk *c, unsigned page)
{
	struct old *last = c->n_old ? &c->old[c->n_old - 1] : NULL;

	if (!c->pages[page])
		return;
	if (last && last->set == c->pages[page] && last->first + last->n == page)
		last->n++;
	else
		*array_push(c->old, c->n_old) = (struct old){ (uint16_t)page, 1, c->pages[page] };
}

void share_note_filled(struct inheritance *in, uint64_t start, uint64_t n_pages, uint32_t set)
{
	for (uint64_t page = start; page < start + n_pages; page++) {
		uint64_t number = page / CHUNK_PAGES;
		unsigned at = (unsigned)(page % CHUNK_PAGES);
		struct chunk *c = chunk_at(in, number);
		if (!c) {
			c = xcalloc(1, sizeof(*c));
			map_put(in->chunks, &number, sizeof(number), c);
		}
		expand(c);
		remember_old(c, at);
		c->pages[at] = set;
		if (at == CHUNK_PAGES - 1)
			collapse(c);
	}
}
