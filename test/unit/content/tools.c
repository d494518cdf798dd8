/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tools.h. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "content/tools.h"
#include "mount/content.h"
#include "util/alloc.h"
#include "util/cleanup.h"

void check(int r, const struct error *err)
{
	if (r < 0) {
		error_print(stderr, err, "test", true);
		fail();
	}
}

/* ---- a stream in memory, in pieces of any size ---- */

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

struct byte_sink sink_of(struct memory *m)
{
	return (struct byte_sink){ m, lend_room, filled };
}

struct byte_source source_of(struct memory *m)
{
	m->at = 0;
	return (struct byte_source){ m, next };
}

/* ---- there and back ---- */

void save(const char *from, struct memory *m)
{
	_cleanup_(close_p) int root = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct byte_sink sink = sink_of(m);
	struct error err = ERROR_INIT;

	ok(root);
	check(content_save(root, &sink, NULL, NULL, &err), &err);
}

int try_restore(const char *to, struct memory *m, struct error *err)
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

void mount_at(const char *path, const char *type, const char *options)
{
	mkdir(path, 0700);
	ok(mount("test", path, type, MS_NOATIME, options));
}

void unmount(void)
{
	ok(umount2(FROM, MNT_DETACH));
	ok(umount2(TO, MNT_DETACH));
}

/* ---- subjects ---- */

void make_file(const char *path, const void *data, size_t size, off_t offset)
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

void set_times(const char *path, time_t atime, time_t mtime)
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
void make_types(void)
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

bool enter_room(void)
{
	if (geteuid() != 0)
		return false;
	ok(unshare(CLONE_NEWNS));
	ok(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ok(mount("test", "/tmp", "tmpfs", MS_NOATIME, NULL));
	umask(077);
	return true;
}
