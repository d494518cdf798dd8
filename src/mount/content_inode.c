/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One inode into the stream of content_format.h: what it is, its attributes, its data. */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "host/features.h"
#include "mount/content_data.h"
#include "mount/content_saver.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/still.h"

#define PAGE 4096u
/* of ext4: how a file is stored, which is nobody's business; lower layers of overlays show it */
#define CONTENT_FORM (FS_EXTENT_FL | FS_INDEX_FL | FS_INLINE_DATA_FL | 0x40000u /* huge file */)

/* ---- the stream ---- */

int saver_put(struct saver *s, const void *data, size_t size, struct error *err)
{
	const char *from = data;

	while (s->sink && size) {
		void *room;
		size_t n;
		int r = s->sink->room(s->sink->context, &room, &n, err);
		if (r < 0)
			return r;
		if (n > size)
			n = size;
		memcpy(room, from, n);
		r = s->sink->filled(s->sink->context, n, err);
		if (r < 0)
			return r;
		from += n;
		size -= n;
		s->at += n;
	}
	return 0;
}

static int pad(struct saver *s, struct error *err)
{
	static const char zeros[CONTENT_ALIGN];

	return saver_put(s, zeros, (size_t)(-s->at % CONTENT_ALIGN), err);
}

/* ---- data of a file ---- */

/* from the file into the stream's own buffer */
static int put_bytes(struct saver *s, const struct inode *i, uint64_t offset, uint64_t size,
                     struct error *err)
{
	while (size) {
		void *room;
		size_t most;
		int r = s->sink->room(s->sink->context, &room, &most, err);
		if (r < 0)
			return r;
		if (most > size)
			most = (size_t)size;
		ssize_t n = pread(i->fd, room, most, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO; /* it has become shorter */
		if (n <= 0)
			return saver_fail(s, i, "read the contents", err);
		r = s->sink->filled(s->sink->context, (size_t)n, err);
		if (r < 0)
			return r;
		offset += (uint64_t)n;
		size -= (uint64_t)n;
		s->at += (uint64_t)n;
	}
	return 0;
}

static int put_extent(struct saver *s, const struct inode *i, uint64_t offset, uint64_t size,
                      struct error *err)
{
	struct content_extent extent = { offset, size };
	int r = saver_put(s, &extent, sizeof(extent), err);

	if (r == 0 && size >= CONTENT_ALIGN_FROM)
		r = pad(s, err);
	if (r == 0)
		r = put_bytes(s, i, offset, size, err);
	s->totals.bytes += size;
	return r;
}

static uint64_t pages_up_to(uint64_t size)
{
	return size / PAGE + (size % PAGE != 0);
}

/* what has been allocated by fallocate(2) and not been written yet; @pages: those with data */
static int put_unwritten(struct saver *s, const struct inode *i, uint64_t pages, struct error *err)
{
	uint64_t size = (uint64_t)i->st.st_size, have = (uint64_t)i->st.st_blocks / (PAGE / 512);
	_cleanup_(free_p) struct content_extent *found = NULL;
	size_t n = 0;
	int r = 0;

	if (s->ramfs || have <= pages)
		return 0;
	if (!s->merged && feature(FEATURE_cachestat)) {
		if (content_find_unwritten(i->fd, &i->st, have - pages, &found, &n) < 0)
			return saver_fail(s, i, "look for what is allocated", err);
	} else if (pages < pages_up_to(size) && have >= pages_up_to(size)) {
		/* all of it; if it has holes nobody can tell */
		*array_push(found, n) = (struct content_extent){ 0, size };
	}
	for (size_t k = 0; r == 0 && k < n; k++) {
		found[k].size |= CONTENT_UNWRITTEN;
		r = saver_put(s, &found[k], sizeof(found[k]), err);
	}
	return r;
}

static int put_data(struct saver *s, const struct inode *i, struct error *err)
{
	static const struct content_extent end;
	struct content_data d;
	struct content_extent extent;
	uint64_t at = 0, pages = 0;
	int r;

	if (!s->sink)
		return 0;
	content_data_init(&d, i->fd, &i->st, s->ramfs);
	while ((r = content_next_data(&d, at, &extent)) > 0) {
		r = put_extent(s, i, extent.offset, extent.size, err);
		if (r < 0)
			return r;
		at = extent.offset + extent.size;
		pages += pages_up_to(at) - extent.offset / PAGE;
	}
	if (r < 0)
		return saver_fail(s, i, "look for the data", err);
	r = put_unwritten(s, i, pages, err);
	return r < 0 ? r : saver_put(s, &end, sizeof(end), err);
}

/* ---- extended attributes ---- */

const char *saver_proc_link(const struct inode *i, char room[40])
{
	snprintf(room, 40, "/proc/self/fd/%d", i->fd);
	return room;
}

bool saver_is_open(const struct inode *i)
{
	return S_ISREG(i->st.st_mode) || S_ISDIR(i->st.st_mode);
}

static int list_xattrs(struct saver *s, const struct inode *i, size_t *ret_size, struct error *err)
{
	char link[40];
	ssize_t n = saver_is_open(i)
	                    ? flistxattr(i->fd, s->names, sizeof(s->names))
	                    : listxattr(saver_proc_link(i, link), s->names, sizeof(s->names));

	*ret_size = n > 0 ? (size_t)n : 0;
	if (n < 0 && errno != EOPNOTSUPP)
		return saver_fail(s, i, "list the extended attributes", err);
	return 0;
}

static int put_xattr(struct saver *s, const struct inode *i, const char *name, struct error *err)
{
	char link[40];
	ssize_t n = saver_is_open(i)
	                    ? fgetxattr(i->fd, name, s->value, sizeof(s->value))
	                    : getxattr(saver_proc_link(i, link), name, s->value, sizeof(s->value));

	if (n < 0) {
		_cleanup_(free_p) char *what = xasprintf("read the extended attribute %s", name);
		return saver_fail(s, i, what, err);
	}
	struct content_xattr x = { (uint32_t)strlen(name), (uint32_t)n };
	int r = saver_put(s, &x, sizeof(x), err);
	if (r == 0)
		r = saver_put(s, name, x.name_size, err);
	return r < 0 ? r : saver_put(s, s->value, x.value_size, err);
}

static int put_xattrs(struct saver *s, const struct inode *i, size_t size, struct error *err)
{
	int r = 0;

	for (const char *n = s->names; r == 0 && n < s->names + size; n += strlen(n) + 1)
		r = put_xattr(s, i, n, err);
	return r;
}

static uint32_t count_names(const char *names, size_t size)
{
	uint32_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += names[i] == 0;
	return n;
}

/* ---- an inode ---- */

static int get_attributes(const struct saver *s, const struct inode *i, uint32_t *ret,
                          struct error *err)
{
	unsigned flags = 0;

	/* a file system or type of file without them */
	if (!saver_is_open(i) || ioctl(i->fd, FS_IOC_GETFLAGS, &flags) < 0)
		flags = 0;
	if (s->merged)
		flags &= ~CONTENT_FORM;
	*ret = flags & CONTENT_ATTRIBUTES;
	if (flags & ~CONTENT_ATTRIBUTES) {
		_cleanup_(free_p) char *what = xasprintf(
			"attributes %#x, which Stasis does not know", flags & ~CONTENT_ATTRIBUTES);
		return saver_refuse(s, i, CODE_content_attributes, what, err);
	}
	return 0;
}

enum content_type saver_type_of(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return CONTENT_FILE;
	case S_IFDIR:
		return CONTENT_FOLDER;
	case S_IFLNK:
		return CONTENT_SYMLINK;
	case S_IFIFO:
		return CONTENT_FIFO;
	case S_IFCHR:
		return CONTENT_CHARDEV;
	case S_IFBLK:
		return CONTENT_BLOCKDEV;
	case S_IFSOCK:
		return CONTENT_SOCKET;
	default:
		return CONTENT_END;
	}
}

struct content_entry saver_describe(const struct inode *i)
{
	const struct stat *st = &i->st;
	bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);

	return (struct content_entry){
		.type = saver_type_of(st),
		.folder = i->folder,
		.name_size = i->name ? (uint32_t)strlen(i->name) : 0,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.major = device ? major(st->st_rdev) : 0,
		.minor = device ? minor(st->st_rdev) : 0,
		.atime_ns = (uint32_t)st->st_atim.tv_nsec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.atime = st->st_atim.tv_sec,
		.mtime = st->st_mtim.tv_sec,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
	};
}

static int put_link(struct saver *s, const struct inode *i, uint32_t link, struct error *err)
{
	struct content_entry e = { .type = CONTENT_LINK,
		                   .folder = i->folder,
		                   .name_size = (uint32_t)strlen(i->name),
		                   .link = link };
	int r = saver_put(s, &e, sizeof(e), err);

	return r < 0 ? r : saver_put(s, i->name, e.name_size, err);
}

/* the number of an inode with several names; *ret_old: it has been written under another one */
static uint32_t link_number(struct saver *s, const struct stat *st, bool *ret_old)
{
	*ret_old = false;
	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return 0;
	/* layers of an overlay have numbers of their own */
	const uint64_t key[2] = { st->st_dev, st->st_ino };
	void *known = map_get(s->links, key, sizeof(key));
	*ret_old = known != NULL;
	if (!known) {
		known = (void *)(uintptr_t)(map_size(s->links) + 1);
		map_put(s->links, key, sizeof(key), known);
	}
	return (uint32_t)(uintptr_t)known;
}

/* by streams of their own they would become two files */
static int judge_linked(const struct saver *s, const struct inode *i, struct error *err)
{
	struct map *linked = s->request ? s->request->linked : NULL;
	const ino_t key = i->st.st_ino;

	if (!linked || S_ISDIR(i->st.st_mode) || i->st.st_nlink < 2)
		return 0;
	uintptr_t part = (uintptr_t)map_get(linked, &key, sizeof(key));
	if (part && part != s->request->part)
		return saver_refuse(s, i, CODE_content_linked,
		                    "the file has another name in a part of the file system that "
		                    "is mounted elsewhere, and what is between is not",
		                    err);
	map_put(linked, &key, sizeof(key), (void *)s->request->part);
	return 0;
}

static int put_target(struct saver *s, const struct inode *i, size_t size, struct error *err)
{
	char target[CONTENT_TARGET_MAX + 1];
	ssize_t n = readlinkat(i->fd, "", target, sizeof(target));

	if (n >= 0 && (size_t)n != size) {
		errno = EIO; /* it is another one now */
		n = -1;
	}
	if (n < 0)
		return saver_fail(s, i, "read the target", err);
	return saver_put(s, target, size, err);
}

/* whatever is in the names, unlike folders_path() */
static char *path_of(const struct folders *f, uint32_t folder, const char *name)
{
	char *path = xasprintf("/%s", name);

	for (; f->items[folder].name; folder = f->items[folder].parent) {
		char *longer = xasprintf("/%s%s", f->items[folder].name, path);
		free(path);
		path = longer;
	}
	return path;
}

static void look_for(const struct saver *s, const struct inode *i)
{
	size_t line = s->wanted_inodes ? (size_t)(uintptr_t)map_get(s->wanted_inodes, &i->st.st_ino,
	                                                            sizeof(i->st.st_ino))
	                               : 0;

	if (line && i->name && !s->request->wanted[line - 1].path)
		s->request->wanted[line - 1].path = path_of(&s->folders, i->folder, i->name);
}

/*
 * What an overlay shows is copied when nobody else can see what it is made of. A disk others can,
 * whatever its directories are called by now. Files of the upper layer show its device; if all
 * layers are of one, whether they lie on a disk.
 */
static bool is_on_disk(const struct saver *s, const struct inode *i)
{
	struct fiemap map = { .fm_length = UINT64_MAX };

	if (!s->merged || !S_ISREG(i->st.st_mode))
		return false;
	return major(i->st.st_dev) != 0 ||
	       (i->st.st_dev == s->device && ioctl(i->fd, FS_IOC_FIEMAP, &map) == 0);
}

static bool leaves(const struct saver *s, const struct inode *i)
{
	return s->request && s->request->leaves &&
	       s->request->leaves(s->request->context, i->st.st_ino);
}

static int refuse_socket(const struct saver *s, const struct inode *i, struct error *err)
{
	int r = saver_refuse(s, i, CODE_content_socket,
	                     "a socket is bound to it, and would not be to a new one", err);

	if (s->request)
		error_hint(err, "to leave nothing but the name: --external file:[%u:%u:%llu]=NAME",
		           major(s->device), minor(s->device), (unsigned long long)i->st.st_ino);
	return r;
}

int saver_put_inode(struct saver *s, const struct inode *i, struct error *err)
{
	struct content_entry e = saver_describe(i);
	size_t names = 0;
	bool old;

	look_for(s, i);
	if (is_on_disk(s, i))
		return saver_refuse(
			s, i, CODE_mount_overlay,
			"the layers of the overlay are on a disk, and not under their paths", err);
	int r = judge_linked(s, i, err);
	if (r < 0)
		return r;
	e.link = link_number(s, &i->st, &old);
	if (e.type == CONTENT_SOCKET && still_is_bound(i->fd) && !leaves(s, i))
		return refuse_socket(s, i, err);
	if (old)
		return put_link(s, i, e.link, err);
	r = get_attributes(s, i, &e.attributes, err);
	if (r == 0)
		r = list_xattrs(s, i, &names, err);
	if (r < 0)
		return r;
	e.n_xattrs = count_names(s->names, names);
	if (e.type == CONTENT_SYMLINK)
		e.target_size = (uint32_t)i->st.st_size;
	s->totals.n_inodes++;
	r = saver_put(s, &e, sizeof(e), err);
	if (r == 0 && i->name)
		r = saver_put(s, i->name, e.name_size, err);
	if (r == 0 && e.type == CONTENT_SYMLINK)
		r = put_target(s, i, e.target_size, err);
	if (r == 0 && e.type == CONTENT_FILE)
		r = put_data(s, i, err);
	return r < 0 ? r : put_xattrs(s, i, names, err);
}
