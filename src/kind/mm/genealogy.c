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
#define PATTERNS_MAX 20000u      /* what comes later may not be shared */
#define VERSIONS_MAX (4u << 20)  /* of all processes: the same */
#define WORK_MAX     (64u << 20) /* comparisons of versions: after that the first that comes */
#define ATTEMPTS     64u

/* the sets that have one page */
struct pattern {
	const MmState__PageSet **sets;
	size_t n;
	uint64_t n_pages;
};

/* a version of the pages of one pattern: who has it makes one set */
struct version {
	uint32_t pattern;
	uint32_t n_holders; /* lives that have it. One alone may have written it later. */
};

/* of a process, as far back as it has been told; those of placeholders come after all others */
struct life {
	uint32_t *versions; /* ascending, so at most one of a pattern */
	size_t n_versions;
	uint32_t above;   /* the process that it must descend from; itself: it is nobody's child */
	uint32_t n_below; /* lives that must descend from it, and have not been traced yet */
	uint32_t forker;  /* NONE: it has not been traced yet */
	uint32_t *forked; /* those that have been traced to it, so the last one first */
	size_t n_forked;
	unsigned height; /* of placeholders below it, at most */
};

struct genealogy {
	uint32_t *ids, *parents, *above;
	uint32_t n, n_dead; /* the dead come after the others, as the first placeholders */
	const MmState__PageSet **here; /* the sets of the page that is looked at */
	size_t n_here;
	struct pattern *patterns;
	size_t n_patterns, n_members;
	struct map *seen;
	struct genealogy_place *places;
};

/* a history that is being told */
struct tale {
	const struct genealogy *g;
	struct version *versions;
	size_t n_versions;
	struct life *lives;
	size_t n_lives;
	uint64_t lost; /* what does not fit: pages, times processes */
	uint64_t work;
	uint64_t random; /* 0: the most likely first */
	bool hopeful;    /* what parents had may have been written over; needs fewer placeholders */
};

struct genealogy *genealogy_new(const uint32_t *parents, const uint32_t *ids, uint32_t n)
{
	struct genealogy *g = xcalloc(1, sizeof(*g));

	g->n = n;
	g->ids = xmemdup(ids, n * sizeof(*ids));
	g->parents = xmemdup(parents, n * sizeof(*parents));
	g->above = xmemdup(parents, n * sizeof(*parents));
	g->places = xcalloc(n, sizeof(*g->places));
	g->seen = map_new();
	return g;
}

void genealogy_free(struct genealogy *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n_patterns; i++)
		free(g->patterns[i].sets);
	free(g->patterns);
	free(g->places);
	free(g->ids);
	free(g->parents);
	free(g->above);
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

/* of one set alone any order makes */
void genealogy_next_page(struct genealogy *g, uint64_t n_pages)
{
	size_t n = g->n_here, size = n * sizeof(*g->here), n_members = 0;

	g->n_here = 0;
	if (n < 2)
		return;
	qsort(g->here, n, sizeof(*g->here), by_address);
	uintptr_t seen = (uintptr_t)map_get(g->seen, g->here, size);
	if (seen) {
		g->patterns[seen - 1].n_pages += n_pages;
		return;
	}
	for (size_t i = 0; i < n; i++)
		n_members += g->here[i]->n_members;
	if (g->n_patterns == PATTERNS_MAX || g->n_members + n_members > VERSIONS_MAX)
		return;
	g->n_members += n_members;
	*array_push(g->patterns, g->n_patterns) = (struct pattern){ xmemdup(g->here, size), n,
		                                                    n_pages };
	map_put(g->seen, g->here, size, (void *)(uintptr_t)g->n_patterns);
}

bool genealogy_any(const struct genealogy *g)
{
	return g->n_patterns > 0;
}

/* ---- a tale ---- */

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

/* as it is in the end */
static struct tale tale_new(const struct genealogy *g, unsigned attempt)
{
	struct tale t = { .g = g, .hopeful = attempt == 0 };

	t.random = attempt > 1 ? attempt : 0;
	for (size_t p = 0; p < g->n_patterns; p++)
		t.n_versions += g->patterns[p].n;
	t.versions = xcalloc(t.n_versions + 1, sizeof(*t.versions));
	t.n_versions = 0;
	/* for two that are traced to it comes one placeholder at most */
	t.n_lives = g->n + g->n_dead;
	t.lives = xcalloc(2 * t.n_lives, sizeof(*t.lives));
	for (uint32_t i = 0; i < t.n_lives; i++)
		t.lives[i] = (struct life){ .above = g->above[i], .forker = NONE };
	for (uint32_t i = 0; i < t.n_lives; i++)
		t.lives[g->above[i]].n_below += g->above[i] != i;
	for (uint32_t p = 0; p < g->n_patterns; p++)
		for (size_t k = 0; k < g->patterns[p].n; k++) {
			const MmState__PageSet *set = g->patterns[p].sets[k];
			for (size_t m = 0; m < set->n_members; m++) {
				struct life *life =
					&t.lives[index_of(g->ids, g->n, set->members[m])];
				*array_push(life->versions,
				            life->n_versions) = (uint32_t)t.n_versions;
			}
			t.versions[t.n_versions++] = (struct version){ p,
				                                       (uint32_t)set->n_members };
		}
	return t;
}

static void tale_done(struct tale *t)
{
	for (size_t i = 0; i < t->n_lives; i++) {
		free(t->lives[i].versions);
		free(t->lives[i].forked);
	}
	free(t->lives);
	free(t->versions);
}

/* what two lives have at a page, one after the other of those that others have as well; NONE: not
 * a one */
struct pair {
	const struct life *a, *b;
	size_t at_a, at_b;
	uint32_t of_a, of_b;
};

static uint32_t skip_own(const struct tale *t, const struct life *life, size_t *at)
{
	while (*at < life->n_versions && t->versions[life->versions[*at]].n_holders < 2)
		++*at;
	return *at < life->n_versions ? life->versions[*at] : NONE;
}

static bool next_pair(const struct tale *t, struct pair *p)
{
	p->of_a = skip_own(t, p->a, &p->at_a);
	p->of_b = skip_own(t, p->b, &p->at_b);
	uint32_t page_a = p->of_a == NONE ? NONE : t->versions[p->of_a].pattern;
	uint32_t page_b = p->of_b == NONE ? NONE : t->versions[p->of_b].pattern;
	if (page_a < page_b)
		p->of_b = NONE;
	if (page_b < page_a)
		p->of_a = NONE;
	p->at_a += p->of_a != NONE;
	p->at_b += p->of_b != NONE;
	return p->of_a != NONE || p->of_b != NONE;
}

/* pages that two lives have in common, only one of them has, or that each has in its own way */
struct likeness {
	uint64_t same, only_a, only_b, clash;
};

static struct likeness compare(struct tale *t, uint32_t a, uint32_t b)
{
	struct likeness l = { 0 };
	struct pair p = { .a = &t->lives[a], .b = &t->lives[b] };

	while (next_pair(t, &p)) {
		uint32_t any = p.of_a == NONE ? p.of_b : p.of_a;
		uint64_t n = t->g->patterns[t->versions[any].pattern].n_pages;
		if (p.of_a == p.of_b)
			l.same += n;
		else if (p.of_a == NONE)
			l.only_b += n;
		else if (p.of_b == NONE)
			l.only_a += n;
		else
			l.clash += n;
		t->work++;
	}
	return l;
}

static bool descends(const struct genealogy *g, uint32_t i, uint32_t from)
{
	while (i != from && g->parents[i] != i)
		i = g->parents[i];
	return i == from;
}

void genealogy_put_below(struct genealogy *g, uint32_t space, uint32_t above)
{
	if (above != space && descends(g, above, g->parents[space]) && !descends(g, above, space))
		g->above[space] = above;
}

uint32_t genealogy_add_dead(struct genealogy *g, uint32_t parent)
{
	size_t n = g->n + g->n_dead++, size = sizeof(*g->parents);

	g->parents = xrealloc(g->parents, n + 1, size);
	g->above = xrealloc(g->above, n + 1, size);
	g->parents[n] = g->above[n] = parent;
	return (uint32_t)n;
}

/* a is traced to b, which from here back has the versions of both */
static void trace(struct tale *t, uint32_t a, uint32_t b)
{
	struct life *from = &t->lives[a], *to = &t->lives[b];
	struct pair p = { .a = from, .b = to };
	uint32_t *versions = xcalloc(from->n_versions + to->n_versions + 1, sizeof(*versions));
	size_t n = 0;

	while (next_pair(t, &p)) {
		if (p.of_a != NONE && p.of_b != NONE)
			t->versions[p.of_a].n_holders--;
		if (p.of_a != NONE && p.of_b != NONE && p.of_a != p.of_b)
			t->lost += t->g->patterns[t->versions[p.of_a].pattern].n_pages;
		versions[n++] = p.of_b == NONE ? p.of_a : p.of_b;
	}
	free(to->versions);
	to->versions = versions;
	to->n_versions = n;
	free(take_ptr(from->versions));
	from->n_versions = 0;
	from->forker = b;
	t->lives[from->above].n_below--;
	*array_push(to->forked, to->n_forked) = a;
}

static bool is_placeholder(const struct tale *t, uint32_t i)
{
	return i >= t->g->n;
}

static uint32_t new_placeholder(struct tale *t, uint32_t above)
{
	t->lives[t->n_lives++] = (struct life){ .above = above, .forker = NONE };
	t->lives[above].n_below++;
	return (uint32_t)t->n_lives - 1;
}

static void move_below(struct tale *t, uint32_t i, uint32_t above)
{
	t->lives[t->lives[i].above].n_below--;
	t->lives[above].n_below++;
	t->lives[i].above = above;
}

/* whether all that is to descend from it has been traced */
static bool is_alone(const struct tale *t, uint32_t i)
{
	const struct life *life = &t->lives[i];

	return life->forker == NONE && life->above != i && !life->n_below;
}

/* a has been forked by b, or both by one that is dead. @above: of it, see meet_below() */
static void join(struct tale *t, uint32_t a, uint32_t b, uint32_t above)
{
	/* b is the one that goes on; or, of two somebody's children, the later one */
	bool swap = is_placeholder(t, a)
	                    ? !is_placeholder(t, b) || t->lives[a].height > t->lives[b].height
	                    : !is_placeholder(t, b) && a > b;

	if (t->lives[a].above != b) {
		if (swap && is_alone(t, b)) {
			uint32_t other = a;
			a = b;
			b = other;
		}
		if (!is_placeholder(t, b) && is_alone(t, b)) {
			uint32_t placeholder = new_placeholder(t, above);
			trace(t, b, placeholder);
			b = placeholder;
		}
		move_below(t, b, above);
	}
	if (is_placeholder(t, a) && t->lives[a].height >= t->lives[b].height)
		t->lives[b].height = t->lives[a].height + 1;
	trace(t, a, b);
}

/*
 * Below which process a can have been forked by b, or by who has forked b; NONE: by neither. Makers
 * must be descendants of the parents of what they make.
 */
static uint32_t meet_below(const struct tale *t, uint32_t a, uint32_t b)
{
	uint32_t of_a = t->lives[a].above, of_b = t->lives[b].above;

	if (of_a == b || of_a == of_b)
		return of_b;
	if (of_b == b)
		return NONE;
	if (descends(t->g, of_b, of_a))
		return of_b;
	if (!descends(t->g, of_a, of_b))
		return NONE;
	for (uint32_t i = of_a; t->lives[i].above != i; i = t->lives[i].above)
		if (i == b)
			return NONE;
	return of_a;
}

/* ---- whom it fits ---- */

struct match {
	uint32_t a, b, above;
	uint64_t clash, same;
	uint64_t guess; /* pages that the one must have had, and overwritten later, as the other */
	bool moved;     /* somebody must descend from another one than has been known */
	bool parent;
};

static uint64_t next_random(struct tale *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random;
}

/* a has been forked by b, or both by the same */
static struct match match(struct tale *t, uint32_t a, uint32_t b, uint32_t above)
{
	const struct life *of_a = &t->lives[a], *of_b = &t->lives[b];
	struct likeness l = compare(t, a, b);
	struct match m = { .a = a, .b = b, .above = above, .clash = l.clash, .same = l.same };

	m.parent = of_a->above == b;
	m.guess = l.only_a;
	m.moved = !m.parent && of_b->above != above;
	/* of two somebody's children the one may as well be put where the other is */
	if (l.only_b < l.only_a && (is_alone(t, b) || (m.parent && t->hopeful))) {
		m.guess = l.only_b;
		m.moved = !m.parent && of_a->above != above;
	}
	if ((m.guess || m.moved) && t->random)
		m.guess = 1 + next_random(t) % 1024;
	return m;
}

static bool is_better(const struct match *x, const struct match *y)
{
	if (x->clash != y->clash)
		return x->clash < y->clash;
	if (x->guess != y->guess)
		return x->guess < y->guess;
	if (x->moved != y->moved)
		return y->moved;
	if (x->parent != y->parent)
		return x->parent;
	return x->same > y->same;
}

/* nothing is lost by it, whatever the others' history */
static bool is_safe(const struct match *m)
{
	return !m->clash && !m->guess && !m->moved;
}

/* traces those that certainly fit their parents; the last one first. Returns whether any did. */
static bool trace_to_parents(struct tale *t)
{
	bool any = false;

	for (uint32_t i = (uint32_t)t->n_lives; i-- > 0;) {
		uint32_t above = t->lives[i].above;
		if (!is_alone(t, i))
			continue;
		struct match m = match(t, i, above, t->lives[above].above);
		if (!is_safe(&m))
			continue;
		trace(t, i, above);
		any = true;
	}
	return any;
}

static bool find_match(struct tale *t, struct match *ret)
{
	bool any = false;

	for (uint32_t a = (uint32_t)t->n_lives; a-- > 0;)
		for (uint32_t b = 0; b < t->n_lives && is_alone(t, a); b++) {
			uint32_t above;
			if (a == b || t->lives[b].forker != NONE ||
			    (above = meet_below(t, a, b)) == NONE)
				continue;
			struct match m = match(t, a, b, above);
			if (!any || is_better(&m, ret))
				*ret = m;
			any = true;
			if (is_safe(&m) || t->work > WORK_MAX)
				return true;
		}
	return any;
}

/* by their parents, in the order given; returns whether that will do */
static bool tell_given(struct tale *t)
{
	for (uint32_t i = t->g->n; i-- > 0;) {
		uint32_t parent = t->g->parents[i];
		if (parent == i)
			continue;
		trace(t, i, parent);
		if (t->lost)
			return false;
	}
	return true;
}

/* @enough: what may be lost; who loses as much need not go on */
static void tell(struct tale *t, uint64_t enough)
{
	struct match m = { 0 };

	while (t->lost < enough)
		if (!trace_to_parents(t)) {
			if (!find_match(t, &m))
				return;
			join(t, m.a, m.b, m.above);
		}
}

/* ---- who is made by whom ---- */

static struct genealogy_place place_of(const struct tale *t, uint32_t space)
{
	struct genealogy_place place = { 0 };
	uint32_t i = t->lives[space].forker;

	for (; is_placeholder(t, i); i = t->lives[i].forker)
		place.n_path++;
	place.maker = i == t->g->parents[space] ? 0 : i;
	if (place.n_path > GENEALOGY_DEPTH_MAX)
		return (struct genealogy_place){ 0 };
	i = t->lives[space].forker;
	for (size_t k = place.n_path; k-- > 0; i = t->lives[i].forker)
		place.path[k] = i - t->g->n + 1;
	return place;
}

/* as the order given has it */
static bool is_plain(const struct tale *t, uint32_t i)
{
	const struct life *life = &t->lives[i];

	for (size_t k = 0; k < life->n_forked; k++) {
		uint32_t child = life->forked[k];
		if (is_placeholder(t, child) || t->g->parents[child] != i ||
		    (k && life->forked[k - 1] < child))
			return false;
	}
	return true;
}

static void place_forked(const struct tale *t, uint32_t i, uint32_t *turn)
{
	const struct life *life = &t->lives[i];

	for (size_t k = life->n_forked; k-- > 0;) {
		uint32_t child = life->forked[k];
		if (is_placeholder(t, child)) {
			place_forked(t, child, turn);
			continue;
		}
		t->g->places[child] = place_of(t, child);
		t->g->places[child].turn = ++*turn;
	}
}

static void take_places(const struct tale *t)
{
	uint32_t turn = 0;

	memset(t->g->places, 0, t->g->n * sizeof(*t->g->places));
	for (uint32_t i = 0; i < t->g->n; i++)
		if (t->g->n_dead || !is_plain(t, i))
			place_forked(t, i, &turn);
}

/* The most likely tale is mostly true. Where it is not, others are told. */
uint64_t genealogy_solve(struct genealogy *g)
{
	struct tale given = tale_new(g, 0);
	bool will_do = !g->n_dead && tell_given(&given);
	uint64_t least = UINT64_MAX, work = 0;

	tale_done(&given);
	for (unsigned i = 0; !will_do && i < ATTEMPTS && least > 0 && work < WORK_MAX; i++) {
		struct tale t = tale_new(g, i);
		tell(&t, least);
		if (t.lost < least) {
			least = t.lost;
			take_places(&t);
		}
		work += t.work;
		tale_done(&t);
	}
	return will_do ? 0 : least;
}

struct genealogy_place genealogy_result(const struct genealogy *g, uint32_t space)
{
	return g->places[space];
}
