/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who forked whom, found by shared pages. Address space i has object id 10 + i; no root needed. The
 * random histories: the first argument is their number, the second the first seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kind/mm/genealogy.h"

#define MAX  16
#define SETS 1000

/* the sets of one page, each a text of digits; up to four */
static MmState__PageSet sets[SETS];
static uint32_t members[SETS][MAX];
static size_t n_sets;

static struct genealogy *family(const uint32_t *parents, uint32_t n)
{
	uint32_t ids[MAX];

	n_sets = 0;
	for (uint32_t i = 0; i < n; i++)
		ids[i] = 10 + i;
	return genealogy_new(parents, ids, n);
}

static const MmState__PageSet *set_of(const char *text)
{
	MmState__PageSet *set = &sets[n_sets];

	mm_state__page_set__init(set);
	set->members = members[n_sets++];
	for (; *text; text++)
		set->members[set->n_members++] = 10 + (uint32_t)(*text - '0');
	return set;
}

static void page(struct genealogy *g, const char *a, const char *b)
{
	genealogy_add(g, set_of(a));
	if (b)
		genealogy_add(g, set_of(b));
	genealogy_next_page(g, 1);
}

static struct genealogy_place place(const struct genealogy *g, uint32_t i, size_t want_path)
{
	struct genealogy_place p = genealogy_result(g, i);

	assert_int_equal(p.n_path, want_path);
	return p;
}

/* a parent that writes between its forks: as their pids say */
static void test_ordinary(void **state)
{
	static const uint32_t parents[] = { 0, 0, 0, 0 };
	struct genealogy *g = family(parents, 4);

	page(g, "0123", NULL);
	page(g, "12", "03");
	page(g, "023", NULL);
	genealogy_solve(g);
	for (uint32_t i = 1; i < 4; i++) {
		assert_int_equal(place(g, i, 0).turn, 0);
		assert_int_equal(place(g, i, 0).maker, 0);
	}
	genealogy_free(g);
}

/* 2 and 3 were orphaned, and are older than 1: what is the parent's in the end comes last */
static void test_order(void **state)
{
	static const uint32_t parents[] = { 0, 0, 0, 0 };
	struct genealogy *g = family(parents, 4);

	page(g, "23", "01");
	genealogy_solve(g);
	assert_true(place(g, 2, 0).turn < place(g, 1, 0).turn);
	assert_true(place(g, 3, 0).turn < place(g, 1, 0).turn);
	genealogy_free(g);
}

/* 3 and 4 have what a dead child of 1 wrote, where 1 has what 0 has: no order makes that */
static void test_stand_in(void **state)
{
	static const uint32_t parents[] = { 0, 0, 1, 1, 1 };
	struct genealogy *g = family(parents, 5);

	page(g, "34", "01");
	page(g, "34", "012");
	genealogy_solve(g);
	assert_int_equal(place(g, 2, 0).maker, 0);
	const uint32_t *path = place(g, 3, 1).path;
	assert_int_equal(path[0], place(g, 4, 1).path[0]);
	assert_true(place(g, 3, 1).turn < place(g, 4, 1).turn);
	genealogy_free(g);
}

/* 1 forked 3, wrote, and made 2 for its parent: 1 makes it again, after 3 */
static void test_maker(void **state)
{
	static const uint32_t parents[] = { 0, 0, 0, 1 };
	struct genealogy *g = family(parents, 4);

	page(g, "12", "03");
	genealogy_solve(g);
	assert_int_equal(place(g, 2, 0).maker, 1);
	assert_true(place(g, 3, 0).turn < place(g, 2, 0).turn);
	genealogy_free(g);
}

/* sets without any common ancestor, and pages that nobody else has */
static void test_strangers(void **state)
{
	static const uint32_t parents[] = { 0, 1, 0, 1 };
	struct genealogy *g = family(parents, 4);

	page(g, "03", "12");
	page(g, "0123", NULL);
	page(g, "02", "13");
	genealogy_next_page(g, 1);
	genealogy_solve(g);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(place(g, i, 0).maker, 0);
	genealogy_free(g);
	genealogy_free(NULL);
}

/* ---- random histories, and what restart would make of them ---- */

#define PROCESSES 16 /* at a time */
#define PAGES     48
#define NODES     (PROCESSES + 64)

struct process {
	unsigned parent; /* index among all */
	unsigned pages[PAGES];
	bool dead, subreaper;
};

static struct {
	struct process all[1000];
	unsigned n, n_live, frames;
} history;

static uint64_t state;

static unsigned any(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

static unsigned any_living(void)
{
	unsigned i = any(history.n);

	while (history.all[i].dead)
		i = any(history.n);
	return i;
}

static void die(unsigned i)
{
	unsigned reaper = history.all[i].parent;

	while (!history.all[reaper].subreaper)
		reaper = history.all[reaper].parent;
	for (unsigned k = 0; k < history.n; k++)
		if (history.all[k].parent == i)
			history.all[k].parent = reaper;
	history.all[i].dead = true;
	history.n_live--;
}

static void fork_from(unsigned i, bool for_parent)
{
	struct process *child = &history.all[history.n++];

	*child = history.all[i];
	child->parent = for_parent && i ? history.all[i].parent : i;
	child->subreaper = !any(4);
	history.n_live++;
}

static void make_history(void)
{
	const unsigned n_pages = 2 + any(PAGES - 1), most = 3 + any(PROCESSES - 2);

	memset(&history, 0, sizeof(history));
	history.n = history.n_live = 1;
	history.all[0].subreaper = true;
	for (unsigned step = 0, last = 50 + any(300); step < last; step++) {
		unsigned i = any_living(), what = any(10);
		if (what < 5)
			for (unsigned k = any(4); k-- > 0;)
				history.all[i].pages[any(n_pages)] = any(8) ? ++history.frames : 0;
		else if (what < 9 && history.n_live < most)
			fork_from(i, any(4) == 0);
		else if (what == 9 && i)
			die(i);
	}
}

/* address spaces and placeholders, as they are cloned */
static struct {
	unsigned n, parent[NODES], index[NODES], n_children[NODES], children[NODES][NODES];
	unsigned of[1000]; /* which space a process is */
	unsigned process[PROCESSES], parents[PROCESSES];
} tree;

static void find_spaces(void)
{
	memset(&tree, 0, sizeof(tree));
	tree.n = 1; /* the first process; parents come before children */
	for (unsigned i = 0; i < tree.n; i++)
		for (unsigned k = 1; k < history.n; k++)
			if (!history.all[k].dead && history.all[k].parent == tree.process[i]) {
				tree.parents[tree.n] = i;
				tree.of[k] = tree.n;
				tree.process[tree.n++] = k;
			}
}

static void add_child(unsigned parent, unsigned child)
{
	tree.parent[child] = parent;
	tree.index[child] = tree.n_children[parent];
	tree.children[parent][tree.n_children[parent]++] = child;
}

static void find_clones(const struct genealogy *g)
{
	bool there[NODES] = { false };

	for (unsigned turn = 0; turn < NODES; turn++)
		for (unsigned i = 1; i < tree.n; i++) {
			struct genealogy_place p = genealogy_result(g, i);
			if (p.turn != turn)
				continue;
			unsigned parent = p.maker ? p.maker : tree.parents[i];
			for (unsigned k = 0; k < p.n_path; k++) {
				unsigned node = PROCESSES + p.path[k] - 1;
				assert_true(node < NODES);
				if (!there[node])
					add_child(parent, node);
				there[node] = true;
				parent = node;
			}
			add_child(parent, i);
		}
}

static bool is_below(unsigned node, unsigned top)
{
	while (node && node != top)
		node = tree.parent[node];
	return node == top;
}

/* the members of a version, one bit each */
static unsigned holders(unsigned page, unsigned version)
{
	unsigned bits = 0;

	for (unsigned i = 0; version && i < tree.n; i++)
		if (history.all[tree.process[i]].pages[page] == version)
			bits |= 1u << i;
	return __builtin_popcount(bits) > 1 ? bits : 0;
}

static bool all_below(unsigned who, unsigned top)
{
	for (unsigned i = 0; i < tree.n; i++)
		if (who >> i & 1 && !is_below(i, top))
			return false;
	return true;
}

static bool some_below(unsigned who, unsigned top)
{
	for (unsigned i = 0; i < tree.n; i++)
		if (who >> i & 1 && is_below(i, top))
			return true;
	return false;
}

/* the version that is filled in @node right before a child is cloned, as in share.c; 0: none */
static unsigned due(unsigned page, unsigned node, unsigned child)
{
	for (unsigned i = 0; i < tree.n; i++) {
		unsigned version = history.all[tree.process[i]].pages[page];
		unsigned who = holders(page, version);
		bool common = who && all_below(who, node), first = common;
		for (unsigned k = 0; k < tree.n_children[node]; k++) {
			unsigned other = tree.children[node][k];
			common = common && !all_below(who, other);
			first = first && (k >= child || !some_below(who, other));
		}
		if (common && first && some_below(who, tree.children[node][child]))
			return version;
	}
	return 0;
}

/* how many do not get what they share */
static unsigned replay(unsigned page, unsigned node, unsigned version)
{
	unsigned lost = 0, own = 0;

	if (node < PROCESSES)
		own = history.all[tree.process[node]].pages[page];
	for (unsigned i = 0; i < tree.n_children[node]; i++) {
		unsigned next = due(page, node, i), old = holders(page, version);
		bool wanted = old && old == holders(page, own);
		for (unsigned k = i; k < tree.n_children[node]; k++)
			wanted |= some_below(old, tree.children[node][k]);
		if (next && !wanted)
			version = next;
		lost += replay(page, tree.children[node][i], version);
	}
	return lost + (holders(page, own) && own != version);
}

static void add_pages(struct genealogy *g)
{
	for (unsigned page = 0; page < PAGES; page++) {
		for (unsigned i = 0; i < tree.n; i++) {
			unsigned version = history.all[tree.process[i]].pages[page];
			unsigned bits = holders(page, version);
			if (!bits || bits & ((1u << i) - 1))
				continue; /* its first member is another one */
			MmState__PageSet *set = &sets[n_sets];
			mm_state__page_set__init(set);
			set->members = members[n_sets++];
			for (unsigned k = 0; k < tree.n; k++)
				if (bits >> k & 1)
					set->members[set->n_members++] = 10 + k;
			genealogy_add(g, set);
		}
		genealogy_next_page(g, 1);
	}
}

static unsigned n_random = 300, first_seed = 1;

static void test_random(void **unused)
{
	(void)unused;
	for (unsigned seed = first_seed; seed < first_seed + n_random; seed++) {
		state = seed;
		make_history();
		find_spaces();
		struct genealogy *g = family(tree.parents, tree.n);
		add_pages(g);
		uint64_t lost = genealogy_solve(g), replayed = 0;
		find_clones(g);
		for (unsigned page = 0; page < PAGES; page++)
			replayed += replay(page, 0, 0);
		genealogy_free(g);
		if (lost || replayed)
			fail_msg("seed %u: %llu pages lost, %llu in a restart", seed,
			         (unsigned long long)lost, (unsigned long long)replayed);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary),  cmocka_unit_test(test_order),
		cmocka_unit_test(test_stand_in),  cmocka_unit_test(test_maker),
		cmocka_unit_test(test_strangers), cmocka_unit_test(test_random),
	};

	if (argc > 1)
		n_random = (unsigned)atoi(argv[1]);
	if (argc > 2)
		first_seed = (unsigned)atoi(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
