/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents of a tmpfs or ramfs through the stream and back: a tree with everything in it is saved,
 * restored elsewhere, and both are described by an independent walk; the texts must be the same.
 * Then streams that lie. Needs root: it mounts, in a mount namespace of its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "core/contents.h"
#include "core/stream.h"
#include "image/image.h"
#include "mount/content.h"
#include "mount/content_format.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define FROM "/tmp/from"
#define TO   "/tmp/to"

static void check(int r, const struct error *err)
{
	if (r < 0) {
		error_print(stderr, err, "test", true);
		fail();
	}
}

#define ok(x)                                                                       \
	do                                                                          \
		if ((x) < 0) {                                                      \
			fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #x); \
			fail();                                                     \
		}                                                                   \
	while (0)

/* ---- a stream in memory, in pieces of any size ---- */

struct memory {
	char *data;
	size_t size, room;
	size_t piece; /* bytes lent at once */
	size_t at;    /* read so far */
};

static int lend_room(void *context, void **ret, size_t *ret_size, struct error *err)
{
	struct memory *m = context;

	if (m->room - m->size < m->piece) {
		m->room = 2 * m->room + m->piece;
		m->data = xrealloc(m->data, m->room, 1);
	}
	*ret = m->data + m->size;
	*ret_size = m->piece;
	return 0;
}

static int filled(void *context, size_t size, struct error *err)
{
	((struct memory *)context)->size += size;
	return 0;
}

static int next(void *context, const void **ret, size_t *ret_size, struct error *err)
{
	struct memory *m = context;

	*ret = m->size ? m->data + m->at : NULL;
	*ret_size = m->size - m->at < m->piece ? m->size - m->at : m->piece;
	m->at += *ret_size;
	return *ret_size > 0;
}

static struct byte_sink sink_of(struct memory *m)
{
	return (struct byte_sink){ m, lend_room, filled };
}

static struct byte_source source_of(struct memory *m)
{
	m->at = 0;
	return (struct byte_source){ m, next };
}

/* ---- an independent description of a tree ---- */

struct text {
	char *data;
	size_t size;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *format, ...)
{
	char line[8192];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	t->data = xrealloc(t->data, t->size + (size_t)n + 1, 1);
	memcpy(t->data + t->size, line, (size_t)n + 1);
	t->size += (size_t)n;
}

static uint64_t hash(uint64_t h, const void *data, size_t size)
{
	for (const unsigned char *p = data; size; size--)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_xattrs(struct text *t, const char *path)
{
	static char names[65536], value[65536];
	ssize_t n = llistxattr(path, names, sizeof(names));
	char *sorted[64];
	size_t count = 0;

	for (char *x = names; n > 0 && x < names + n && count < 64; x += strlen(x) + 1)
		sorted[count++] = x;
	qsort(sorted, count, sizeof(*sorted), by_text);
	for (size_t i = 0; i < count; i++) {
		ssize_t size = lgetxattr(path, sorted[i], value, sizeof(value));
		ok(size);
		add(t, " %s=%zd:%llx", sorted[i], size,
		    (unsigned long long)hash(1, value, (size_t)size));
	}
}

/* stretches of data and what is in them */
static void add_data(struct text *t, const char *path, off_t size)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC);
	_cleanup_(free_p) char *buffer = xmalloc(1 << 20);
	off_t at = 0;

	ok(fd);
	while (at < size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);
		uint64_t h = 1;
		for (off_t from = at; from < end;) {
			size_t most = end - from < 1 << 20 ? (size_t)(end - from) : 1 << 20;
			ssize_t n = pread(fd, buffer, most, from);
			assert_true(n > 0);
			h = hash(h, buffer, (size_t)n);
			from += n;
		}
		add(t, " [%lld-%lld %llx]", (long long)at, (long long)end, (unsigned long long)h);
		at = end;
	}
}

static void add_flags(struct text *t, const char *path)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC);
	unsigned flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0)
		add(t, " flags %x", flags);
}

static void add_inode(struct text *t, const char *path, const char *shown, const struct stat *st)
{
	char target[4096] = "";

	add(t, "%s: %o %u:%u x%lu %llx %lld blocks %lld a %lld.%09ld m %lld.%09ld", shown,
	    st->st_mode, st->st_uid, st->st_gid, (unsigned long)st->st_nlink,
	    (unsigned long long)st->st_rdev, S_ISDIR(st->st_mode) ? 0 : (long long)st->st_size,
	    (long long)st->st_blocks, (long long)st->st_atim.tv_sec, st->st_atim.tv_nsec,
	    (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	add_xattrs(t, path);
	if (S_ISREG(st->st_mode))
		add_data(t, path, st->st_size);
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
		add_flags(t, path);
	if (S_ISLNK(st->st_mode)) {
		struct timespec times[] = { st->st_atim, { .tv_nsec = UTIME_OMIT } };
		ok(readlink(path, target, sizeof(target) - 1));
		ok(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
		add(t, " -> %s", target);
	}
	add(t, "\n");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

struct seen { /* of an inode with several names: the first */
	ino_t ino;
	char *name;
};

static void describe(struct text *t, const char *path, size_t root_size, struct seen *seen,
                     size_t *n_seen)
{
	const char *shown = path + root_size;
	struct dirent **entries;
	struct stat st;

	ok(lstat(path, &st));
	for (size_t i = 0; !S_ISDIR(st.st_mode) && i < *n_seen; i++)
		if (seen[i].ino == st.st_ino) {
			add(t, "%s = %s\n", shown, seen[i].name);
			return;
		}
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		assert_true(*n_seen < 64);
		seen[(*n_seen)++] = (struct seen){ st.st_ino, xstrdup(shown) };
	}
	add_inode(t, path, shown, &st);
	if (!S_ISDIR(st.st_mode))
		return;
	int n = scandir(path, &entries, NULL, by_name);
	ok(n);
	for (int i = 0; i < n; i++) {
		_cleanup_(free_p) char *below = xasprintf("%s/%s", path, entries[i]->d_name);
		if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, ".."))
			describe(t, below, root_size, seen, n_seen);
		free(entries[i]);
	}
	free(entries);
}

static char *description(const char *root)
{
	struct text t = { 0 };
	struct seen seen[64];
	size_t n = 0;

	describe(&t, root, strlen(root), seen, &n);
	for (size_t i = 0; i < n; i++)
		free(seen[i].name);
	return t.data;
}

static void assert_same(const char *a, const char *b)
{
	size_t i = 0, line = 0;

	if (!strcmp(a, b))
		return;
	while (a[i] == b[i]) {
		if (a[i++] == '\n')
			line = i;
	}
	fprintf(stderr, "was: %.*s\nis:  %.*s\n", (int)strcspn(a + line, "\n"), a + line,
	        (int)strcspn(b + line, "\n"), b + line);
	fail();
}

/* ---- there and back ---- */

static void save(const char *from, struct memory *m)
{
	_cleanup_(close_p) int root = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct byte_sink sink = sink_of(m);
	struct error err = ERROR_INIT;

	ok(root);
	check(content_save(root, &sink, NULL, 0, NULL, &err), &err);
}

static int try_restore(const char *to, struct memory *m, struct error *err)
{
	_cleanup_(close_p) int root = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct byte_source source = source_of(m);
	struct content *c;

	ok(root);
	int r = content_restore(root, &source, &c, err);
	if (r == 0)
		r = content_settle(c, err);
	content_free(c);
	return r;
}

static void mount_at(const char *path, const char *type, const char *options)
{
	mkdir(path, 0700);
	ok(mount("test", path, type, MS_NOATIME, options));
}

static void unmount(void)
{
	ok(umount2(FROM, MNT_DETACH));
	ok(umount2(TO, MNT_DETACH));
}

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

/* ---- subjects ---- */

static void make_file(const char *path, const void *data, size_t size, off_t offset)
{
	_cleanup_(close_p) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ok(fd);
	while (size) {
		ssize_t n = pwrite(fd, data, size, offset);
		assert_true(n > 0);
		data = (const char *)data + n;
		size -= (size_t)n;
		offset += n;
	}
}

static void set_flags(const char *path, unsigned flags)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);

	ok(fd);
	ok(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static void set_times(const char *path, time_t atime, time_t mtime)
{
	struct timespec times[] = { { atime, 123456789 }, { mtime, 987654321 } };

	ok(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

static void make_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_(close_p) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ok(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

/* every type of inode; what a ramfs has too */
static void make_types(void)
{
	ok(mkdir(FROM "/folder", 0700));
	ok(chmod(FROM "/folder", 03571));
	ok(chown(FROM "/folder", 4711, 815));
	make_file(FROM "/folder/file", "hello", 5, 0);
	ok(chown(FROM "/folder/file", 1000000, 4294967294u));
	ok(chmod(FROM "/folder/file", 06755));
	make_file(FROM "/empty", "", 0, 0);
	ok(symlink("/etc/../no\nwhere\xff", FROM "/symlink"));
	ok(lchown(FROM "/symlink", 5, 6));
	ok(mkfifo(FROM "/fifo", 0600));
	ok(chmod(FROM "/fifo", 04622));
	ok(chown(FROM "/fifo", 7, 8));
	ok(mknod(FROM "/whiteout", S_IFCHR, makedev(0, 0)));
	ok(mknod(FROM "/char", S_IFCHR | 0123, makedev(300, 70000)));
	ok(mknod(FROM "/block", S_IFBLK | 0660, makedev(8, 1)));
	make_socket(FROM "/socket");
	ok(chown(FROM "/socket", 9, 10));
	make_file(FROM "/\n\\ \x01\xff\xc3", "name", 4, 0);
	ok(link(FROM "/folder/file", FROM "/other name"));
	ok(link(FROM "/folder/file", FROM "/folder/third"));
	ok(link(FROM "/fifo", FROM "/fifo2"));
	ok(link(FROM "/symlink", FROM "/folder/symlink2"));
	ok(link(FROM "/whiteout", FROM "/whiteout2"));
	set_times(FROM "/symlink", 1, 2);
	set_times(FROM "/fifo", -5, -1000000000000);
	set_times(FROM "/folder/file", 3000000000, 1);
	set_times(FROM "/socket", 17, 18);
	set_times(FROM "/folder", 19, 20);
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
}

/* ---- tests ---- */

static char *outside; /* description of what no stream may reach */

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
	check(content_save(fd, &sink, NULL, 0, &totals, &err), &err);
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
	assert_int_equal(content_save(root, &sink, NULL, 0, NULL, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_content_lease);
	assert_int_equal(fcntl(fd, F_GETLEASE), F_WRLCK);
	ok(fcntl(fd, F_SETLEASE, F_RDLCK));
	check(content_save(root, &sink, NULL, 0, NULL, &err), &err);
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
	int r = has ? content_save(root, &sink, NULL, 0, NULL, &err) : 0;
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
	assert_int_equal(content_save(root, &sink, NULL, 0, NULL, &err), -EXDEV);
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

/* ---- of another user namespace ---- */

static void write_text(pid_t pid, const char *file, const char *text)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/%s", (int)pid, file);
	_cleanup_(close_p) int fd = open(path, O_WRONLY | O_CLOEXEC);

	ok(fd);
	ok(write(fd, text, strlen(text)));
}

/* a process in a user and mount namespace of its own, with a tmpfs there; lives until killed */
static pid_t live_in_user_namespace(int *ret_root)
{
	int ready[2], go[2];
	char byte;

	ok(pipe2(ready, O_CLOEXEC));
	ok(pipe2(go, O_CLOEXEC));
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ok(unshare(CLONE_NEWUSER));
		ok(write(ready[1], "x", 1));
		ok(read(go[0], &byte, 1));
		ok(setgid(0));
		ok(setuid(0));
		ok(unshare(CLONE_NEWNS));
		ok(mount("test", TO, "tmpfs", 0, "mode=755"));
		ok(write(ready[1], "x", 1));
		for (;;)
			pause();
	}
	ok(read(ready[0], &byte, 1));
	write_text(pid, "uid_map", "0 100000 1000");
	write_text(pid, "gid_map", "0 200000 1000");
	ok(write(go[1], "x", 1));
	ok(read(ready[0], &byte, 1));
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root" TO, (int)pid);
	ok(*ret_root = open(path, O_PATH | O_CLOEXEC));
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
	return pid;
}

static void restore_into(int root, struct memory *m)
{
	struct byte_source source = source_of(m);
	struct error err = ERROR_INIT;
	struct content *c;

	check(content_restore(root, &source, &c, &err), &err);
	check(content_settle(c, &err), &err);
	content_free(c);
}

/* what one has is given to another one: capabilities of files read otherwise in their parent */
static void user_namespace(void **state)
{
	struct memory m = { .piece = 4096 }, again = m;
	pid_t pids[2];
	char *texts[2];
	int roots[2];

	mount_at(FROM, "tmpfs", "uid=100000,gid=200000");
	mount_at(TO, "tmpfs", NULL);
	make_file(FROM "/file", "x", 1, 0);
	ok(chown(FROM "/file", 100007, 200008));
	ok(mkdir(FROM "/folder", 0700));
	ok(chown(FROM "/folder", 100999, 200000));
	ok(mkfifo(FROM "/folder/fifo", 0600));
	ok(lchown(FROM "/folder/fifo", 100001, 200001));
	ok(mknod(FROM "/whiteout", S_IFCHR, 0));
	ok(lchown(FROM "/whiteout", 100000, 200000));
	ok(lsetxattr(FROM "/file", "security.capability", capability, sizeof(capability), 0));
	ok(lsetxattr(FROM "/file", "trusted.x", "y", 1, 0));
	save(FROM, &m);
	for (int i = 0; i < 2; i++) {
		pids[i] = live_in_user_namespace(&roots[i]);
		_cleanup_(free_p) char *path = xasprintf("/proc/%d/root" TO, (int)pids[i]);
		restore_into(roots[i], i ? &again : &m);
		if (i == 0)
			save(path, &again);
		texts[i] = description(path);
	}
	assert_non_null(strstr(texts[0], "/folder: 40700 100999:200000"));
	assert_same(texts[0], texts[1]);
	assert_int_equal(geteuid(), 0);
	ok(mkdir(FROM "/as root", 0700)); /* it is itself again */
	struct stat st;
	ok(stat(FROM "/as root", &st));
	assert_int_equal(st.st_uid, 0);
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		close(roots[i]);
		free(texts[i]);
	}
	free(m.data);
	free(again.data);
	unmount();
}

/* ---- streams that lie ---- */

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
		{ { 100001, 0 } },         /* allocated beyond the end */
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
	struct content_header newer = { .magic = CONTENT_MAGIC, .version = 2 };
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
		cmocka_unit_test(user_namespace),
		cmocka_unit_test_teardown(hostile_entries, outside_is_untouched),
		cmocka_unit_test_teardown(hostile_data, outside_is_untouched),
		cmocka_unit_test_teardown(hostile_xattrs, outside_is_untouched),
		cmocka_unit_test_teardown(damaged, outside_is_untouched),
		cmocka_unit_test_teardown(not_a_stream, outside_is_untouched),
	};

	if (geteuid() != 0)
		return 77;
	ok(unshare(CLONE_NEWNS));
	ok(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ok(mount("test", "/tmp", "tmpfs", MS_NOATIME, NULL));
	umask(077);
	ok(mkdir("/tmp/outside", 0755));
	make_file("/tmp/outside/file", "x", 1, 0);
	outside = description("/tmp/outside");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
