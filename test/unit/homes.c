/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where pages are at home, and where they are. Addresses are in pages here; no root needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kind/mm.h"
#include "kind/mm/mm.h"
#include "util/alloc.h"

static Mapping mappings[8];
static MmState__Home homes[8];
static Mapping *mapping_list[8];
static MmState__Home *home_list[8];
static MmState state;
static struct object object;

static void map(uint64_t start, uint64_t size)
{
	Mapping *m = &mappings[state.n_mappings];

	mm_state__mapping__init(m);
	m->start = start * MM_PAGE;
	m->size = size * MM_PAGE;
	mapping_list[state.n_mappings++] = m;
}

static void settle(uint64_t start, uint64_t size, uint64_t home)
{
	MmState__Home *h = &homes[state.n_homes];

	mm_state__home__init(h);
	h->start = start * MM_PAGE;
	h->size = size * MM_PAGE;
	h->home = home * MM_PAGE;
	home_list[state.n_homes++] = h;
}

static int begin(void **unused)
{
	(void)unused;
	mm_state__init(&state);
	state.mappings = mapping_list;
	state.homes = home_list;
	object = (struct object){ .kind = &mm_kind, .id = 1, .message = &state.base };
	return 0;
}

static int end(void **unused)
{
	(void)unused;
	mm_kind.release(&object);
	return 0;
}

static void expect_piece(uint64_t at, size_t mapping, uint64_t start, uint64_t last, uint64_t where)
{
	struct mm_piece p;

	assert_true(mm_piece_at(&object, at * MM_PAGE, &p));
	assert_ptr_equal(p.mapping, &mappings[mapping]);
	assert_int_equal(p.start / MM_PAGE, start);
	assert_int_equal(p.end / MM_PAGE, last);
	assert_int_equal((at * MM_PAGE + p.away) / MM_PAGE, where);
}

static void expect_nothing(uint64_t at)
{
	struct mm_piece p;

	assert_false(mm_piece_at(&object, at * MM_PAGE, &p));
}

static void expect_next(uint64_t above, uint64_t start)
{
	struct mm_piece p;

	assert_true(mm_piece_above(&object, above * MM_PAGE, &p));
	assert_int_equal(p.start / MM_PAGE, start);
}

static void test_unmoved(void **unused)
{
	struct mm_piece p;
	uint64_t last = UINT64_MAX;

	(void)unused;
	map(10, 5);
	map(20, 5);
	mm_index_homes(&object);
	expect_piece(12, 0, 10, 15, 12);
	expect_nothing(15);
	expect_next(0, 10);
	expect_next(15, 20);
	assert_false(mm_piece_above(&object, 25 * MM_PAGE, &p));
	assert_int_equal(mm_home_of(&object, 12 * MM_PAGE, &last), 12 * MM_PAGE);
	assert_int_equal(last, UINT64_MAX);
}

/* 10..20 is as it was but for 14..16, which has gone to 40; there is something else */
static void test_part(void **unused)
{
	uint64_t last = UINT64_MAX;

	(void)unused;
	map(10, 10);
	map(40, 2);
	settle(10, 4, 100);
	settle(16, 4, 106);
	settle(40, 2, 104);
	mm_index_homes(&object);
	expect_piece(101, 0, 100, 104, 11);
	expect_piece(105, 1, 104, 106, 41);
	expect_piece(106, 0, 106, 110, 16);
	expect_piece(14, 0, 14, 16, 14);
	expect_nothing(10);
	expect_nothing(40);
	expect_nothing(110);
	expect_next(0, 14);
	expect_next(16, 100);
	expect_next(104, 104);
	assert_int_equal(mm_home_of(&object, 14 * MM_PAGE, &last), 14 * MM_PAGE);
	assert_int_equal(last, 16 * MM_PAGE);
	last = UINT64_MAX;
	assert_int_equal(mm_home_of(&object, 41 * MM_PAGE, &last), 105 * MM_PAGE);
	assert_int_equal(last, 42 * MM_PAGE);
	assert_int_equal(mm_away_from(&object, 50 * MM_PAGE, &last), 50 * MM_PAGE);
	assert_int_equal(last, 100 * MM_PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unmoved, begin, end),
		cmocka_unit_test_setup_teardown(test_part, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
