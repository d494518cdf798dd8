/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Streams of contents that lie: nothing crashes, and nothing outside is touched. Needs root. */
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "content/tools.h"
#include "mount/content_format.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static char *outside; /* description of what no stream may reach */

static void put(struct memory *m, const void *data, size_t size)
{
	if (m->room - m->size < size) {
		m->room = 2 * m->room + size;
		m->data = xrealloc(m->data, m->room, 1);
	}
	memcpy(m->data + m->size, data, size);
	m->size += size;
}

/* text, and zeros up to @size, though no endless ones */
static void put_text(struct memory *m, const char *text, uint32_t size)
{
	char room[8192] = "";

	snprintf(room, sizeof(room), "%s", text);
	if (strlen(text) + 1 < size && size <= 4) /* what is behind the NUL */
		memcpy(room, text, size);
	put(m, room, size < sizeof(room) ? size : sizeof(room));
}

static void put_entry(struct memory *m, struct content_entry e, const char *name,
                      const char *target)
{
	if (!e.name_size)
		e.name_size = (uint32_t)strlen(name);
	if (!e.target_size)
		e.target_size = (uint32_t)strlen(target);
	put(m, &e, sizeof(e));
	put_text(m, name, e.name_size);
	put_text(m, target, e.target_size);
}

static void put_start(struct memory *m)
{
	struct content_header h = { .magic = CONTENT_MAGIC, .version = CONTENT_VERSION };

	*m = (struct memory){ .piece = 4096 };
	put(m, &h, sizeof(h));
	put_entry(m, (struct content_entry){ .type = CONTENT_FOLDER, .mode = 0755 }, "", "");
}

/* a directory, a symbolic link out of the file system, and then what must not work */
static void try_entry(const struct content_entry *e, const char *name, const char *target,
                      const void *rest, size_t rest_size)
{
	static const struct content_entry end = { .type = CONTENT_END };
	struct error err = ERROR_INIT;
	struct memory m;

	put_start(&m);
	put_entry(&m, (struct content_entry){ .type = CONTENT_FOLDER, .mode = 0755 }, "folder", "");
	put_entry(&m, (struct content_entry){ .type = CONTENT_SYMLINK }, "out", "/tmp/outside");
	put_entry(&m, *e, name, target);
	put(&m, rest, rest_size);
	put(&m, &end, sizeof(end));
	mount_at(TO, "tmpfs", "size=10m");
	int r = try_restore(TO, &m, &err);
	if (r >= 0)
		fail_msg("type %u, name %s was taken", e->type, name);
	if (err.errnum != EEXIST && err.code != CODE_image_invalid)
		fail_msg("type %u, name %s: %s", e->type, name, err.cause);
	free(m.data);
	ok(umount2(TO, MNT_DETACH));
}

static void hostile_entries(void **state)
{
	static const struct {
		struct content_entry e;
		const char *name, *target;
	} entries[] = {
		{ { CONTENT_FIFO }, "", "" },
		{ { CONTENT_FOLDER }, "", "" },
		{ { CONTENT_FIFO }, ".", "" },
		{ { CONTENT_FOLDER }, "..", "" },
		{ { CONTENT_FIFO }, "../x", "" },
		{ { CONTENT_FIFO }, "out/x", "" },
		{ { CONTENT_FIFO }, "/tmp/outside/x", "" },
		{ { CONTENT_FIFO, .name_size = 3 }, "a\0b", "" },
		{ { CONTENT_FIFO, .name_size = 256 }, "", "" },
		{ { CONTENT_FIFO, .name_size = UINT32_MAX }, "", "" },
		{ { CONTENT_FOLDER }, "out", "" },
		{ { CONTENT_FIFO }, "out", "" },
		{ { CONTENT_FILE }, "out", "" },
		{ { CONTENT_SYMLINK }, "out", "x" },
		{ { CONTENT_FOLDER }, "folder", "" },
		{ { CONTENT_FILE }, "folder", "" },
		{ { CONTENT_FIFO, .folder = 2 }, "x", "" },
		{ { CONTENT_FIFO, .folder = UINT32_MAX }, "x", "" },
		{ { CONTENT_SYMLINK }, "x", "" },
		{ { CONTENT_SYMLINK, .target_size = 3 }, "x", "a\0b" },
		{ { CONTENT_SYMLINK, .target_size = 4096 }, "x", "" },
		{ { CONTENT_FIFO }, "x", "target" },
		{ { CONTENT_LINK, .link = 1 }, "x", "" },
		{ { CONTENT_LINK, .link = 0 }, "x", "" },
		{ { CONTENT_LINK, .link = UINT32_MAX }, "x", "" },
		{ { CONTENT_LINK, .link = 1, .mode = 1 }, "x", "" },
		{ { CONTENT_FIFO, .link = 2 }, "x", "" },
		{ { CONTENT_FOLDER, .link = 1 }, "x", "" },
		{ { CONTENT_FIFO, .mode = 010000 }, "x", "" },
		{ { CONTENT_FIFO, .mode = 0100644 }, "x", "" },
		{ { CONTENT_FIFO, .uid = UINT32_MAX }, "x", "" },
		{ { CONTENT_FIFO, .gid = UINT32_MAX }, "x", "" },
		{ { CONTENT_FIFO, .major = 1 }, "x", "" },
		{ { CONTENT_SOCKET, .minor = 1 }, "x", "" },
		{ { CONTENT_FIFO, .size = 1 }, "x", "" },
		{ { CONTENT_FILE, .size = 1ull << 63 }, "x", "" },
		{ { CONTENT_FIFO, .atime_ns = 1000000000 }, "x", "" },
		{ { CONTENT_FIFO, .mtime_ns = UINT32_MAX }, "x", "" },
		{ { CONTENT_FIFO, .attributes = FS_IMMUTABLE_FL }, "x", "" },
		{ { CONTENT_FILE, .attributes = 1 }, "x", "" },
		{ { CONTENT_FILE, .attributes = FS_CASEFOLD_FL }, "x", "" },
		{ { CONTENT_FIFO, .n_xattrs = 65537 }, "x", "" },
		{ { CONTENT_LINK + 1 }, "x", "" },
		{ { UINT32_MAX }, "x", "" },
	};

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		try_entry(&entries[i].e, entries[i].name, entries[i].target, "", 0);
}

static void hostile_data(void **state)
{
	static const struct content_entry file = { CONTENT_FILE, .size = 100000 };
	static const struct content_extent extents[][2] = {
		{ { 100001, 1 } },         /* behind the end */
		{ { 0, 100001 } },         /* longer than the file */
		{ { 99999, 2 } },          /* over the end */
		{ { 8, UINT64_MAX - 4 } }, /* overflows */
		{ { UINT64_MAX, 2 } },     /* overflows */
		{ { 8, 0 } },              /* an end that is nowhere */
		{ { 0, CONTENT_UNWRITTEN } },
		{ { INT64_MAX, CONTENT_UNWRITTEN | 1 } }, /* beyond what a file can have */
		{ { 1, CONTENT_UNWRITTEN | INT64_MAX } },
	};
	struct {
		struct content_extent first;
		char data[8];
		struct content_extent second;
	} back = { { 8, 8 }, "datadat", { 15, 1 } };
	char aligned[sizeof(struct content_extent) + 4096];

	for (size_t i = 0; i < sizeof(extents) / sizeof(extents[0]); i++)
		try_entry(&file, "x", "", extents[i], sizeof(extents[i]));
	try_entry(&file, "x", "", &back, sizeof(back));
	memset(aligned, 'x', sizeof(aligned)); /* padding that is none */
	memcpy(aligned, &(struct content_extent){ 0, 100000 }, sizeof(struct content_extent));
	try_entry(&file, "x", "", aligned, sizeof(aligned));
}

static void hostile_xattrs(void **state)
{
	static const struct content_entry fifo = { CONTENT_FIFO, .n_xattrs = 1 };
	struct {
		struct content_xattr x;
		char name[24];
	} xattrs[] = {
		{ { 0, 0 }, "" },
		{ { 256, 0 }, "" },
		{ { 9, 65537 }, "trusted.x" },
		{ { 9, UINT32_MAX }, "trusted.x" },
		{ { UINT32_MAX, 1 }, "trusted.x" },
		{ { 10, 0 }, "trusted.x\0" },
		{ { 9, 0 }, "system.nfs" },
		{ { 24, 0 }, "system.posix_acl_accessx" },
		{ { 1, 0 }, "x" },
	};

	for (size_t i = 0; i < sizeof(xattrs) / sizeof(xattrs[0]); i++)
		try_entry(&fifo, "x", "", &xattrs[i], sizeof(xattrs[i]));
}

/* cut anywhere, and with bytes changed: no crash, no hang, nothing outside */
static void damaged(void **state)
{
	struct memory m = { .piece = 4096 };
	uint64_t x = 88172645463325252;

	mount_at(FROM, "tmpfs", NULL);
	make_types();
	save(FROM, &m);
	for (int i = 0; i < 400; i++) {
		struct memory copy = { .piece = 1000, .size = m.size };
		struct error err = ERROR_INIT;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		copy.data = xmemdup(m.data, m.size);
		if (i % 2)
			copy.size = x % m.size;
		else
			copy.data[x % m.size] ^= (char)(1 + (x >> 32) % 255);
		mount_at(TO, "tmpfs", "size=10m");
		int r = try_restore(TO, &copy, &err);
		if (i % 2)
			assert_int_equal(r, -EBADMSG);
		free(copy.data);
		ok(umount2(TO, MNT_DETACH));
	}
	free(m.data);
	ok(umount2(FROM, MNT_DETACH));
}

static void not_a_stream(void **state)
{
	static const char zeros[4096], text[] = "STASISfx\1\0\0\0\0\0\0\0";
	struct content_header newer = { .magic = CONTENT_MAGIC, .version = CONTENT_VERSION + 1 };
	struct content_entry end = { .type = CONTENT_END };
	struct error err = ERROR_INIT;
	struct memory m = { .piece = 4096 };

	mount_at(TO, "tmpfs", NULL);
	assert_int_equal(try_restore(TO, &m, &err), -EBADMSG);
	put(&m, zeros, sizeof(zeros));
	assert_int_equal(try_restore(TO, &m, &err), -EBADMSG);
	m.size = 0;
	put(&m, text, sizeof(text));
	assert_int_equal(try_restore(TO, &m, &err), -EBADMSG);
	m.size = 0;
	put(&m, &newer, sizeof(newer));
	assert_true(try_restore(TO, &m, &err) < 0);
	assert_int_equal(err.code, CODE_image_feature);
	free(m.data);
	put_start(&m);
	put(&m, &end, sizeof(end));
	put(&m, zeros, 4000);
	assert_int_equal(try_restore(TO, &m, &err), 0);
	put(&m, "x", 1);
	assert_int_equal(try_restore(TO, &m, &err), -EBADMSG);
	free(m.data);
	ok(umount2(TO, MNT_DETACH));
}

static int outside_is_untouched(void **state)
{
	_cleanup_(free_p) char *now = description("/tmp/outside");

	assert_same(outside, now);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(hostile_entries, outside_is_untouched),
		cmocka_unit_test_teardown(hostile_data, outside_is_untouched),
		cmocka_unit_test_teardown(hostile_xattrs, outside_is_untouched),
		cmocka_unit_test_teardown(damaged, outside_is_untouched),
		cmocka_unit_test_teardown(not_a_stream, outside_is_untouched),
	};

	if (!enter_room())
		return 77;
	ok(mkdir("/tmp/outside", 0755));
	make_file("/tmp/outside/file", "x", 1, 0);
	outside = description("/tmp/outside");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
