/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file system into the stream of content_format.h. What lies in a directory is written at once,
 * in the order in which it was made, so that it is listed as before when it is made again; then
 * what lies in its directories, depth first.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mount/content_saver.h"
#include "proc/locks.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/listing.h"
#include "util/map.h"

int saver_fail(const struct saver *s, const struct inode *i, const char *what, struct error *err)
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

int saver_refuse(const struct saver *s, const struct inode *i, enum code code, const char *what,
                 struct error *err)
{
	_cleanup_(free_p) char *path = folders_path(&s->folders, i->folder, i->name);

	return error_refuse(err, code, "%s: %s", path, what);
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
		r = saver_refuse(s, i, CODE_content_lease, "opening it would break its write lease",
		                 err);
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
	const struct content_entry e = saver_describe(&i);
	const struct content_extent end = { 0 };
	int r = saver_put(s, &e, sizeof(e), err);

	s->totals.n_inodes++;
	if (r == 0)
		r = saver_put(s, name, e.name_size, err);
	if (r == 0 && e.type == CONTENT_FILE)
		r = saver_put(s, &end, sizeof(end), err);
	return r;
}

/* a survey goes on after a refusal, and without what somebody has changed meanwhile */
static int go_on(struct saver *s, int r, struct error *err)
{
	if (s->sink || (r != -EOPNOTSUPP && r != -ENOENT && r != -EAGAIN))
		return r;
	if (r == -EOPNOTSUPP && err->code != CODE_NONE && s->request && s->request->refused)
		s->request->refused(s->request->context, err);
	*err = ERROR_INIT;
	return 0;
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
		return saver_fail(s, &i, "open", err);
	i.fd = fd;
	if (fstat(fd, &i.st) < 0)
		return saver_fail(s, &i, "stat", err);
	if (S_ISREG(i.st.st_mode) != file || S_ISDIR(i.st.st_mode) ||
	    saver_type_of(&i.st) == CONTENT_END) {
		errno = EAGAIN;
		return saver_fail(s, &i, "the type", err);
	}
	return saver_put_inode(s, &i, err);
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

static int save_folder(struct saver *s, int dir, uint32_t parent, const char *name,
                       struct error *err)
{
	struct inode i = { .folder = parent, .name = name };
	_cleanup_(close_p) int fd = folders_openat(&s->folders, dir, name,
	                                           O_RDONLY | O_DIRECTORY | O_NOATIME, 0);

	if (fd < 0 && is_covered(s, -errno)) {
		folders_add(&s->folders, parent, name);
		return put_covered(s, parent, name, S_IFDIR | 0755, err);
	}
	if (fd < 0)
		return saver_fail(s, &i, "open the directory", err);
	i.fd = fd;
	if (fstat(fd, &i.st) < 0)
		return saver_fail(s, &i, "stat", err);
	*array_push(s->waiting, s->n_waiting) = folders_add(&s->folders, parent, name);
	return go_on(s, saver_put_inode(s, &i, err), err);
}

static int save_listed(struct saver *s, int dir, uint32_t folder, const struct dirent64 *d,
                       struct error *err)
{
	if (is_dots(d->d_name))
		return 0;
	return go_on(s,
	             d->d_type == DT_DIR ? save_folder(s, dir, folder, d->d_name, err)
	                                 : save_name(s, dir, folder, d, err),
	             err);
}

/*
 * Whether what was made last is listed first: ramfs, and tmpfs before Linux 6.6 and since 6.14, but
 * not between (fs/libfs.c, simple_offset). What an overlay shows goes into a tmpfs.
 */
static bool is_newest_first(const struct saver *s, const struct listing *l)
{
	return s->merged || listing_is_counted(s->ramfs ? RAMFS_MAGIC : TMPFS_MAGIC) ||
	       listing_goes_down(l);
}

static int save_listing(struct saver *s, uint32_t folder, struct error *err)
{
	_cleanup_(listing_done) struct listing l = LISTING_INIT;
	struct inode i = { .folder = folder };

	int r = folders_open(&s->folders, folder, &i.fd, err);
	if (r < 0)
		return error_trace(err, r);
	/* a descriptor of our own: that one is lent until the next directory is opened */
	_cleanup_(close_p) int dir = fcntl(i.fd, F_DUPFD_CLOEXEC, 3);
	if (dir < 0)
		return saver_fail(s, &i, "duplicate a descriptor", err);
	r = listing_read(dir, &l);
	if (r < 0) {
		errno = -r;
		return saver_fail(s, &i, "list the entries", err);
	}
	bool backward = is_newest_first(s, &l);
	for (size_t n = 0; r == 0 && n < l.n; n++)
		r = save_listed(s, dir, folder, listing_entry(&l, backward ? l.n - 1 - n : n), err);
	return r;
}

static int save_root(struct saver *s, struct error *err)
{
	struct inode i = { .fd = s->folders.root };

	if (fstat(i.fd, &i.st) < 0)
		return saver_fail(s, &i, "stat", err);
	*array_push(s->waiting, s->n_waiting) = 0;
	return go_on(s, saver_put_inode(s, &i, err), err);
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
	int r = saver_put(s, &header, sizeof(header), err);

	if (r == 0)
		r = save_root(s, err);
	while (r == 0 && s->n_waiting) {
		uint32_t next = s->waiting[--s->n_waiting];
		r = go_on(s, save_listing(s, next, err), err);
	}
	return r < 0 ? r : saver_put(s, &end, sizeof(end), err);
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
	int r = saver_put(s, &e, sizeof(e), err);

	if (r == 0)
		r = saver_put(s, name, e.name_size, err);
	return r < 0 ? r : saver_put(s, target, e.target_size, err);
}

static int put_single(struct saver *s, const char *name, int fd, struct error *err)
{
	struct inode i = { .name = name, .fd = fd };
	_cleanup_(close_p) int open_fd = -1;
	char link[40];

	if (fstat(fd, &i.st) < 0)
		return saver_fail(s, &i, "stat", err);
	if (saver_is_open(&i)) {
		int r = refuse_leased(s, &i, i.st.st_ino, err);
		if (r < 0)
			return error_trace(err, r);
		open_fd = open(saver_proc_link(&i, link),
		               O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
		if (open_fd < 0)
			return saver_fail(s, &i, "open", err);
		i.fd = open_fd;
	}
	return saver_put_inode(s, &i, err);
}

static int put_singles(struct saver *s, const struct content_inode *inodes, size_t n,
                       struct error *err)
{
	struct content_header header = { .magic = CONTENT_MAGIC, .version = CONTENT_VERSION };
	struct content_entry root = { .type = CONTENT_FOLDER, .mode = 0700 };
	struct content_entry end = { .type = CONTENT_END };
	int r = saver_put(s, &header, sizeof(header), err);

	if (r == 0)
		r = saver_put(s, &root, sizeof(root), err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_(free_p) char *name = xasprintf("%zu", i + 1);
		r = inodes[i].target ? put_marker(s, name, inodes[i].target, err)
		                     : go_on(s, put_single(s, name, inodes[i].fd, err), err);
	}
	return r < 0 ? r : saver_put(s, &end, sizeof(end), err);
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
                        const struct content_request *request, struct error *err)
{
	struct saver *s = saver_new(sink);
	int r;

	s->request = request;
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
