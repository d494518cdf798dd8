/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who forked whom, by shared pages. See genealogy.h. */
#include "kind/mm/genealogy.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define NONE         UINT32_MAX
#define N_WAYS       4
#define PATTERNS_MAX 20000u     /* what comes later may not be shared */
#define WORK_MAX     (4u << 20) /* steps to find all, and to weigh it: else the order is that given */
#define LOOK_MAX     (1u << 20) /* the same, to find the best order of one family */
#define NEGLIGIBLE   200        /* what is lost without all this is less than such a part */

/* the sets that have one page */
struct pattern {
	const MmState__PageSet **sets;
	size_t n, n_pages;
};

/* a set as the children of one ancestor see it */
struct block {
	uint64_t *members; /* bit map of units: they themselves, or descendants of theirs */
	bool own;          /* the ancestor is a member */
	bool outside;      /* somebody is that does not descend from it: it has inherited this */
};

struct page {
	struct block *blocks;
	size_t n;
};

/* children of one ancestor, or of one placeholder */
struct family {
	uint32_t *units; /* address spaces */
	size_t n;
	size_t n_words;
	struct page *pages;
	size_t n_pages;
	bool real;            /* not of a placeholder */
	const uint32_t *path; /* of that */
	size_t n_path;
};

struct result {
	uint32_t turn, maker; /* maker: 0 = the parent */
	uint32_t *path;
	size_t n_path;
};

struct genealogy {
	uint32_t *ids, *parents;
	uint32_t n;
	const MmState__PageSet **here; /* the sets of the page that is looked at */
	size_t n_here;
	struct pattern *patterns;
	size_t n_patterns;
	struct map *seen;
	struct result *results;
	uint32_t turn, n_placeholders, n_given;
	bool strict; /* a unit with both of two sets says that one is in the way of the other */
	bool makers; /* with other makers than the parents */
	uint64_t work, shared; /* shared: pages, times those who share them but one */
};

struct genealogy *genealogy_new(const uint32_t *parents, const uint32_t *ids, uint32_t n)
{
	struct genealogy *g = xcalloc(1, sizeof(*g));

	g->n = n;
	g->ids = xmemdup(ids, n * sizeof(*ids));
	g->parents = xmemdup(parents, n * sizeof(*parents));
	g->results = xcalloc(n, sizeof(*g->results));
	g->seen = map_new();
	return g;
}

void genealogy_free(struct genealogy *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n_patterns; i++)
		free(g->patterns[i].sets);
	for (uint32_t i = 0; i < g->n; i++)
		free(g->results[i].path);
	free(g->patterns);
	free(g->results);
	free(g->ids);
	free(g->parents);
	free(g->here);
	map_free(g->seen);
	free(g);
}

/* ---- patterns ---- */

void genealogy_add(struct genealogy *g, const MmState__PageSet *set)
{
	*array_push(g->here, g->n_here) = set;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

void genealogy_next_page(struct genealogy *g)
{
	size_t n = g->n_here, size = n * sizeof(*g->here);

	g->n_here = 0;
	for (size_t i = 0; i < n; i++)
		g->shared += g->here[i]->n_members - 1;
	if (n < 2)
		return;
	qsort(g->here, n, sizeof(*g->here), by_address);
	uintptr_t seen = (uintptr_t)map_get(g->seen, g->here, size);
	if (seen) {
		g->patterns[seen - 1].n_pages++;
	} else if (g->n_patterns < PATTERNS_MAX) {
		*array_push(g->patterns, g->n_patterns) = (struct pattern){ xmemdup(g->here, size),
			                                                    n, 1 };
		map_put(g->seen, g->here, size, (void *)(uintptr_t)g->n_patterns);
	}
}

/* ---- families ---- */

static bool has(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void put(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ull << (i % 64);
}

static uint32_t index_of(const uint32_t *sorted, uint32_t n, uint32_t value)
{
	uint32_t low = 0, high = n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (sorted[middle] < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* the child of @top that @space is or descends from; NONE if it does not */
static uint32_t branch(const struct genealogy *g, uint32_t top, uint32_t space)
{
	for (; space > top && g->parents[space] != space; space = g->parents[space])
		if (g->parents[space] == top)
			return space;
	return NONE;
}

static size_t count(const uint64_t *bits, size_t n_words)
{
	size_t n = 0;

	for (size_t i = 0; i < n_words; i++)
		n += (size_t)__builtin_popcountll(bits[i]);
	return n;
}

/* adds a block, if it is one: what one child alone has is filled below it. Takes @b. */
static void add_block(struct page *page, struct block b, size_t n_words)
{
	size_t n = count(b.members, n_words);

	if (n > 1 || (n && (b.own || b.outside)) || (b.own && b.outside))
		*array_push(page->blocks, page->n) = b;
	else
		free(b.members);
}

static void page_free(struct page *page)
{
	for (size_t i = 0; i < page->n; i++)
		free(page->blocks[i].members);
	free(page->blocks);
}

/* takes the blocks of @page, which is of no use with one alone */
static void add_page(struct family *f, struct page *page)
{
	if (page->n > 1)
		*array_push(f->pages, f->n_pages) = *page;
	else
		page_free(page);
}

static void family_done(struct family *f)
{
	for (size_t i = 0; i < f->n_pages; i++)
		page_free(&f->pages[i]);
	free(f->pages);
	free(f->units);
}

static struct block new_block(size_t n_words)
{
	return (struct block){ .members = xcalloc(n_words, sizeof(uint64_t)) };
}

static struct block see(struct genealogy *g, const struct family *f, uint32_t top,
                        const MmState__PageSet *set)
{
	struct block b = new_block(f->n_words);

	g->work += set->n_members;
	for (size_t k = 0; k < set->n_members; k++) {
		uint32_t space = index_of(g->ids, g->n, set->members[k]);
		uint32_t child = branch(g, top, space);
		if (space == top)
			b.own = true;
		else if (child == NONE)
			b.outside = true;
		else
			put(b.members, index_of(f->units, f->n, child));
	}
	return b;
}

/* ---- the order ---- */

enum place { INHERITED, BETWEEN, LAST, KEPT };

/* when at this page the block's turn is. KEPT: of what is inherited, and stays: no other has one */
static enum place place_of(const struct block *b)
{
	if (b->own)
		return b->outside ? KEPT : LAST;
	return b->outside ? INHERITED : BETWEEN;
}

/* before[i]: bit map of those that must come before unit i */
static uint64_t *find_constraints(const struct family *f)
{
	uint64_t *before = xcalloc(f->n * f->n_words, sizeof(*before));

	for (size_t p = 0; p < f->n_pages; p++)
		for (size_t x = 0; x < f->pages[p].n; x++)
			for (size_t y = 0; y < f->pages[p].n; y++) {
				const struct block *a = &f->pages[p].blocks[x];
				const struct block *b = &f->pages[p].blocks[y];
				if (place_of(a) >= place_of(b) || place_of(b) == KEPT)
					continue;
				for (uint32_t i = 0; i < f->n; i++)
					for (size_t w = 0; has(b->members, i) && w < f->n_words;
					     w++)
						before[i * f->n_words + w] |= a->members[w];
			}
	/* below one child there may be members of both: that is not its affair */
	for (uint32_t i = 0; i < f->n; i++)
		before[i * f->n_words + i / 64] &= ~(1ull << (i % 64));
	return before;
}

static bool is_within(const uint64_t *part, const uint64_t *whole, size_t n_words)
{
	for (size_t w = 0; w < n_words; w++)
		if (part[w] & ~whole[w])
			return false;
	return true;
}

/* some have been placed, and not all */
static bool is_open(const struct block *b, const uint64_t *placed, size_t n_words)
{
	bool any = false;

	for (size_t w = 0; w < n_words; w++)
		any |= b->members[w] & placed[w];
	return any && !is_within(b->members, placed, n_words);
}

/* at how many pages would it come between those of another block */
static size_t breaks(const struct family *f, const uint64_t *placed, uint32_t unit)
{
	size_t n = 0;

	for (size_t p = 0; p < f->n_pages; p++) {
		bool mine = false, open = false;
		for (size_t x = 0; x < f->pages[p].n; x++) {
			const struct block *b = &f->pages[p].blocks[x];
			if (has(b->members, unit))
				mine = true;
			else
				open |= is_open(b, placed, f->n_words);
		}
		n += mine && open;
	}
	return n;
}

static uint32_t pick(const struct family *f, const uint64_t *before, const uint64_t *placed,
                     bool look)
{
	uint32_t best = NONE;
	size_t fewest = SIZE_MAX;

	for (int any = 0; best == NONE; any++)
		for (uint32_t i = 0; i < f->n && fewest > 0; i++) {
			if (has(placed, i) ||
			    (!any && !is_within(before + i * f->n_words, placed, f->n_words)))
				continue;
			size_t n = look ? breaks(f, placed, i) : 0;
			if (n < fewest) {
				fewest = n;
				best = i;
			}
		}
	return best;
}

/* order[k]: the unit whose turn is k */
static uint32_t *find_order(const struct family *f)
{
	_cleanup_(free_p) uint64_t *before = find_constraints(f);
	_cleanup_(free_p) uint64_t *placed = xcalloc(f->n_words, sizeof(*placed));
	uint32_t *order = xcalloc(f->n, sizeof(*order));
	bool look = (uint64_t)f->n * f->n * f->n_pages * f->n_words < LOOK_MAX;

	for (uint32_t k = 0; k < f->n; k++) {
		order[k] = pick(f, before, placed, look);
		put(placed, order[k]);
	}
	return order;
}

/* ---- who must be made by a placeholder ---- */

struct span {
	uint32_t first, last; /* turns; NONE: no members */
};

static struct span span_of(const struct family *f, const uint32_t *order, const struct block *b)
{
	struct span s = { NONE, NONE };

	for (uint32_t k = 0; k < f->n; k++) {
		if (!has(b->members, order[k]))
			continue;
		s.first = s.first == NONE ? k : s.first;
		s.last = k;
	}
	return s;
}

/* whether @b cannot be filled because of @other */
static bool in_the_way(enum place other, struct span b, struct span o)
{
	if (other == KEPT)
		return true;
	if (o.first == NONE)
		return false;
	if (other == LAST)
		return o.first < b.last;
	if (other == INHERITED)
		return o.last > b.first;
	return o.first < b.first && o.last > b.first; /* of two the later gives way */
}

/* whether a unit is in both: it can inherit one of them only */
static bool meets(const struct family *f, const struct block *a, const struct block *b)
{
	for (size_t w = 0; w < f->n_words; w++)
		if (a->members[w] & b->members[w])
			return true;
	return false;
}

static uint32_t find_component(uint32_t *components, uint32_t i)
{
	while (components[i] != i)
		i = components[i] = components[components[i]];
	return i;
}

static void join(uint32_t *components, const struct family *f, const struct block *b)
{
	uint32_t first = NONE;

	for (uint32_t i = 0; i < f->n; i++) {
		if (!has(b->members, i))
			continue;
		uint32_t root = find_component(components, i);
		if (first == NONE)
			first = root;
		components[root] = first;
	}
}

/*
 * A unit in which the page is as block @b has it, and also as another has it. Both cannot come from
 * above: it has written the page itself, or a descendant of its has, and forked the others of @b
 * later, by CLONE_PARENT; or these were orphaned.
 */
static void note_makers(const struct family *f, const struct page *page, const struct block *b,
                        uint64_t *makers)
{
	for (size_t x = 0; x < page->n; x++)
		for (size_t w = 0; &page->blocks[x] != b && w < f->n_words; w++)
			makers[w] |= b->members[w] & page->blocks[x].members[w];
}

/*
 * components[i], after find_component(): equal for units that one process has forked. @makers: bit
 * map of those that are such processes, and alive.
 */
static uint32_t *find_components(const struct family *f, const uint32_t *order, bool strict,
                                 uint64_t *makers)
{
	uint32_t *components = xcalloc(f->n, sizeof(*components));

	for (uint32_t i = 0; i < f->n; i++)
		components[i] = i;
	for (size_t p = 0; p < f->n_pages; p++) {
		const struct page *page = &f->pages[p];
		_cleanup_(free_p) struct span *spans = xcalloc(page->n, sizeof(*spans));
		for (size_t x = 0; x < page->n; x++)
			spans[x] = span_of(f, order, &page->blocks[x]);
		for (size_t x = 0; x < page->n; x++) {
			bool bad = false;
			for (size_t y = 0; y < page->n && place_of(&page->blocks[x]) == BETWEEN;
			     y++)
				bad |= x != y &&
				       ((strict && meets(f, &page->blocks[x], &page->blocks[y])) ||
				        in_the_way(place_of(&page->blocks[y]), spans[x], spans[y]));
			if (!bad)
				continue;
			join(components, f, &page->blocks[x]);
			note_makers(f, page, &page->blocks[x], makers);
		}
	}
	return components;
}

/* ---- all of it ---- */

static int solve(struct genealogy *g, const struct family *f);

static void place(struct genealogy *g, const struct family *f, uint32_t unit)
{
	struct result *r = &g->results[f->units[unit]];

	r->turn = ++g->turn;
	r->n_path = f->n_path;
	r->path = f->n_path ? xmemdup(f->path, f->n_path * sizeof(*f->path)) : NULL;
}

/* those that a placeholder makes: what the others have, too, is what it inherits */
static void solve_component(struct genealogy *g, const struct family *f, uint32_t *components,
                            uint32_t root)
{
	uint32_t path[GENEALOGY_DEPTH_MAX];
	struct family sub = { .path = path, .n_path = f->n_path + 1 };

	if (f->n_path)
		memcpy(path, f->path, f->n_path * sizeof(*path));
	path[f->n_path] = ++g->n_placeholders;
	for (uint32_t i = 0; i < f->n; i++)
		if (find_component(components, i) == root)
			*array_push(sub.units, sub.n) = f->units[i];
	sub.n_words = (sub.n + 63) / 64;
	for (size_t p = 0; p < f->n_pages; p++) {
		struct page page = { 0 };
		for (size_t x = 0; x < f->pages[p].n; x++) {
			const struct block *b = &f->pages[p].blocks[x];
			struct block part = new_block(sub.n_words);
			part.outside = b->own || b->outside;
			for (uint32_t i = 0; i < f->n; i++) {
				if (!has(b->members, i))
					continue;
				if (find_component(components, i) == root)
					put(part.members, index_of(sub.units, sub.n, f->units[i]));
				else
					part.outside = true;
			}
			add_block(&page, part, sub.n_words);
		}
		add_page(&sub, &page);
	}
	solve(g, &sub);
	family_done(&sub);
}

static bool is_given(const struct family *f, const uint32_t *order, uint32_t *components)
{
	for (uint32_t k = 0; k < f->n; k++)
		if (order[k] != k || components[k] != k)
			return false;
	return true;
}

/*
 * Gives them to those of their siblings that have made them. As parents come before children, only
 * to such as come before. Returns whether there are any.
 */
static bool give_to_makers(struct genealogy *g, const struct family *f, uint32_t *components,
                           const uint64_t *makers)
{
	_cleanup_(free_p) uint32_t *maker = xcalloc(f->n, sizeof(*maker));
	bool any = false;

	for (uint32_t i = f->n; i-- > 0;)
		if (has(makers, i))
			maker[find_component(components, i)] = i + 1;
	for (uint32_t i = 0; i < f->n; i++) {
		uint32_t by = maker[find_component(components, i)];
		if (!by || by > i)
			continue;
		g->parents[f->units[i]] = f->units[by - 1];
		g->results[f->units[i]].maker = f->units[by - 1];
		g->n_given++;
		any = true;
	}
	return any;
}

/* 1: some were given to others, and are none of the family's any more */
static int solve(struct genealogy *g, const struct family *f)
{
	_cleanup_(free_p) uint32_t *order = find_order(f);
	_cleanup_(free_p) uint64_t *makers = xcalloc(f->n_words, sizeof(*makers));
	_cleanup_(free_p) uint32_t *components = find_components(f, order, g->strict, makers);
	_cleanup_(free_p) uint32_t *sizes = xcalloc(f->n, sizeof(*sizes));

	if (f->real && is_given(f, order, components))
		return 0;
	if (f->real && g->makers && give_to_makers(g, f, components, makers))
		return 1;
	for (uint32_t i = 0; i < f->n; i++)
		sizes[find_component(components, i)]++;
	for (uint32_t k = 0; k < f->n; k++) {
		uint32_t root = find_component(components, order[k]);
		/* all of a placeholder's: one more would not help */
		bool alone = sizes[root] == 1 || (sizes[root] == f->n && !f->real) ||
		             f->n_path == GENEALOGY_DEPTH_MAX;
		if (alone)
			place(g, f, order[k]);
		else if (sizes[root])
			solve_component(g, f, components, root);
		if (!alone)
			sizes[root] = 0; /* done, with all of it */
	}
	return 0;
}

/* pages at which the children of @top come in blocks */
static int solve_children(struct genealogy *g, uint32_t top, uint32_t *children, uint32_t n)
{
	int again = 0;
	struct family f = { .units = children, .n = n, .n_words = (n + 63) / 64, .real = true };

	for (size_t p = 0; p < g->n_patterns && g->work < WORK_MAX; p++) {
		struct page page = { 0 };
		for (size_t x = 0; x < g->patterns[p].n; x++)
			add_block(&page, see(g, &f, top, g->patterns[p].sets[x]), f.n_words);
		add_page(&f, &page);
	}
	if (f.n_pages && f.n_pages * f.n * f.n_words < WORK_MAX && g->work < WORK_MAX)
		again = solve(g, &f);
	family_done(&f);
	return again;
}

/* ascending; 0 is nobody's child */
static uint32_t *list_children(const struct genealogy *g, uint32_t top, const uint32_t *first,
                               const uint32_t *next, size_t *ret_n)
{
	uint32_t *children = NULL;

	for (uint32_t i = first[top]; i; i = next[i])
		if (g->parents[i] == top) /* it may have been given to a sibling */
			*array_push(children, *ret_n) = i;
	return children;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* those that were given to it, besides its own */
static void add_given(const struct genealogy *g, uint32_t top, uint32_t **children, size_t *n)
{
	size_t own = *n;

	for (uint32_t i = top + 1; i < g->n && g->n_given; i++)
		if (g->results[i].maker == top && g->parents[i] == top)
			*array_push(*children, *n) = i;
	if (*n > own)
		qsort(*children, *n, sizeof(**children), by_number);
}

/* one of the N_WAYS to do it, into results and parents */
static void attempt(struct genealogy *g, unsigned way)
{
	_cleanup_(free_p) uint32_t *first = xcalloc(g->n, sizeof(*first));
	_cleanup_(free_p) uint32_t *next = xcalloc(g->n, sizeof(*next));

	g->strict = (way - 1) & 1;
	g->makers = (way - 1) & 2;
	for (uint32_t i = g->n; i-- > 0;)
		if (g->parents[i] != i) {
			next[i] = first[g->parents[i]];
			first[g->parents[i]] = i;
		}
	for (uint32_t top = 0; top < g->n; top++)
		for (int again = 1; again;) {
			size_t n = 0;
			uint32_t *children = list_children(g, top, first, next, &n);
			add_given(g, top, &children, &n);
			again = 0;
			if (n > 1)
				again = solve_children(g, top, children, (uint32_t)n);
			else
				free(children);
		}
}

/* ---- what it is worth ---- */

/* address spaces, and behind them placeholders, as they are to be cloned */
struct clones {
	uint32_t *parents, *depths, *turns; /* a root's parent is itself */
	uint32_t n;
};

static void clones_done(struct clones *c)
{
	free(c->parents);
	free(c->depths);
	free(c->turns);
}

static uint32_t find_depth(struct clones *c, uint32_t i)
{
	if (!c->depths[i])
		c->depths[i] = c->parents[i] == i ? 1 : find_depth(c, c->parents[i]) + 1;
	return c->depths[i];
}

static struct clones list_clones(const struct genealogy *g)
{
	struct clones c = { .n = g->n + g->n_placeholders };

	c.parents = xcalloc(c.n, sizeof(*c.parents));
	c.depths = xcalloc(c.n, sizeof(*c.depths));
	c.turns = xcalloc(c.n, sizeof(*c.turns));
	for (uint32_t i = 0; i < g->n; i++) {
		const struct result *r = &g->results[i];
		uint32_t parent = g->parents[i];
		for (size_t k = 0; k < r->n_path; k++) {
			uint32_t node = g->n + r->path[k] - 1;
			c.parents[node] = parent;
			if (!c.turns[node] || r->turn < c.turns[node])
				c.turns[node] = r->turn;
			parent = node;
		}
		c.parents[i] = parent;
		c.turns[i] = r->turn ? r->turn : i;
	}
	for (uint32_t i = 0; i < c.n; i++)
		find_depth(&c, i);
	return c;
}

static uint32_t meet(const struct clones *c, uint32_t a, uint32_t b)
{
	while (a != b) {
		uint32_t *deeper = c->depths[a] >= c->depths[b] ? &a : &b;
		if (c->parents[*deeper] == *deeper)
			return NONE;
		*deeper = c->parents[*deeper];
	}
	return a;
}

/* a set from @top, by the turns of its children: @mine, if given, marks those that it has;
 * *ret_both is set where it finds such a mark */
static enum place view_set(const struct genealogy *g, const struct clones *c, uint32_t top,
                           const MmState__PageSet *set, struct span *ret, uint8_t *mine,
                           bool *ret_both)
{
	struct block b = { 0 };

	*ret = (struct span){ NONE, NONE };
	for (size_t k = 0; k < set->n_members; k++) {
		uint32_t i = index_of(g->ids, g->n, set->members[k]);
		b.own |= i == top;
		while (c->depths[i] > c->depths[top] + 1)
			i = c->parents[i];
		if (c->parents[i] != top || i == top) {
			b.outside |= i != top;
			continue;
		}
		if (c->turns[i] < ret->first)
			ret->first = c->turns[i];
		if (ret->last == NONE || c->turns[i] > ret->last)
			ret->last = c->turns[i];
		if (ret_both)
			*ret_both |= mine[i];
		else
			mine[i] = 1;
	}
	return place_of(&b);
}

/* whether what is said of a page lets this set be filled in the common ancestor of its members */
static bool works(const struct genealogy *g, const struct clones *c, const struct pattern *p,
                  const MmState__PageSet *set)
{
	_cleanup_(free_p) uint8_t *mine = xcalloc(c->n, 1);
	uint32_t top = index_of(g->ids, g->n, set->members[0]);
	struct span span, other;

	for (size_t k = 1; k < set->n_members && top != NONE; k++)
		top = meet(c, top, index_of(g->ids, g->n, set->members[k]));
	if (top == NONE)
		return true;
	if (view_set(g, c, top, set, &span, mine, NULL) != BETWEEN)
		return true; /* the others are the ones that it is in the way of */
	for (size_t i = 0; i < p->n; i++) {
		bool both = false;
		if (p->sets[i] == set)
			continue;
		enum place place = view_set(g, c, top, p->sets[i], &other, mine, &both);
		/* what lies wholly below one child is filled there, over this */
		if (place == BETWEEN && other.first == other.last)
			continue;
		if (both || in_the_way(place, span, other))
			return false;
	}
	return true;
}

/* pages that will not be shared, times those who would; UINT64_MAX: it is too much to find out */
static uint64_t cost(const struct genealogy *g)
{
	_cleanup_(clones_done) struct clones c = list_clones(g);
	uint64_t sum = 0, work = 0;

	for (size_t i = 0; i < g->n_patterns; i++)
		for (size_t k = 0; k < g->patterns[i].n; k++) {
			const MmState__PageSet *set = g->patterns[i].sets[k];
			if (!works(g, &c, &g->patterns[i], set))
				sum += g->patterns[i].n_pages * (set->n_members - 1);
			work += c.n + g->patterns[i].n * set->n_members;
			if (work > WORK_MAX)
				return UINT64_MAX;
		}
	return sum;
}

/* ---- the best of several ways ---- */

static void forget(struct genealogy *g, const uint32_t *parents)
{
	for (uint32_t i = 0; i < g->n; i++)
		free(g->results[i].path);
	memset(g->results, 0, g->n * sizeof(*g->results));
	memcpy(g->parents, parents, g->n * sizeof(*parents));
	g->turn = g->n_placeholders = g->n_given = 0;
	g->work = 0;
}

/*
 * What is found depends on whom one believes first, and nothing is best for all families: so all
 * ways are tried, and weighed.
 */
void genealogy_solve(struct genealogy *g)
{
	_cleanup_(free_p) uint32_t *parents = xmemdup(g->parents, g->n * sizeof(*parents));
	uint64_t least = g->n_patterns ? cost(g) : 0;
	unsigned best = 0;

	if (least == UINT64_MAX || least < g->shared / NEGLIGIBLE)
		return;
	for (unsigned way = 1; way <= N_WAYS && least > 0; way++) {
		attempt(g, way);
		uint64_t sum = cost(g);
		if (sum < least) {
			least = sum;
			best = way;
		}
		if (least > 0)
			forget(g, parents);
	}
	if (best && least > 0)
		attempt(g, best);
}

size_t genealogy_result(const struct genealogy *g, uint32_t space, struct genealogy_place *ret)
{
	const struct result *r = &g->results[space];

	*ret = (struct genealogy_place){ r->turn, r->maker, r->path };
	return r->n_path;
}
