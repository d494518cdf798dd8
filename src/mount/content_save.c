/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file system into the stream of content_format.h. Depth first: a directory is opened, written,
 * listed; what lies in it is written at once, but for its directories, whose names wait.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount/content.h"
#include "mount/content_data.h"
#include "mount/content_folders.h"
#include "mount/content_format.h"
#include "proc/locks.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/still.h"

#define LISTING_SIZE 65536u /* bytes of directory entries read at once */
#define PAGE         4096u
/* of ext4: how a file is stored, which is nobody's business; lower layers of overlays show it */
#define CONTENT_FORM (FS_EXTENT_FL | FS_INDEX_FL | FS_INLINE_DATA_FL | 0x40000u /* huge file */)

/* a directory that has been seen and not yet visited */
struct waiting {
	uint32_t folder; /* that it lies in */
	char *name;
};

struct saver {
	const struct byte_sink *sink;
	uint64_t at; /* bytes of the stream so far */
	struct folders folders;
	struct waiting *waiting;
	size_t n_waiting;
	struct map
		*links; /* inode number -> its number in the stream, of those with several names */
	dev_t device;   /* of the root, as are these */
	uid_t uid;
	gid_t gid;
	struct map *leased; /* inode numbers of files with a write lease; NULL: not looked yet */
	bool ramfs;
	bool merged;                           /* an overlay */
	const struct content_request *request; /* NULL: none */
	struct map *wanted_inodes;             /* inode number -> its line + 1; NULL: none */
	struct content_totals totals;
	char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
};

/* an inode that is being saved, under one of its names */
struct inode {
	uint32_t folder;
	const char *name; /* NULL: the root */
	int fd;           /* O_PATH when it cannot be opened otherwise */
	struct stat st;
};

static int fail(const struct saver *s, const struct inode *i, const char *what, struct error *err)
{
	int errnum = errno;
	_cleanup_(free_p) char *path = folders_path(&s->folders, i->folder, i->name);

	if (errnum == EACCES) {
		error_refuse(err, CODE_capability, "%s of %s: CAP_DAC_OVERRIDE is needed", what,
		             path);
		error_hint(err, "run stasis as root");
		return -EOPNOTSUPP;
	}
	return error_raise(err, errnum, "%s of %s", what, path);
}

static int refuse(const struct saver *s, const struct inode *i, enum code code, const char *what,
                  struct error *err)
{
	_cleanup_(free_p) char *path = folders_path(&s->folders, i->folder, i->name);

	return error_refuse(err, code, "%s: %s", path, what);
}

/* ---- the stream ---- */

static int put(struct saver *s, const void *data, size_t size, struct error *err)
{
	const char *from = data;

	while (size) {
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

	return put(s, zeros, (size_t)(-s->at % CONTENT_ALIGN), err);
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
			return fail(s, i, "read the contents", err);
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
	int r = put(s, &extent, sizeof(extent), err);

	if (r == 0 && size >= CONTENT_ALIGN_FROM)
		r = pad(s, err);
	if (r == 0)
		r = put_bytes(s, i, offset, size, err);
	s->totals.bytes += size;
	return r;
}

/*
 * A file all of which is allocated, though not all of it has been written: fallocate(2), so that no
 * write fails for want of space. (Of one with holes nobody can tell which parts are.)
 */
static uint64_t allocated(const struct stat *st, uint64_t data)
{
	uint64_t size = (uint64_t)st->st_size;
	uint64_t pages = size / PAGE + (size % PAGE != 0);

	return data < size && (uint64_t)st->st_blocks >= pages * (PAGE / 512) ? size : 0;
}

static int put_data(struct saver *s, const struct inode *i, struct error *err)
{
	struct content_data d;
	struct content_extent extent;
	uint64_t at = 0, data = 0;
	int r;

	content_data_init(&d, i->fd, &i->st, s->ramfs);
	while ((r = content_next_data(&d, at, &extent)) > 0) {
		r = put_extent(s, i, extent.offset, extent.size, err);
		if (r < 0)
			return r;
		at = extent.offset + extent.size;
		data += extent.size;
	}
	if (r < 0)
		return fail(s, i, "look for the data", err);
	extent = (struct content_extent){ .offset = allocated(&i->st, data) };
	return put(s, &extent, sizeof(extent), err);
}

/* ---- extended attributes ---- */

/* of what is open only with O_PATH: by the link in /proc, which leads to the inode itself */
static const char *proc_link(const struct inode *i, char room[40])
{
	snprintf(room, 40, "/proc/self/fd/%d", i->fd);
	return room;
}

static bool is_open(const struct inode *i)
{
	return S_ISREG(i->st.st_mode) || S_ISDIR(i->st.st_mode);
}

static int list_xattrs(struct saver *s, const struct inode *i, size_t *ret_size, struct error *err)
{
	char link[40];
	ssize_t n = is_open(i) ? flistxattr(i->fd, s->names, sizeof(s->names))
	                       : listxattr(proc_link(i, link), s->names, sizeof(s->names));

	*ret_size = n > 0 ? (size_t)n : 0;
	if (n < 0 && errno != EOPNOTSUPP)
		return fail(s, i, "list the extended attributes", err);
	return 0;
}

static int put_xattr(struct saver *s, const struct inode *i, const char *name, struct error *err)
{
	char link[40];
	ssize_t n = is_open(i) ? fgetxattr(i->fd, name, s->value, sizeof(s->value))
	                       : getxattr(proc_link(i, link), name, s->value, sizeof(s->value));

	if (n < 0) {
		_cleanup_(free_p) char *what = xasprintf("read the extended attribute %s", name);
		return fail(s, i, what, err);
	}
	struct content_xattr x = { (uint32_t)strlen(name), (uint32_t)n };
	int r = put(s, &x, sizeof(x), err);
	if (r == 0)
		r = put(s, name, x.name_size, err);
	return r < 0 ? r : put(s, s->value, x.value_size, err);
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
	if (!is_open(i) || ioctl(i->fd, FS_IOC_GETFLAGS, &flags) < 0)
		flags = 0;
	if (s->merged)
		flags &= ~CONTENT_FORM;
	*ret = flags & CONTENT_ATTRIBUTES;
	if (flags & ~CONTENT_ATTRIBUTES) {
		_cleanup_(free_p) char *what = xasprintf(
			"attributes %#x, which Stasis does not know", flags & ~CONTENT_ATTRIBUTES);
		return refuse(s, i, CODE_content_attributes, what, err);
	}
	return 0;
}

static enum content_type type_of(const struct stat *st)
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

/* all that stat(2) says; the rest is 0 */
static struct content_entry describe(const struct inode *i)
{
	const struct stat *st = &i->st;
	bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);

	return (struct content_entry){
		.type = type_of(st),
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
	int r = put(s, &e, sizeof(e), err);

	return r < 0 ? r : put(s, i->name, e.name_size, err);
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

static int put_target(struct saver *s, const struct inode *i, size_t size, struct error *err)
{
	char target[CONTENT_TARGET_MAX + 1];
	ssize_t n = readlinkat(i->fd, "", target, sizeof(target));

	if (n >= 0 && (size_t)n != size) {
		errno = EIO; /* it is another one now */
		n = -1;
	}
	if (n < 0)
		return fail(s, i, "read the target", err);
	return put(s, target, size, err);
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
	int r = refuse(s, i, CODE_content_socket,
	               "a socket is bound to it, and would not be to a new one", err);

	if (s->request)
		error_hint(err, "to leave nothing but the name: --external file:[%u:%u:%llu]=NAME",
		           major(s->device), minor(s->device), (unsigned long long)i->st.st_ino);
	return r;
}

static int put_inode(struct saver *s, const struct inode *i, struct error *err)
{
	struct content_entry e = describe(i);
	size_t names = 0;
	bool old;

	look_for(s, i);
	if (is_on_disk(s, i))
		return refuse(s, i, CODE_mount_overlay,
		              "the layers of the overlay are on a disk, and not under their paths",
		              err);
	e.link = link_number(s, &i->st, &old);
	if (e.type == CONTENT_SOCKET && still_is_bound(i->fd) && !leaves(s, i))
		return refuse_socket(s, i, err);
	if (old)
		return put_link(s, i, e.link, err);
	int r = get_attributes(s, i, &e.attributes, err);
	if (r == 0)
		r = list_xattrs(s, i, &names, err);
	if (r < 0)
		return r;
	e.n_xattrs = count_names(s->names, names);
	if (e.type == CONTENT_SYMLINK)
		e.target_size = (uint32_t)i->st.st_size;
	s->totals.n_inodes++;
	r = put(s, &e, sizeof(e), err);
	if (r == 0 && i->name)
		r = put(s, i->name, e.name_size, err);
	if (r == 0 && e.type == CONTENT_SYMLINK)
		r = put_target(s, i, e.target_size, err);
	if (r == 0 && e.type == CONTENT_FILE)
		r = put_data(s, i, err);
	return r < 0 ? r : put_xattrs(s, i, names, err);
}

/* ---- leases ---- */

static int find_leases(struct saver *s, struct error *err)
{
	_cleanup_(free_p) struct proc_locks_entry *locks = NULL;
	size_t n = 0;
	int r = proc_locks_read(&locks, &n, err);

	s->leased = map_new();
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct proc_lock *l = &locks[i].lock;
		ino64_t ino = l->inode;
		bool harmless = !strcmp(l->mode, "ACTIVE") && !strcmp(l->access, "READ");
		if (l->device == s->device && !strcmp(l->type, "LEASE") && !harmless)
			map_put(s->leased, &ino, sizeof(ino), s);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/*
 * A lease breaks when its file is opened, though the open fails (fcntl(2), F_SETLEASE). Looked up
 * for the first file only: reading /proc/locks takes an RCU grace period, some 10 ms.
 */
static int refuse_leased(struct saver *s, const struct inode *i, ino64_t ino, struct error *err)
{
	int r = s->leased ? 0 : find_leases(s, err);

	if (r == 0 && map_get(s->leased, &ino, sizeof(ino)))
		r = refuse(s, i, CODE_content_lease, "opening it would break its write lease", err);
	return r;
}

/* ---- the walk ---- */

/* whether something is mounted there, to stay */
static bool is_covered(const struct saver *s, int r)
{
	return r == -EXDEV && s->request && s->request->covered;
}

/* empty, and whose the root is: all that matters is that something can be mounted there again */
static int put_covered(struct saver *s, uint32_t folder, const char *name, mode_t mode,
                       struct error *err)
{
	const struct inode i = { .folder = folder,
		                 .name = name,
		                 .fd = -1,
		                 .st = { .st_mode = mode, .st_uid = s->uid, .st_gid = s->gid } };
	const struct content_entry e = describe(&i);
	const struct content_extent nothing = { 0 };
	int r = put(s, &e, sizeof(e), err);

	s->totals.n_inodes++;
	if (r == 0)
		r = put(s, name, e.name_size, err);
	if (r == 0 && e.type == CONTENT_FILE)
		r = put(s, &nothing, sizeof(nothing), err);
	return r;
}

/* anything but a directory */
static int save_name(struct saver *s, int dir, uint32_t folder, const struct dirent64 *d,
                     struct error *err)
{
	struct inode i = { .folder = folder, .name = d->d_name };
	bool file = d->d_type == DT_REG;

	int r = file ? refuse_leased(s, &i, d->d_ino, err) : 0;
	if (r < 0)
		return error_trace(err, r);
	/* opening a device or FIFO would do something */
	_cleanup_(close_p) int fd = folders_openat(
		&s->folders, dir, d->d_name, file ? O_RDONLY | O_NOATIME | O_NONBLOCK : O_PATH, 0);
	if (fd < 0 && is_covered(s, -errno))
		return put_covered(s, folder, d->d_name, S_IFREG | 0644, err);
	if (fd < 0)
		return fail(s, &i, "open", err);
	i.fd = fd;
	if (fstat(fd, &i.st) < 0)
		return fail(s, &i, "stat", err);
	if (S_ISREG(i.st.st_mode) != file || S_ISDIR(i.st.st_mode) ||
	    type_of(&i.st) == CONTENT_END) {
		errno = EAGAIN;
		return fail(s, &i, "the type", err);
	}
	return put_inode(s, &i, err);
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

static int save_listed(struct saver *s, int dir, uint32_t folder, const struct dirent64 *d,
                       struct error *err)
{
	if (is_dots(d->d_name))
		return 0;
	if (d->d_type != DT_DIR)
		return save_name(s, dir, folder, d, err);
	*array_push(s->waiting, s->n_waiting) = (struct waiting){ folder, xstrdup(d->d_name) };
	return 0;
}

static int save_listing(struct saver *s, const struct inode *i, uint32_t folder, struct error *err)
{
	_cleanup_(free_p) char *listing = xmalloc(LISTING_SIZE);
	ssize_t n;

	while ((n = getdents64(i->fd, listing, LISTING_SIZE)) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (void *)(listing + at);
			int r = save_listed(s, i->fd, folder, d, err);
			if (r < 0)
				return r;
			at += d->d_reclen;
		}
	return n < 0 ? fail(s, i, "list the entries", err) : 0;
}

static int save_folder(struct saver *s, uint32_t parent, const char *name, struct error *err)
{
	struct inode i = { .folder = parent, .name = name };
	uint32_t folder = name ? folders_add(&s->folders, parent, name) : 0;
	int r = folders_open(&s->folders, folder, &i.fd, err);

	if (name && is_covered(s, r))
		return put_covered(s, parent, name, S_IFDIR | 0755, err);
	if (r < 0)
		return r;
	if (fstat(i.fd, &i.st) < 0)
		return fail(s, &i, "stat", err);
	r = put_inode(s, &i, err);
	return r < 0 ? r : save_listing(s, &i, folder, err);
}

static int look_at_root(struct saver *s, struct error *err)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(s->folders.root, &fs) < 0 || fstat(s->folders.root, &st) < 0)
		return error_raise(err, errno, "stat of the root directory of a file system");
	s->ramfs = fs.f_type == RAMFS_MAGIC;
	s->merged = fs.f_type == OVERLAYFS_SUPER_MAGIC;
	s->device = st.st_dev;
	s->uid = st.st_uid;
	s->gid = st.st_gid;
	return 0;
}

static int save_all(struct saver *s, struct error *err)
{
	struct content_header header = { .magic = CONTENT_MAGIC, .version = CONTENT_VERSION };
	struct content_entry end = { .type = CONTENT_END };
	int r = put(s, &header, sizeof(header), err);

	if (r == 0)
		r = save_folder(s, 0, NULL, err);
	while (r == 0 && s->n_waiting) {
		struct waiting next = s->waiting[--s->n_waiting];
		r = save_folder(s, next.folder, next.name, err);
		free(next.name);
	}
	return r < 0 ? r : put(s, &end, sizeof(end), err);
}

static struct saver *saver_new(const struct byte_sink *sink)
{
	struct saver *s = xcalloc(1, sizeof(*s));

	s->sink = sink;
	s->links = map_new();
	return s;
}

static void saver_free(struct saver *s)
{
	while (s->n_waiting)
		free(s->waiting[--s->n_waiting].name);
	free(s->waiting);
	folders_done(&s->folders);
	map_free(s->links);
	map_free(s->leased);
	map_free(s->wanted_inodes);
	free(s);
}

static void take_request(struct saver *s, const struct content_request *request)
{
	s->request = request;
	s->wanted_inodes = request->n_wanted ? map_new() : NULL;
	for (size_t i = 0; i < request->n_wanted; i++)
		map_put(s->wanted_inodes, &request->wanted[i].inode,
		        sizeof(request->wanted[i].inode), (void *)(uintptr_t)(i + 1));
}

int content_save(int root, const struct byte_sink *sink, const struct content_request *request,
                 struct content_totals *ret, struct error *err)
{
	struct saver *s = saver_new(sink);

	if (request)
		take_request(s, request);
	int r = folders_init(&s->folders, root, request ? request->owner : -1, err);
	if (r == 0)
		r = look_at_root(s, err);
	if (r == 0)
		r = save_all(s, err);
	if (ret)
		*ret = s->totals;
	saver_free(s);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- single inodes ---- */

static int put_marker(struct saver *s, const char *name, const char *target, struct error *err)
{
	struct content_entry e = { .type = CONTENT_SYMLINK,
		                   .name_size = (uint32_t)strlen(name),
		                   .target_size = (uint32_t)strlen(target) };
	int r = put(s, &e, sizeof(e), err);

	if (r == 0)
		r = put(s, name, e.name_size, err);
	return r < 0 ? r : put(s, target, e.target_size, err);
}

static int put_single(struct saver *s, const char *name, int fd, struct error *err)
{
	struct inode i = { .name = name, .fd = fd };
	_cleanup_(close_p) int open_fd = -1;
	char link[40];

	if (fstat(fd, &i.st) < 0)
		return fail(s, &i, "stat", err);
	if (is_open(&i)) {
		int r = refuse_leased(s, &i, i.st.st_ino, err);
		if (r < 0)
			return error_trace(err, r);
		open_fd = open(proc_link(&i, link), O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
		if (open_fd < 0)
			return fail(s, &i, "open", err);
		i.fd = open_fd;
	}
	return put_inode(s, &i, err);
}

static int put_singles(struct saver *s, const struct content_inode *inodes, size_t n,
                       struct error *err)
{
	struct content_header header = { .magic = CONTENT_MAGIC, .version = CONTENT_VERSION };
	struct content_entry root = { .type = CONTENT_FOLDER, .mode = 0700 };
	struct content_entry end = { .type = CONTENT_END };
	int r = put(s, &header, sizeof(header), err);

	if (r == 0)
		r = put(s, &root, sizeof(root), err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_(free_p) char *name = xasprintf("%zu", i + 1);
		r = inodes[i].target ? put_marker(s, name, inodes[i].target, err)
		                     : put_single(s, name, inodes[i].fd, err);
	}
	return r < 0 ? r : put(s, &end, sizeof(end), err);
}

/* of the same file system all of them */
static int look_at_inodes(struct saver *s, const struct content_inode *inodes, size_t n,
                          struct error *err)
{
	struct statfs fs;
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		if (inodes[i].target)
			continue;
		if (fstatfs(inodes[i].fd, &fs) < 0 || fstat(inodes[i].fd, &st) < 0)
			return error_raise(err, errno, "stat of what has been deleted");
		s->ramfs = fs.f_type == RAMFS_MAGIC;
		s->device = st.st_dev;
		break;
	}
	return 0;
}

int content_save_inodes(const struct content_inode *inodes, size_t n, const struct byte_sink *sink,
                        struct error *err)
{
	struct saver *s = saver_new(sink);
	int r;

	s->folders.root = -1;
	for (unsigned i = 0; i < FOLDERS_KEPT; i++)
		s->folders.kept[i].fd = -1;
	array_push(s->folders.items, s->folders.n);
	r = look_at_inodes(s, inodes, n, err);
	if (r == 0)
		r = put_singles(s, inodes, n, err);
	saver_free(s);
	return r < 0 ? error_trace(err, r) : 0;
}
