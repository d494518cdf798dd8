/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces: maps as text, as data, and as another namespace calls their ids; and what images
 * say that cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "kind/object.h"
#include "kind/user_ns.h"
#include "user_ns.pb-c.h"
#include "util/alloc.h"

/* ---- maps ---- */

static struct id_map parse(const char *text)
{
	struct id_map map;

	assert_true(id_map_parse(text, &map));
	return map;
}

static void maps_as_text(void **state)
{
	struct id_map map =
		parse("         0     100000      65536\n     70000          0          1\n");

	assert_int_equal(map.n, 2);
	assert_int_equal(map.ranges[1].inside, 70000);
	char *text = id_map_text(&map, NULL);
	assert_string_equal(text, "0 100000 65536\n70000 0 1\n");
	free(text);
	map = parse("");
	assert_int_equal(map.n, 0);
	text = id_map_text(&map, NULL);
	assert_string_equal(text, "");
	free(text);
}

static void bad_texts(void **state)
{
	static const char *const texts[] = { "0 0",
		                             "x",
		                             "0 0 1 2",
		                             "0 4294967295 1\n",
		                             "4294967295 0 1",
		                             "-1 0 1",
		                             "0 0 99999999999" };
	struct id_map map;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(id_map_parse(texts[i], &map));
}

static void too_many_lines(void **state)
{
	char *text = xcalloc(ID_MAP_MAX + 1, 24);
	struct id_map map;

	for (unsigned i = 0; i <= ID_MAP_MAX; i++)
		snprintf(text + strlen(text), 24, "%u %u 1\n", i, i);
	assert_false(id_map_parse(text, &map));
	free(text);
}

static void validity(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} cases[] = {
		{ "", true },
		{ "0 0 4294967295", true },
		{ "0 0 1\n1 5 1\n2 1 4", true },
		{ "0 0 0", false },          /* nothing */
		{ "0 1 4294967295", false }, /* beyond the last id */
		{ "1 0 4294967295", false },
		{ "0 0 10\n9 100 1", false },    /* overlap inside */
		{ "0 100 10\n50 109 1", false }, /* overlap outside */
		{ "50 109 1\n0 100 10", false },
		{ "0 0 1\n0 5 1", false }, /* the same id twice */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct id_map map = parse(cases[i].text);
		assert_int_equal(id_map_valid(&map), cases[i].valid);
	}
}

static void names(void **state)
{
	struct id_map map = parse("0 1000 1\n10 100000 500");

	assert_int_equal(id_map_inside(&map, 1000), 0);
	assert_int_equal(id_map_inside(&map, 1001), ID_NONE);
	assert_int_equal(id_map_inside(&map, 999), ID_NONE);
	assert_int_equal(id_map_inside(&map, 100000), 10);
	assert_int_equal(id_map_inside(&map, 100499), 509);
	assert_int_equal(id_map_inside(&map, 100500), ID_NONE);
}

/* a range must lie in one range of the namespace above; there its ids have other names */
static void nested(void **state)
{
	struct id_map outer = parse("0 1000 1\n10 100000 500\n510 100500 500");
	struct id_map inner = parse("7 100100 300\n0 1000 1");

	assert_true(id_map_within(&inner, &outer));
	char *text = id_map_text(&inner, &outer);
	assert_string_equal(text, "7 110 300\n0 0 1\n");
	free(text);
	inner = parse("0 100400 200");
	assert_false(id_map_within(&inner, &outer));
	inner = parse("0 2000 1");
	assert_false(id_map_within(&inner, &outer));
	inner = parse("0 100999 2");
	assert_false(id_map_within(&inner, &outer));
}

/* ---- images ---- */

static UserNsRange **new_ranges(const char *text, size_t *ret_n)
{
	struct id_map map = parse(text);
	UserNsRange **list = xcalloc(map.n + 1, sizeof(*list));

	for (uint32_t i = 0; i < map.n; i++) {
		list[i] = xmalloc(sizeof(**list));
		user_ns_range__init(list[i]);
		list[i]->inside = map.ranges[i].inside;
		list[i]->outside = map.ranges[i].outside;
		list[i]->count = map.ranges[i].count;
	}
	*ret_n = map.n;
	return list;
}

static UserNsState *add(struct objects *objects, uint32_t id, uint32_t parent, const char *map)
{
	UserNsState *s = xmalloc(sizeof(*s));

	user_ns_state__init(s);
	s->parent = parent;
	s->uid_map = new_ranges(map, &s->n_uid_map);
	s->gid_map = new_ranges(map, &s->n_gid_map);
	assert_non_null(objects_insert(objects, id, &user_ns_kind, &s->base));
	return s;
}

/* whether all of them are valid; the table is gone then */
static bool valid(struct objects *objects)
{
	size_t cursor = 0;
	struct error err = ERROR_INIT;
	bool all = true;

	for (struct object *o; (o = objects_next(objects, &user_ns_kind, &cursor));)
		all &= user_ns_kind.validate(objects, o, &err) == 0;
	objects_free(objects);
	return all;
}

static void good_image(void **state)
{
	struct objects *objects = objects_new();

	add(objects, 1, 0, "0 0 1\n1 100000 65536");
	add(objects, 2, 1, "0 100005 10")->setgroups_denied = true;
	add(objects, 3, 2, "")->setgroups_denied = true;
	objects_next(objects, &user_ns_kind, &(size_t){ 0 });
	((UserNsState *)objects_by_id(objects, 3)->message)->owner = 100006;
	assert_true(user_ns_is_below(objects, 3, 1));
	assert_true(user_ns_is_below(objects, 3, 0));
	assert_true(user_ns_is_below(objects, 2, 2));
	assert_false(user_ns_is_below(objects, 1, 2));
	assert_false(user_ns_is_below(objects, 0, 1));
	assert_true(valid(objects));
}

static void bad_maps(void **state)
{
	static const char *const maps[] = { "0 0 0", "0 0 10\n5 100 1", "0 1 4294967295" };

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		struct objects *objects = objects_new();
		add(objects, 1, 0, maps[i]);
		assert_false(valid(objects));
	}
}

static void many_ranges(void **state)
{
	struct objects *objects = objects_new();
	UserNsState *s = add(objects, 1, 0, "");

	for (uint32_t i = 0; i <= ID_MAP_MAX; i++) {
		UserNsRange *range = *array_push(s->projid_map,
		                                 s->n_projid_map) = xmalloc(sizeof(*range));
		user_ns_range__init(range);
		range->inside = range->outside = i;
		range->count = 1;
	}
	assert_false(valid(objects));
}

static void bad_owner(void **state)
{
	struct objects *objects = objects_new();

	add(objects, 1, 0, "0 0 1")->owner = UINT32_MAX;
	assert_false(valid(objects));
	/* one whom the namespace above does not know */
	objects = objects_new();
	add(objects, 1, 0, "0 100000 10");
	add(objects, 2, 1, "0 100000 1")->owner = 5;
	assert_false(valid(objects));
}

static void bad_parents(void **state)
{
	struct objects *objects = objects_new();

	add(objects, 1, 1, "0 0 1"); /* itself */
	assert_false(valid(objects));
	objects = objects_new();
	add(objects, 1, 2, "0 0 1"); /* each other */
	add(objects, 2, 1, "0 0 1");
	assert_false(valid(objects));
	objects = objects_new();
	add(objects, 1, 77, "0 0 1"); /* nobody */
	assert_false(valid(objects));
}

static void more_than_above(void **state)
{
	struct objects *objects = objects_new();

	add(objects, 1, 0, "0 0 1\n1 100000 10");
	add(objects, 2, 1, "0 100000 11");
	assert_false(valid(objects));
	/* who may not set groups above may not below */
	objects = objects_new();
	add(objects, 1, 0, "0 0 10")->setgroups_denied = true;
	add(objects, 2, 1, "0 0 1");
	assert_false(valid(objects));
}

static void too_deep(void **state)
{
	struct objects *objects = objects_new();

	for (uint32_t i = 1; i <= 32; i++)
		add(objects, i, i - 1, "0 0 1");
	assert_true(valid(objects));
	objects = objects_new();
	for (uint32_t i = 1; i <= 33; i++)
		add(objects, i, i - 1, "0 0 1");
	assert_false(valid(objects));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_as_text),   cmocka_unit_test(bad_texts),
		cmocka_unit_test(too_many_lines), cmocka_unit_test(validity),
		cmocka_unit_test(names),          cmocka_unit_test(nested),
		cmocka_unit_test(good_image),     cmocka_unit_test(bad_maps),
		cmocka_unit_test(many_ranges),    cmocka_unit_test(bad_owner),
		cmocka_unit_test(bad_parents),    cmocka_unit_test(more_than_above),
		cmocka_unit_test(too_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
