/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who forked whom, found by shared pages. Address space i has object id 10 + i; no root needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kind/mm/genealogy.h"

#define MAX 8

/* the sets of one page, each a text of digits; up to four */
static MmState__PageSet sets[64];
static uint32_t members[64][MAX];
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
	genealogy_next_page(g);
}

static struct genealogy_place place(const struct genealogy *g, uint32_t i, size_t want_path)
{
	struct genealogy_place p;

	assert_int_equal(genealogy_result(g, i, &p), want_path);
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
	genealogy_next_page(g);
	genealogy_solve(g);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(place(g, i, 0).maker, 0);
	genealogy_free(g);
	genealogy_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary),  cmocka_unit_test(test_order),
		cmocka_unit_test(test_stand_in),  cmocka_unit_test(test_maker),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
