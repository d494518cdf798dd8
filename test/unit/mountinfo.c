/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parser of mountinfo, with what kernels write and what they may write one day. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "mount/read.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define LINE(options, fields, source)                                                  \
	"36 35 98:1 /m\\040a//deleted /b\\134c " options " " fields "- fuse.x " source \
	" ro,sync,size=4k\n"

/* 0, or the code of the refusal; -1: an error */
static int parse(const char *text, struct mount_table *ret)
{
	_cleanup_(free_p) char *copy = xstrdup(text);
	struct error err = ERROR_INIT;

	*ret = (struct mount_table){ 0 };
	if (mount_parse_mountinfo(ret, copy, &err) == 0)
		return 0;
	return err.code ? (int)err.code : -1;
}

static void line(void **state)
{
	_cleanup_(mount_table_done) struct mount_table t = { 0 };

	(void)state;
	assert_int_equal(
		parse(LINE("ro,nosuid,nodev,noexec,noatime", "shared:7 master:8 ", "")
	                      LINE("rw,relatime", "propagate_from:3 unbindable ", "s\\012"),
	              &t),
		0);
	assert_int_equal(t.n_mounts, 2);
	assert_int_equal(t.n_sbs, 1);
	const struct mount_entry *m = t.mounts;
	assert_int_equal(m->id, 36);
	assert_int_equal(m->parent_id, 35);
	assert_string_equal(m->root, "/m a");
	assert_true(m->deleted && !m->unbindable);
	assert_string_equal(m->point, "/b\\c");
	assert_int_equal(m->attributes, 0x1 | 0x2 | 0x4 | 0x8 | 0x10);
	assert_int_equal(m->peer_group, 7);
	assert_int_equal(m->master, 8);
	assert_string_equal(m->source, "");
	assert_true(m[1].unbindable && !m[1].peer_group && !m[1].master && !m[1].attributes);
	assert_string_equal(m[1].source, "s\n");
	assert_string_equal(t.sbs->type, "fuse");
	assert_string_equal(t.sbs->subtype, "x");
	assert_int_equal(t.sbs->flags, MOUNT_SB_RDONLY | MOUNT_SB_SYNCHRONOUS);
	assert_int_equal(t.sbs->n_options, 1);
}

static void unknown(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{ LINE("rw,relatime,sparkling", "", "s"), CODE_mount_attributes },
		{ LINE("rw,relatime", "stellar:1 ", "s"), CODE_mount_attributes },
		{ "36 35 98 / / rw - t s rw\n", -1 },
		{ "\n36 35 98:1\n", CODE_mount_attributes }, /* cut off */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_(mount_table_done) struct mount_table t = { 0 };
		assert_int_equal(parse(cases[i].text, &t), cases[i].code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line),
		cmocka_unit_test(unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
