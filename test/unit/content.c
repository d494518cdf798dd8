/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents of a tmpfs or ramfs through the stream and back: a tree with everything in it is saved,
 * restored elsewhere, and both are described by an independent walk; the texts must be the same.
 * Needs root: it mounts, in a mount namespace of its own.
 */
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "content/tools.h"
#include "host/features.h"
#include "mount/content.h"
#include "mount/content_format.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* saves FROM, restores into TO, in pieces of so many bytes; both must read the same */
static void round_trip(size_t piece)
{
	struct memory m = { .piece = piece };
	struct error err = ERROR_INIT;
	_cleanup_(free_p) char *before = description(FROM);

	save(FROM, &m);
	check(try_restore(TO, &m, &err), &err);
	_cleanup_(free_p) char *after = description(TO), *still = description(FROM);
	assert_same(before, still);
	assert_same(before, after);
	free(m.data);
}

static void set_flags(const char *path, unsigned flags)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);

	ok(fd);
	ok(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static const unsigned char acl_access[] = { 2,   0,   0,   0,   1,   0,   6,  0,   255, 255, 255,
	                                    255, 2,   0,   4,   0,   7,   0,  0,   0,   4,   0,
	                                    4,   0,   255, 255, 255, 255, 16, 0,   4,   0,   255,
	                                    255, 255, 255, 32,  0,   0,   0,  255, 255, 255, 255 };
/* version 2, permitted: CAP_NET_RAW, effective */
static const unsigned char capability[] = { 1, 0, 0, 2, 0, 32, 0, 0, 0, 0,
	                                    0, 0, 0, 0, 0, 0,  0, 0, 0, 0 };

static void make_attributes(void)
{
	static char large[65536];

	memset(large, 'x', sizeof(large));
	make_file(FROM "/file", "x", 1, 0);
	ok(chown(FROM "/file", 1, 2));
	if (lsetxattr(FROM "/file", "user.empty", "", 0, 0) == 0) /* tmpfs: from 6.6 on */
		ok(lsetxattr(FROM "/file", "user.zero", "\0", 1, 0));
	else
		assert_int_equal(errno, EOPNOTSUPP);
	ok(lsetxattr(FROM "/file", "trusted.large", large, sizeof(large), 0));
	ok(lsetxattr(FROM "/file", "security.capability", capability, sizeof(capability), 0));
	ok(lsetxattr(FROM "/file", "system.posix_acl_access", acl_access, sizeof(acl_access), 0));
	ok(mknod(FROM "/fifo", S_IFIFO | 0600, 0));
	ok(lsetxattr(FROM "/fifo", "trusted.of fifo", "1", 1, 0));
	ok(lsetxattr(FROM "/fifo", "system.posix_acl_access", acl_access, sizeof(acl_access), 0));
	ok(symlink("x", FROM "/symlink"));
	ok(lsetxattr(FROM "/symlink", "trusted.of symlink", "2", 1, 0));
	ok(mkdir(FROM "/inherit", 0777));
	make_file(FROM "/inherit/none", "x", 1, 0);
	ok(mkdir(FROM "/inherit/folder", 0750));
	ok(lsetxattr(FROM "/inherit", "trusted.overlay.opaque", "y", 1, 0));
	ok(lsetxattr(FROM "/inherit", "system.posix_acl_default", acl_access, sizeof(acl_access),
	             0));
	make_file(FROM "/inherit/some", "x", 1, 0);
	ok(lsetxattr(FROM, "trusted.of the root", "3", 1, 0));
	ok(lsetxattr(FROM, "system.posix_acl_default", acl_access, sizeof(acl_access), 0));
	ok(mkdir(FROM "/immutable", 0777));
	make_file(FROM "/immutable/append", "x", 1, 0);
	ok(link(FROM "/immutable/append", FROM "/append too"));
	set_flags(FROM "/immutable/append", FS_APPEND_FL | FS_NODUMP_FL);
	make_file(FROM "/immutable/immutable", "x", 1, 0);
	set_times(FROM "/immutable/immutable", 21, 22);
	set_flags(FROM "/immutable/immutable", FS_IMMUTABLE_FL | FS_NOATIME_FL);
	set_times(FROM "/immutable", 23, 24);
	set_flags(FROM "/immutable", FS_IMMUTABLE_FL);
	ok(chown(FROM, 11, 12));
	ok(chmod(FROM, 01770));
	set_times(FROM, 25, 26);
}

static char *random_bytes(size_t size)
{
	uint64_t *p = xmalloc(size), x = 88172645463325252;

	for (size_t i = 0; i < size / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
	return (char *)p;
}

static void allocate(int fd, uint64_t page, uint64_t n)
{
	ok(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)page * 4096, (off_t)n * 4096));
}

/* among data, between holes and beyond the end; as the kernel tells where that is only since 6.5 */
static void make_unwritten(void)
{
	_cleanup_(close_p) int fd = -1;
	struct stat st;

	if (!feature(FEATURE_cachestat))
		return;
	make_file(FROM "/reserved", "x", 1, 5 * 4096);
	make_file(FROM "/reserved", "x", 1, 100 * 4096 + 5);
	fd = open(FROM "/reserved", O_RDWR | O_CLOEXEC);
	allocate(fd, 0, 1);
	allocate(fd, 4, 3);
	allocate(fd, 50, 13);
	allocate(fd, 100, 3);
	for (uint64_t i = 0; i < 100; i++)
		allocate(fd, 200 + i * i, 1);
	allocate(fd, INT64_MAX / 4096 - 1, 1);
	ok(fstat(fd, &st));
	assert_int_equal(st.st_blocks, (1 + 3 + 13 + 3 + 100 + 1) * 8);
	make_file(FROM "/empty", "", 0, 0);
	close_p(&fd);
	fd = open(FROM "/empty", O_RDWR | O_CLOEXEC);
	allocate(fd, 0, 7);
}

/* which pages they are: what is allocated again where they are takes no more */
static void check_unwritten(void)
{
	_cleanup_(close_p) int fd = open(TO "/reserved", O_RDWR | O_CLOEXEC);
	struct stat before, after;

	if (!feature(FEATURE_cachestat))
		return;
	ok(fstat(fd, &before));
	allocate(fd, 0, 1);
	allocate(fd, 4, 3);
	allocate(fd, 50, 13);
	allocate(fd, 100, 3);
	for (uint64_t i = 0; i < 100; i++)
		allocate(fd, 200 + i * i, 1);
	allocate(fd, INT64_MAX / 4096 - 1, 1);
	ok(fstat(fd, &after));
	assert_int_equal(before.st_blocks, after.st_blocks);
}

static void make_sparse(void)
{
	_cleanup_(free_p) char *data = random_bytes(300000);
	_cleanup_(close_p) int fd = -1;

	make_file(FROM "/whole", data, 300000, 0);
	make_file(FROM "/odd", data, 65537, 3);
	make_file(FROM "/far", data, 70001, (off_t)1 << 40);
	make_file(FROM "/far", data, 1, 12345);
	make_file(FROM "/end", data, 4096, INT64_MAX - 8191);
	make_file(FROM "/hole", "", 0, 0);
	ok(truncate(FROM "/hole", (off_t)1 << 50));
	memset(data, 0, 200000);
	make_file(FROM "/zeros", data, 200000, 4096);
	for (int i = 0; i < 1000; i++)
		make_file(FROM "/comb", "x", 1, (off_t)i * 3 * 4096);
	ok(truncate(FROM "/comb", (off_t)4000 * 4096));
	make_file(FROM "/allocated", "", 0, 0);
	fd = open(FROM "/allocated", O_RDWR | O_CLOEXEC);
	ok(fallocate(fd, 0, 0, 100000));
	make_file(FROM "/allocated", "x", 1, 50000);
	make_unwritten();
}

/* ---- tests ---- */

static void types(void **state)
{
	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", NULL);
	make_types();
	round_trip(4096);
	unmount();
}

static void ramfs(void **state)
{
	mount_at(FROM, "ramfs", NULL);
	mount_at(TO, "ramfs", NULL);
	make_types();
	round_trip(1 << 20);
	unmount();
}

static void attributes(void **state)
{
	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", NULL);
	make_attributes();
	round_trip(100);
	unmount();
}

static void sparse(void **state)
{
	static const size_t pieces[] = { 1, 4095, 1 << 20 };

	for (size_t i = 0; i < 3; i++) {
		mount_at(FROM, "tmpfs", NULL);
		mount_at(TO, "tmpfs", NULL);
		make_sparse();
		round_trip(pieces[i]);
		check_unwritten();
		unmount();
	}
}

static void sparse_ramfs(void **state)
{
	mount_at(FROM, "ramfs", NULL);
	mount_at(TO, "ramfs", NULL);
	make_file(FROM "/far", "x", 1, (off_t)1 << 34);
	make_file(FROM "/far", "yz", 2, 16 * 1024 * 1024 - 1);
	ok(truncate(FROM "/far", (off_t)1 << 50));
	make_file(FROM "/hole", "", 0, 0);
	ok(truncate(FROM "/hole", (off_t)1 << 60));
	for (int i = 0; i < 10000; i++)
		make_file(FROM "/comb", "x", 1, (off_t)i * 3 * 4096);
	for (int i = 0; i < 2; i++) { /* twice: the first must not have filled the holes */
		struct memory m = { .piece = 4096 };
		struct error err = ERROR_INIT;
		struct stat a, b;
		save(FROM, &m);
		assert_in_range(m.size, 10003 * 4096, 10100 * 4096);
		check(try_restore(TO, &m, &err), &err);
		ok(stat(FROM "/far", &a));
		ok(stat(TO "/far", &b));
		assert_int_equal(a.st_blocks, 3 * 8);
		assert_int_equal(b.st_blocks, 3 * 8);
		assert_int_equal(b.st_size, (off_t)1 << 50);
		ok(stat(TO "/comb", &b));
		assert_int_equal(b.st_blocks, 10000 * 8);
		char byte = 0;
		_cleanup_(close_p) int fd = open(TO "/far", O_RDONLY | O_CLOEXEC);
		assert_int_equal(pread(fd, &byte, 1, (off_t)1 << 34), 1);
		assert_int_equal(byte, 'x');
		free(m.data);
		ok(umount2(TO, MNT_DETACH));
		mount_at(TO, "ramfs", NULL);
	}
	unmount();
}

/* a chain longer than any path, and what lies beside it on the way back up */
static void deep(void **state)
{
	_cleanup_(free_p) char *name = xmalloc(201);
	struct memory m = { .piece = 4096 };
	struct error err = ERROR_INIT;
	struct content_totals totals;
	int depth = 0, fd;

	memset(name, 'd', 200);
	name[200] = 0;
	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", NULL);
	ok(fd = open(FROM, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (; depth < 1000; depth++) {
		ok(mkdirat(fd, "beside", 0700));
		ok(mkdirat(fd, name, 0700));
		ok(mkdirat(fd, "beside too", 0700));
		int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ok(below);
		close(fd);
		fd = below;
	}
	ok(mknodat(fd, "end", S_IFREG | 0600, 0));
	close(fd);
	save(FROM, &m);
	check(try_restore(TO, &m, &err), &err);
	ok(fd = open(TO, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (depth = 0; depth < 1000; depth++) {
		ok(faccessat(fd, "beside", F_OK, 0));
		ok(faccessat(fd, "beside too", F_OK, 0));
		int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ok(below);
		close(fd);
		fd = below;
	}
	ok(faccessat(fd, "end", F_OK, 0));
	close(fd);
	free(m.data);
	m = (struct memory){ .piece = 4096 };
	ok(fd = open(TO, O_PATH | O_CLOEXEC));
	struct byte_sink sink = sink_of(&m);
	check(content_save(fd, &sink, NULL, &totals, &err), &err);
	assert_int_equal(totals.n_inodes, 3 * 1000 + 2);
	close(fd);
	free(m.data);
	unmount();
}

static void wide(void **state)
{
	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", NULL);
	for (int i = 0; i < 3000; i++) {
		_cleanup_(free_p) char *file = xasprintf(FROM "/file %d", i);
		_cleanup_(free_p) char *folder = xasprintf(FROM "/folder %d", i);
		_cleanup_(free_p) char *below = xasprintf("%s/x", folder);
		make_file(file, file, (size_t)i % strlen(file), 0);
		ok(mkdir(folder, 0755));
		ok(symlink(file, below));
	}
	round_trip(4096);
	unmount();
}

static void lease(void **state)
{
	struct memory m = { .piece = 4096 };
	struct byte_sink sink = sink_of(&m);
	struct error err = ERROR_INIT;

	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", NULL);
	make_file(FROM "/file", "x", 1, 0);
	_cleanup_(close_p) int root = open(FROM, O_PATH | O_CLOEXEC);
	_cleanup_(close_p) int fd = open(FROM "/file", O_RDONLY | O_CLOEXEC);
	ok(fcntl(fd, F_SETLEASE, F_WRLCK));
	assert_int_equal(content_save(root, &sink, NULL, NULL, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_content_lease);
	assert_int_equal(fcntl(fd, F_GETLEASE), F_WRLCK);
	ok(fcntl(fd, F_SETLEASE, F_RDLCK));
	check(content_save(root, &sink, NULL, NULL, &err), &err);
	assert_int_equal(fcntl(fd, F_GETLEASE), F_RDLCK);
	free(m.data);
	unmount();
}

/* as a file of ext4 has them: that it has extents */
static void attributes_of_others(void **state)
{
	char path[] = "/var/tmp/stasis-XXXXXX";
	struct memory m = { .piece = 4096 };
	struct byte_sink sink = sink_of(&m);
	struct error err = ERROR_INIT;
	unsigned flags = 0;

	assert_non_null(mkdtemp(path));
	_cleanup_(free_p) char *file = xasprintf("%s/file", path);
	make_file(file, "x", 1, 0);
	_cleanup_(close_p) int fd = open(file, O_RDONLY | O_CLOEXEC);
	_cleanup_(close_p) int root = open(path, O_PATH | O_CLOEXEC);
	bool has = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && flags & ~CONTENT_ATTRIBUTES;
	int r = has ? content_save(root, &sink, NULL, NULL, &err) : 0;
	ok(unlink(file));
	ok(rmdir(path));
	free(m.data);
	if (!has)
		skip();
	assert_int_equal(r, -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_content_attributes);
}

/* a mount on something in it is no part of it */
static void covered(void **state)
{
	struct memory m = { .piece = 4096 };
	struct byte_sink sink = sink_of(&m);
	struct error err = ERROR_INIT;

	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", NULL);
	ok(mkdir(FROM "/folder", 0700));
	ok(mount("test", FROM "/folder", "tmpfs", 0, NULL));
	_cleanup_(close_p) int root = open(FROM, O_PATH | O_CLOEXEC);
	assert_int_equal(content_save(root, &sink, NULL, NULL, &err), -EXDEV);
	ok(umount(FROM "/folder"));
	free(m.data);
	unmount();
}

static void full(void **state)
{
	_cleanup_(free_p) char *data = random_bytes(1 << 20);
	struct memory m = { .piece = 65536 };
	struct error err = ERROR_INIT;

	mount_at(FROM, "tmpfs", NULL);
	mount_at(TO, "tmpfs", "size=512k");
	make_file(FROM "/file", data, 1 << 20, 0);
	save(FROM, &m);
	assert_int_equal(try_restore(TO, &m, &err), -ENOSPC);
	assert_non_null(strstr(err.cause, "/file"));
	free(m.data);
	unmount();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),
		cmocka_unit_test(ramfs),
		cmocka_unit_test(attributes),
		cmocka_unit_test(sparse),
		cmocka_unit_test(sparse_ramfs),
		cmocka_unit_test(deep),
		cmocka_unit_test(wide),
		cmocka_unit_test(lease),
		cmocka_unit_test(attributes_of_others),
		cmocka_unit_test(covered),
		cmocka_unit_test(full),
	};

	if (!enter_room())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
