/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: all that is in a deleted file. It is read through an open file description of our
 * own, so that the program's position does not move; holes stay holes.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/bulk.h"
#include "kind/regfile/regfile.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/*
 * ioctl_iflags(2) that follow from the file system and the contents, not from anybody's wish:
 * FS_COMPRBLK, FS_ENCRYPT, FS_INDEX, FS_HUGE_FILE, FS_EXTENT, FS_EA_INODE, FS_INLINE_DATA...
 */
#define DERIVED_ATTRIBUTES 0x102c1e00u

/* @link: in /proc, which leads to what may be a symlink itself */
static int add_xattr(const char *link, const char *name, RegfileDeleted *d, struct error *refusal)
{
	static const size_t room = 65536; /* XATTR_SIZE_MAX */
	_cleanup_(free_p) char *value = xmalloc(room);
	ssize_t size = getxattr(link, name, value, room);

	if (size < 0)
		return error_refuse(refusal, CODE_regfile_attributes,
		                    "the extended attribute %s cannot be read: %s", name,
		                    strerror(errno));
	RegfileXattr *x = xmalloc(sizeof(*x));
	regfile_xattr__init(x);
	x->name.data = (uint8_t *)xstrdup(name);
	x->name.len = strlen(name);
	x->value.data = size ? xmemdup(value, (size_t)size) : NULL;
	x->value.len = (size_t)size;
	*array_push(d->xattrs, d->n_xattrs) = x;
	return 0;
}

static int collect_xattrs(int live, RegfileDeleted *d, struct error *refusal)
{
	static const size_t room = 65536; /* XATTR_LIST_MAX */
	_cleanup_(free_p) char *names = xmalloc(room);
	char link[40];
	int r = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", live);
	ssize_t size = listxattr(link, names, room);

	if (size < 0 && errno != EOPNOTSUPP)
		return error_refuse(refusal, CODE_regfile_attributes,
		                    "its extended attributes cannot be listed: %s",
		                    strerror(errno));
	for (char *name = names; r == 0 && size > 0 && name < names + size;
	     name += strlen(name) + 1)
		r = add_xattr(link, name, d, refusal);
	return r;
}

static int collect_attributes(int fd, RegfileDeleted *d, struct error *refusal)
{
	unsigned attributes = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &attributes) < 0)
		return 0; /* a file system without them */
	if (attributes & ~(REGFILE_ATTRIBUTES | DERIVED_ATTRIBUTES))
		return error_refuse(refusal, CODE_regfile_attributes,
		                    "attributes %x, which a new file cannot be given", attributes);
	d->attributes = attributes & REGFILE_ATTRIBUTES;
	return 0;
}

/* "#4711" of inode 4711: the name that open(O_TMPFILE) gives, d_mark_tmpfile() in fs/dcache.c */
bool regfile_is_unnamed(const RegfileState *s)
{
	_cleanup_(free_p) char *path = regfile_path(s);
	_cleanup_(free_p) char *name = xasprintf("#%llu", (unsigned long long)s->inode);

	return S_ISREG(s->mode) && !strcmp(strrchr(path, '/') + 1, name);
}

/* reading must not change its time of access; O_NOATIME is for its owner and CAP_FOWNER */
static int open_source(const char *source, int flags)
{
	int fd = open(source, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC | flags);

	if (fd < 0 && errno == EPERM)
		fd = open(source, O_RDONLY | O_NONBLOCK | O_CLOEXEC | flags);
	return fd;
}

/* reading a symlink sets its time of access, which only a mount of our own prevents */
static ssize_t read_symlink(int live, char *target, size_t size)
{
	const unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	struct mount_attr quiet = { .attr_set = MOUNT_ATTR_NOATIME, .attr_clr = MOUNT_ATTR__ATIME };
	_cleanup_(close_p) int clone = open_tree(live, "", flags);

	if (clone >= 0)
		mount_setattr(clone, "", AT_EMPTY_PATH, &quiet, sizeof(quiet));
	return readlinkat(clone >= 0 ? clone : live, "", target, size);
}

static int collect_node(int live, const struct stat *st, RegfileDeleted *d, struct error *refusal)
{
	char target[PATH_MAX];

	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		d->device = st->st_rdev;
	if (!S_ISLNK(st->st_mode))
		return 0;
	ssize_t size = read_symlink(live, target, sizeof(target));
	if (size <= 0 || (size_t)size == sizeof(target))
		return error_refuse(refusal, CODE_regfile_deleted,
		                    "it was deleted, and where it leads cannot be read");
	d->target.data = xmemdup(target, (size_t)size);
	d->target.len = (size_t)size;
	return 0;
}

/* files and directories have attributes that only an open file tells */
static int collect_opened(const char *source, bool directory, RegfileDeleted *d,
                          struct error *refusal)
{
	_cleanup_(close_p) int fd = open_source(source, directory ? O_DIRECTORY : 0);

	if (fd < 0)
		return error_refuse(refusal, CODE_regfile_deleted,
		                    "it was deleted, and cannot be opened to save its contents: %s",
		                    strerror(errno));
	return collect_attributes(fd, d, refusal);
}

int regfile_collect_deleted(int live, const char *source, RegfileState *s, struct error *err)
{
	struct stat st;
	RegfileDeleted *d = xmalloc(sizeof(*d));

	regfile_deleted__init(d);
	s->deleted = d;
	if (fstat(live, &st) < 0)
		return error_raise(err, errno, "fstat of a deleted file");
	d->uid = st.st_uid;
	d->gid = st.st_gid;
	d->atime_seconds = st.st_atim.tv_sec;
	d->atime_nanoseconds = (uint32_t)st.st_atim.tv_nsec;
	int r = collect_xattrs(live, d, err);
	if (r < 0)
		return r;
	if (S_ISREG(s->mode) || S_ISDIR(s->mode))
		return collect_opened(source, S_ISDIR(s->mode), d, err);
	return collect_node(live, &st, d, err);
}

uint64_t regfile_bulk_bytes(struct object *object)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct stat st;

	if (!s->deleted || s->ghost || !S_ISREG(s->mode))
		return 0;
	if (!regfile_live(object)->source)
		return shmem_seen_bytes(&regfile_live(object)->seen);
	return stat(regfile_live(object)->source, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

int regfile_save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);

	if (!s->deleted || s->ghost || !S_ISREG(s->mode))
		return 0;
	if (!f->source) {
		int r = shmem_seen_save(c, object, &f->seen, err);
		return r < 0 ? error_trace(err, r) : 0;
	}
	_cleanup_(close_p) int fd = open_source(f->source, 0);
	if (fd < 0)
		return error_raise(err, errno, "open the deleted file %s", f->source);
	int r = bulk_save_file(c, object, fd, s->size, "a deleted file", err);
	return r < 0 ? error_trace(err, r) : 0;
}
