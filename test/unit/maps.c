/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parser of maps and smaps, with text that no kernel writes; the table of VmFlags words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "kind/mm/flags.h"
#include "proc/maps.h"
#include "util/alloc.h"

static struct proc_map *parse(const char *text, size_t *n)
{
	struct proc_map *maps = NULL;
	struct error err = ERROR_INIT;

	*n = 0;
	if (proc_maps_parse(text, &maps, n, &err) < 0)
		return NULL;
	return maps;
}

static void maps_line(void **state)
{
	size_t n;
	struct proc_map *m = parse("55d0c0000000-55d0c0001000 r-xp 00002000 fe:01 1234567   "
	                           "                /usr/bin/a b (deleted)\n"
	                           "7ffd00000000-7ffd00021000 rw-s 00000000 00:00 0 \n",
	                           &n);

	(void)state;
	assert_int_equal(n, 2);
	assert_int_equal(m[0].start, 0x55d0c0000000);
	assert_int_equal(m[0].end, 0x55d0c0001000);
	assert_true(m[0].read && !m[0].write && m[0].exec && !m[0].shared);
	assert_int_equal(m[0].offset, 0x2000);
	assert_int_equal(m[0].dev, makedev(0xfe, 1));
	assert_int_equal(m[0].inode, 1234567);
	assert_string_equal(m[0].name, "/usr/bin/a b (deleted)");
	assert_int_equal(m[0].protection_key, -1);
	assert_true(m[1].shared && m[1].write);
	assert_string_equal(m[1].name, "");
	proc_maps_free(m, n);
}

static const char smaps[] = "00400000-00401000 rw-p 00000000 00:00 0                 [heap]\n"
			    "Size:                  4 kB\n"
			    "KernelPageSize:        4 kB\n"
			    "MMUPageSize:           4 kB\n"
			    "Rss:                  12 kB\n"
			    "Pss:                   8 kB\n"
			    "Swap:                 16 kB\n"
			    "Locked:               20 kB\n"
			    "Anonymous:            24 kB\n"
			    "THPeligible:           0\n"
			    "ProtectionKey:         3\n"
			    "VmFlags: rd wr mr mw me ac \n";

static void smaps_keys(void **state)
{
	size_t n;
	struct proc_map *m = parse(smaps, &n);

	(void)state;
	assert_int_equal(n, 1);
	assert_int_equal(m->kernel_page_size, 4096);
	assert_int_equal(m->rss, 12 << 10);
	assert_int_equal(m->pss, 8 << 10);
	assert_int_equal(m->swap, 16 << 10);
	assert_int_equal(m->locked, 20 << 10);
	assert_int_equal(m->anonymous, 24 << 10);
	assert_int_equal(m->protection_key, 3);
	assert_int_equal(m->n_vm_flags, 6);
	assert_true(proc_map_flag(m, "ac") && proc_map_flag(m, "rd") && !proc_map_flag(m, "lo"));
	assert_string_equal(m->unknown, "");
	proc_maps_free(m, n);
}

static void unknown_key(void **state)
{
	char *text = xasprintf("%sShinyNewThing:    4 kB\nOtherThing: 5\n", smaps);
	size_t n;
	struct proc_map *m = parse(text, &n);

	(void)state;
	assert_string_equal(m->unknown, "ShinyNewThing");
	proc_maps_free(m, n);
	free(text);
}

static void hostile_names(void **state)
{
	size_t n;
	struct proc_map *m;

	(void)state;
	m = parse("1000-2000 r--p 00000000 00:01 7 /a\\012VmFlags: zz\\134\\400\\1\n", &n);
	assert_int_equal(n, 1);
	/* what is no escape of the kernel's stays as it is */
	assert_string_equal(m->name, "/a\nVmFlags: zz\\\\400\\1");
	assert_int_equal(m->n_vm_flags, 0);
	proc_maps_free(m, n);

	char *line = xmalloc(70000);
	strcpy(line, "1000-2000 r--p 00000000 00:01 7 /");
	memset(line + strlen(line), 'x', 65000);
	line[65000] = '\0';
	m = parse(line, &n);
	assert_int_equal(strlen(m->name), 65000 - strlen("1000-2000 r--p 00000000 00:01 7 "));
	proc_maps_free(m, n);
	free(line);
}

static void malformed(void **state)
{
	static const char *const bad[] = {
		"Rss: 4 kB\n", /* a key before any mapping */
		"1000\n",
		"1000-\n",
		"1000-2000\n",
		"1000-2000 \n",
		"1000-2000 r--p\n",
		"1000-2000 r--p 0\n",
		"1000-2000 r--p 0 fe\n",
		"1000-2000 r--p 0 fe:\n",
		"1000-2000 r--p 0 fe:1\n",
		"1000-2000 r--p 0 fe:1 x\n",
		"1000-2000 r--p 0 fe:1 7x\n",
		"2000-1000 r--p 0 fe:1 7 /a\n",
		"1000-1000 r--p 0 fe:1 7 /a\n",
		"1000-2000 r--pp 0 fe:1 7 /a\n",
		"1000-2000 r--p 0 fe:1 7 /a\nno key\n",
		"-2000 r--p 0 fe:1 7 /a\n",
	};
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &n))
			fail_msg("accepted: %s", bad[i]);
	assert_null(parse("", &n));
	assert_int_equal(n, 0);
}

static void odd_flags(void **state)
{
	size_t n;
	struct proc_map *m = parse("1000-2000 r--p 0 fe:1 7 /a\nVmFlags: rd longer x  wr\n"
	                           "VmFlags: lo\n",
	                           &n);

	(void)state;
	assert_int_equal(n, 1);
	assert_int_equal(m->n_vm_flags, 4); /* the second line is not the kernel's */
	assert_string_equal(m->vm_flags[0], "rd");
	assert_string_equal(m->vm_flags[1], "!!");
	assert_string_equal(m->vm_flags[2], "!!");
	assert_string_equal(m->vm_flags[3], "wr");
	proc_maps_free(m, n);
	m = parse("1000-2000 r--p 0 fe:1 7 /a\nVmFlags: a b c d e f g h i j k l m n o p q r s t u "
	          "v w\n",
	          &n);
	assert_int_equal(m->n_vm_flags, 23);
	proc_maps_free(m, n);
}

/* ---- VmFlags ---- */

static int flags_of(const char *words, bool kernel, uint64_t *ret, struct error *err)
{
	char *text = xasprintf("1000-2000 rw-p 0 00:00 0\nVmFlags: %s\n", words);
	size_t n;
	struct proc_map *m = parse(text, &n);
	int r = mm_flags(m, kernel, ret, err);

	proc_maps_free(m, n);
	free(text);
	return r;
}

static void flags_saved(void **state)
{
	static const struct {
		const char *word;
		uint64_t flag;
	} saved[] = {
		{ "gd", MM_GROWSDOWN },
		{ "lo", MM_LOCKED },
		{ "sr", MM_SEQUENTIAL },
		{ "rr", MM_RANDOM },
		{ "dc", MM_DONTFORK },
		{ "nr", MM_NORESERVE },
		{ "ht", MM_HUGETLB },
		{ "wf", MM_WIPEONFORK },
		{ "dd", MM_DONTDUMP },
		{ "hg", MM_HUGEPAGE },
		{ "nh", MM_NOHUGEPAGE },
		{ "mg", MM_MERGEABLE },
		{ "sl", MM_SEALED },
		{ "dp", MM_DROPPABLE },
		{ "lf", MM_LOCKONFAULT },
		{ "ac", MM_ACCOUNTED },
		{ "mw", MM_MAY_WRITE },
		{ "sh", MM_SHARED },
		{ "rd wr ex mr me ms sd gu", 0 },
	};
	struct error err = ERROR_INIT;
	uint64_t flags;

	(void)state;
	for (size_t i = 0; i < sizeof(saved) / sizeof(saved[0]); i++) {
		assert_int_equal(flags_of(saved[i].word, false, &flags, &err), 0);
		assert_int_equal(flags, saved[i].flag);
	}
}

static void flags_refused(void **state)
{
	static const char *const refused[] = { "pf", "io", "de", "sf", "ar",
		                               "mm", "um", "uw", "ui", "ss" };
	struct error err = ERROR_INIT;
	uint64_t flags;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		err = ERROR_INIT;
		assert_int_equal(flags_of(refused[i], false, &flags, &err), -EOPNOTSUPP);
		assert_int_equal(err.code, CODE_mm_vmflags);
	}
	/* the vDSO's own; and hugetlbfs, which sets "de" itself */
	assert_int_equal(flags_of("rd ex de", true, &flags, &err), 0);
	assert_int_equal(flags_of("rd pf io de", true, &flags, &err), 0);
	assert_int_equal(flags_of("rd wr de ht", false, &flags, &err), 0);
	/* but not everything is allowed there */
	assert_int_equal(flags_of("rd ss", true, &flags, &err), -EOPNOTSUPP);
	assert_int_equal(flags_of("rd pf ht", false, &flags, &err), -EOPNOTSUPP);
}

static void flags_unknown(void **state)
{
	static const char *const unknown[] = { "zz",          "??",          "RD",
		                               "r",           "toolong",     "rd lo ??",
		                               "rd ?? ac lo", "rd ?? lo ac", "lo ac ?? sd",
		                               "rd sr ?? ac" };
	struct error err = ERROR_INIT;
	uint64_t flags;

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		err = ERROR_INIT;
		assert_int_equal(flags_of(unknown[i], false, &flags, &err), -EOPNOTSUPP);
		assert_int_equal(err.code, CODE_unknown_state);
	}
}

/* what kernels print that have no word for it */
static void flags_lock_on_fault(void **state)
{
	static const char *const texts[] = { "rd wr mr mw me lo lf ac sd",
		                             "rd wr mr mw me lo ?? ac sd",
		                             "rd wr mr mw me lo sr dc ?? sd" };
	struct error err = ERROR_INIT;
	uint64_t flags;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(flags_of(texts[i], false, &flags, &err), 0);
		assert_int_equal(flags & (MM_LOCKED | MM_LOCKONFAULT), MM_LOCKED | MM_LOCKONFAULT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_line),     cmocka_unit_test(smaps_keys),
		cmocka_unit_test(unknown_key),   cmocka_unit_test(hostile_names),
		cmocka_unit_test(malformed),     cmocka_unit_test(odd_flags),
		cmocka_unit_test(flags_saved),   cmocka_unit_test(flags_refused),
		cmocka_unit_test(flags_unknown), cmocka_unit_test(flags_lock_on_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
