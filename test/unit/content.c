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
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
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

	*ret = m->data + m->at;
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
	check(content_save(root, &sink, NULL, &err), &err);
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
	ok(lsetxattr(FROM "/file", "user.empty", "", 0, 0));
	ok(lsetxattr(FROM "/file", "user.zero", "\0", 1, 0));
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),
		cmocka_unit_test(ramfs),
		cmocka_unit_test(attributes),
		cmocka_unit_test(sparse),
	};

	if (geteuid() != 0)
		return 77;
	ok(unshare(CLONE_NEWNS));
	ok(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ok(mount("test", "/tmp", "tmpfs", 0, NULL));
	umask(077);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
