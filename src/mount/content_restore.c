/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream of content_format.h into an empty file system. Every name is one component that is
 * made, never found: O_EXCL, mknod, mkdir, link; what is opened is opened by openat2(2) beneath the
 * root, following nothing.
 *
 * The order for an inode: made, filled, owner (which takes set-id bits and capabilities away),
 * mode, extended attributes, times. What would stop or be undone by what comes later in the same
 * file system waits for content_settle().
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount/content.h"
#include "mount/content_folders.h"
#include "mount/content_input.h"
#include "mount/content_restored.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct restorer {
	struct content *c;
	struct content_input in;
	struct content_item item; /* the entry at hand */
	char value[CONTENT_XATTR_MAX];
};

static int fail(const struct restorer *m, const char *what, struct error *err)
{
	return content_fail_at(m->c, m->item.e.folder, m->item.name[0] ? m->item.name : NULL, what,
	                       err);
}

/* ---- metadata ---- */

static bool is_open(const struct content_entry *e)
{
	return e->type == CONTENT_FILE || e->type == CONTENT_FOLDER;
}

static int set_xattr(struct restorer *m, int fd, const char *name, size_t size, struct error *err)
{
	char link[40];
	int r;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	r = is_open(&m->item.e) ? fsetxattr(fd, name, m->value, size, 0)
	                        : setxattr(link, name, m->value, size, 0);
	if (r < 0) {
		_cleanup_(free_p) char *what = xasprintf("set the extended attribute %s of", name);
		return fail(m, what, err);
	}
	return 0;
}

static int set_xattrs(struct restorer *m, int fd, struct error *err)
{
	char name[CONTENT_NAME_MAX + 1];
	size_t size;

	for (uint32_t i = 0; i < m->item.e.n_xattrs; i++) {
		int r = content_read_xattr(&m->in, name, m->value, &size, err);
		if (r < 0)
			return r;
		if (!strcmp(name, content_default_acl) && m->item.e.type == CONTENT_FOLDER) {
			struct late_folder *late = &m->c->late[m->c->n_late - 1];
			free(late->acl);
			late->acl = size ? xmemdup(m->value, size) : NULL;
			late->acl_size = size;
			continue;
		}
		r = set_xattr(m, fd, name, size, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* by the link in /proc: fchmod(2) does not take what is open with O_PATH */
static int set_mode(const struct restorer *m, int fd)
{
	char link[40];

	if (m->item.e.type == CONTENT_SYMLINK)
		return 0; /* always 0777 */
	if (is_open(&m->item.e))
		return fchmod(fd, m->item.e.mode);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return chmod(link, m->item.e.mode);
}

static void times_of(const struct content_entry *e, struct timespec times[2])
{
	times[0] = (struct timespec){ e->atime, e->atime_ns };
	times[1] = (struct timespec){ e->mtime, e->mtime_ns };
}

/* @fd: O_PATH unless is_open() */
static int describe(struct restorer *m, int fd, struct error *err)
{
	struct timespec times[2];

	times_of(&m->item.e, times);
	if (fchownat(fd, "", m->item.e.uid, m->item.e.gid, AT_EMPTY_PATH) < 0)
		return fail(m, "set the owner of", err);
	if (set_mode(m, fd) < 0)
		return fail(m, "set the mode of", err);
	int r = set_xattrs(m, fd, err);
	if (r == 0 && m->item.e.type != CONTENT_FOLDER &&
	    utimensat(fd, "", times, AT_EMPTY_PATH) < 0)
		return fail(m, "set the times of", err);
	return r;
}

/* ---- files ---- */

static int write_extent(struct restorer *m, int fd, uint64_t offset, uint64_t size,
                        struct error *err)
{
	while (size) {
		const char *from;
		size_t n;
		int r = content_read_bytes(&m->in, size, &from, &n, err);
		if (r < 0)
			return r;
		size -= n;
		while (n) {
			ssize_t done = pwrite(fd, from, n, (off_t)offset);
			if (done < 0 && errno == EINTR)
				continue;
			if (done <= 0)
				return fail(m, "write", err);
			from += done;
			n -= (size_t)done;
			offset += (uint64_t)done;
		}
	}
	return 0;
}

/* one of the file's extents, data of which go on at *@at */
static int fill_extent(struct restorer *m, int fd, const struct content_extent *x, uint64_t *at,
                       struct error *err)
{
	uint64_t size = x->size & ~CONTENT_UNWRITTEN;

	if (x->size == size) {
		m->c->totals.bytes += size;
		*at = x->offset + size;
		return write_extent(m, fd, x->offset, size, err);
	}
	while (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)x->offset, (off_t)size) < 0)
		if (errno != EINTR)
			return fail(m, "allocate the space of", err);
	return 0;
}

static int fill(struct restorer *m, int fd, struct error *err)
{
	uint64_t size = m->item.e.size, at = 0;
	struct content_extent extent;

	do {
		int r = content_read_extent(&m->in, size, at, &extent, err);
		if (r == 0 && extent.size)
			r = fill_extent(m, fd, &extent, &at, err);
		if (r < 0)
			return r;
	} while (extent.size);
	if (at < size && ftruncate(fd, (off_t)size) < 0)
		return fail(m, "set the size of", err);
	return 0;
}

static int make_file(struct restorer *m, int dir, int *ret_fd, struct error *err)
{
	*ret_fd = folders_openat(&m->c->folders, dir, m->item.name, O_WRONLY | O_CREAT | O_EXCL,
	                         0600);
	if (*ret_fd < 0)
		return fail(m, "make the file", err);
	return fill(m, *ret_fd, err);
}

/* ---- everything else ---- */

static int make_folder(struct restorer *m, int dir, int *ret_fd, struct error *err)
{
	struct late_folder *late = array_push(m->c->late, m->c->n_late);

	late->attributes = m->item.e.attributes;
	times_of(&m->item.e, late->times);
	if (mkdirat(dir, m->item.name, 0700) < 0)
		return fail(m, "make the directory", err);
	*ret_fd = folders_openat(&m->c->folders, dir, m->item.name,
	                         O_RDONLY | O_DIRECTORY | O_NOATIME, 0);
	if (*ret_fd < 0)
		return fail(m, "open the directory", err);
	folders_add(&m->c->folders, m->item.e.folder, m->item.name);
	return 0;
}

static int make_node(struct restorer *m, int dir, int *ret_fd, struct error *err)
{
	static const mode_t modes[] = { [CONTENT_FIFO] = S_IFIFO,
		                        [CONTENT_CHARDEV] = S_IFCHR,
		                        [CONTENT_BLOCKDEV] = S_IFBLK,
		                        [CONTENT_SOCKET] = S_IFSOCK };
	const struct content_entry *e = &m->item.e;
	int r = e->type == CONTENT_SYMLINK ? symlinkat(m->item.target, dir, m->item.name)
	                                   : mknodat(dir, m->item.name, modes[e->type] | 0600,
	                                             makedev(e->major, e->minor));

	if (r < 0)
		return fail(m,
		            e->type == CONTENT_SYMLINK ? "make the symbolic link"
		                                       : "make the special file",
		            err);
	*ret_fd = folders_openat(&m->c->folders, dir, m->item.name, O_PATH, 0);
	return *ret_fd < 0 ? fail(m, "open", err) : 0;
}

static int make_link(struct restorer *m, struct error *err)
{
	const struct content_entry *e = &m->item.e;
	int dir;

	if (e->link > m->c->n_linked)
		return content_invalid(err, "a name of an inode that has not come yet");
	const struct place *old = &m->c->linked[e->link - 1];
	int r = folders_open(&m->c->folders, old->folder, &dir, err);
	if (r < 0)
		return r;
	_cleanup_(close_p) int from = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	if (from < 0)
		return fail(m, "duplicate a descriptor for", err);
	r = folders_open(&m->c->folders, e->folder, &dir, err);
	if (r == 0 && linkat(from, old->name, dir, m->item.name, 0) < 0)
		return fail(m, "make the link", err);
	return r;
}

/* ---- the stream ---- */

static int make_inode(struct restorer *m, struct error *err)
{
	const struct content_entry *e = &m->item.e;
	_cleanup_(close_p) int fd = -1;
	int dir;
	int r = folders_open(&m->c->folders, e->folder, &dir, err);

	if (r < 0)
		return r;
	if (e->type == CONTENT_FOLDER)
		r = make_folder(m, dir, &fd, err);
	else if (e->type == CONTENT_FILE)
		r = make_file(m, dir, &fd, err);
	else
		r = make_node(m, dir, &fd, err);
	m->c->totals.n_inodes++;
	if (r == 0)
		r = describe(m, fd, err);
	if (r == 0 && e->type == CONTENT_FOLDER)
		folders_keep(&m->c->folders, (uint32_t)m->c->folders.n - 1, take_fd(&fd));
	return r;
}

static struct place place_of(const struct content_item *item)
{
	return (struct place){ item->e.folder, item->e.attributes, xstrdup(item->name) };
}

static int take_entry(struct restorer *m, struct error *err)
{
	struct content *c = m->c;
	const struct content_entry *e = &m->item.e;

	if (e->folder >= c->folders.n || e->name_size == 0)
		return content_invalid(err, "an entry without a name or directory");
	if (e->type == CONTENT_LINK)
		return make_link(m, err);
	if (e->link) {
		if (e->link != c->n_linked + 1)
			return content_invalid(err, "an inode numbered out of turn");
		*array_push(c->linked, c->n_linked) = place_of(&m->item);
	}
	if (e->attributes && e->type == CONTENT_FILE)
		*array_push(c->flagged, c->n_flagged) = place_of(&m->item);
	return make_inode(m, err);
}

static int take_root(struct restorer *m, struct error *err)
{
	struct content_entry *e = &m->item.e;
	int r = content_read_item(&m->in, &m->item, err);

	if (r < 0)
		return r;
	if (e->type != CONTENT_FOLDER || e->name_size || e->folder)
		return content_invalid(err, "contents that do not begin with a root directory");
	struct late_folder *late = array_push(m->c->late, m->c->n_late);
	late->attributes = e->attributes;
	times_of(e, late->times);
	m->c->totals.n_inodes++;
	return m->c->singles ? 0 : describe(m, m->c->folders.root, err);
}

static int take_all(struct restorer *m, struct error *err)
{
	int r = content_read_header(&m->in, err);

	if (r == 0)
		r = take_root(m, err);
	while (r == 0) {
		r = content_read_item(&m->in, &m->item, err);
		if (r == 0 && m->item.e.type == CONTENT_END)
			return content_read_end(&m->in, err);
		if (r == 0)
			r = take_entry(m, err);
	}
	return r;
}

/* who the calling thread was */
struct identity {
	int uid, gid; /* as setfsuid(2) returns them */
	int securebits;
	bool changed;
};

/*
 * In a file system that belongs to a user namespace only who is mapped there can make anything
 * (EOVERFLOW), and the owner of its root directory is. It keeps its capabilities.
 */
static int become_owner(struct identity *was, int root, struct error *err)
{
	struct stat st;

	*was = (struct identity){ .uid = setfsuid(UINT32_MAX), .gid = setfsgid(UINT32_MAX) };
	if (fstat(root, &st) < 0)
		return error_raise(err, errno, "stat of the root directory of a file system");
	if ((uid_t)was->uid == st.st_uid && (gid_t)was->gid == st.st_gid)
		return 0;
	was->securebits = prctl(PR_GET_SECUREBITS);
	if (was->securebits < 0 ||
	    prctl(PR_SET_SECUREBITS, (unsigned)was->securebits | SECBIT_NO_SETUID_FIXUP) < 0)
		return error_raise(err, errno, "keep the capabilities as another user");
	was->changed = true;
	setfsgid(st.st_gid);
	setfsuid(st.st_uid);
	return 0;
}

static void become_again(const struct identity *was)
{
	if (!was->changed)
		return;
	setfsuid((uid_t)was->uid);
	setfsgid((gid_t)was->gid);
	prctl(PR_SET_SECUREBITS, was->securebits);
}

static int restore(int root, const struct byte_source *source, bool singles, struct content **ret,
                   struct error *err)
{
	struct restorer *m = xcalloc(1, sizeof(*m));
	struct identity was = { 0 };

	*ret = m->c = xcalloc(1, sizeof(*m->c));
	m->in.source = source;
	m->c->singles = singles;
	int r = folders_init(&m->c->folders, root, -1, err);
	if (r == 0)
		r = become_owner(&was, m->c->folders.root, err);
	if (r == 0)
		r = take_all(m, err);
	become_again(&was);
	free(m);
	return r < 0 ? error_trace(err, r) : 0;
}

int content_restore(int root, const struct byte_source *source, struct content **ret,
                    struct error *err)
{
	int r = restore(root, source, false, ret, err);

	return r < 0 ? error_trace(err, r) : 0;
}

int content_restore_inodes(int folder, const struct byte_source *source, struct content **ret,
                           struct error *err)
{
	int r = restore(folder, source, true, ret, err);

	return r < 0 ? error_trace(err, r) : 0;
}
