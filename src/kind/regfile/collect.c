/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: which file stands behind a descriptor, mapping or link, and under what name it can be
 * found again. The text of the /proc link is only believed when it leads to the same inode on the
 * same mount.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mount.h"
#include "kind/place.h"
#include "kind/regfile.h"
#include "kind/regfile/folder.h"
#include "kind/regfile/regfile.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"
#include "util/path.h"
#include "util/still.h"

/*
 * File systems on which a file is nothing but what open(2), read(2) and stat(2) show, tried or
 * known from the VFS. The others (FUSE, network file systems...) attach state to open files, or may
 * not show the same file again; for proc, sysfs and cgroups see kind pseudo.
 */
static const struct {
	uint32_t magic;
	const char *name;
} filesystems[] = {
	{ EXT4_SUPER_MAGIC, "ext4" },
	{ TMPFS_MAGIC, "tmpfs" },
	{ RAMFS_MAGIC, "ramfs" },
	{ 0x58465342, "xfs" }, /* fs/xfs */
	{ BTRFS_SUPER_MAGIC, "btrfs" },
	{ F2FS_SUPER_MAGIC, "f2fs" },
	{ 0xca451a4e, "bcachefs" }, /* fs/bcachefs */
	{ OVERLAYFS_SUPER_MAGIC, "overlay" },
	{ SQUASHFS_MAGIC, "squashfs" },
	{ EROFS_SUPER_MAGIC_V1, "erofs" },
	{ ISOFS_SUPER_MAGIC, "iso9660" },
	{ MSDOS_SUPER_MAGIC, "vfat" },
	{ EXFAT_SUPER_MAGIC, "exfat" },
};

/* files without a path: of memfd_create(2), memfd_secret(2), shmget(2), io_setup(2)... */
static const char *const pathless[] = {
	"/memfd:", "/secretmem", "/SYSV", "/[aio]", "/anon_hugepage", "/dev/zero (deleted)",
};

bool regfile_claims(const struct descriptor *d)
{
	if (d->link[0] != '/')
		return false;
	/* a deleted FIFO is made again, once, by kind fifo: for those who have it open, too */
	if (S_ISFIFO(d->st.st_mode) && d->st.st_nlink == 0)
		return false;
	if (!S_ISREG(d->st.st_mode))
		return S_ISDIR(d->st.st_mode) || (d->fd >= 0 && d->flags & O_PATH);
	for (size_t i = 0; i < sizeof(pathless) / sizeof(pathless[0]); i++)
		if (!strncmp(d->link, pathless[i], strlen(pathless[i])) &&
		    path_ends_deleted(d->link) && d->st.st_nlink == 0)
			return false;
	return true;
}

/* one look at a descriptor */
struct look {
	struct checkpoint *c;
	const struct descriptor *d;
	struct statx st;               /* of what is open */
	struct place place;            /* the link says so */
	enum _RegfileState__Name name; /* how it will be found again */
};

static int refuse_it(struct look *l, struct error *refusal)
{
	const char *text = l->place.path ? l->place.path : l->d->link;

	if (l->d->fd >= 0)
		error_object(refusal, "%s", text);
	else
		error_object(refusal, "%s %s", l->d->what, text);
	error_fd(refusal, l->d->fd);
	refuse(l->c, l->d->task, refusal);
	return 0;
}

static int look_at(int fd, struct statx *ret)
{
	unsigned mask = STATX_BASIC_STATS | STATX_MNT_ID;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, ret) < 0)
		return -errno;
	return ret->stx_mask & STATX_MNT_ID ? 0 : -EOPNOTSUPP;
}

/* on a mount of the set's we look through a clone of that, which has another id */
static bool same_mount(const struct look *l, const struct statx *there)
{
	return (l->place.mount || l->st.stx_mnt_id == there->stx_mnt_id) &&
	       l->st.stx_dev_major == there->stx_dev_major &&
	       l->st.stx_dev_minor == there->stx_dev_minor;
}

/* 1: the path leads to what is open; 0: to something else; -errno */
static int leads_there(const struct look *l)
{
	struct statx there;
	_cleanup_(close_p) int fd = place_open(l->place.base, l->place.path, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	int r = look_at(fd, &there);
	if (r < 0)
		return r;
	return same_mount(l, &there) && l->st.stx_ino == there.stx_ino;
}

/*
 * The folder that a deleted name was in, or what is left above it, must be on the same mount: it
 * is made there again.
 */
static int check_folder(struct look *l, struct error *refusal)
{
	struct statx there;
	_cleanup_(close_p) int fd = folder_nearest(l->place.base, l->place.path);

	if (fd < 0)
		return error_refuse(refusal, CODE_regfile_path,
		                    "it was deleted, and the directory it was in is not to be "
		                    "found under its path: %s",
		                    strerror(errno));
	if (look_at(fd, &there) < 0 || !same_mount(l, &there))
		return error_refuse(refusal, CODE_regfile_path,
		                    "it was deleted, and the directory it was in is not to be "
		                    "found under its path");
	return 0;
}

static int find_deleted(struct look *l, struct error *refusal)
{
	bool directory = S_ISDIR(l->st.stx_mode);

	if (!l->place.mount) /* mount_of() has done it */
		l->place.path[strlen(l->place.path) - strlen(PATH_DELETED)] = 0;
	l->name = !directory && l->st.stx_nlink > 0 ? REGFILE_STATE__NAME__LINKED
	                                            : REGFILE_STATE__NAME__DELETED;
	return check_folder(l, refusal);
}

static int refuse_path(const struct look *l, int r, struct error *refusal)
{
	if (r < 0)
		error_refuse(refusal, CODE_regfile_path, "it is not to be found under its path: %s",
		             strerror(-r));
	else
		error_refuse(refusal, CODE_regfile_path,
		             "its path leads to another file: something is mounted over it, or it "
		             "is of another mount namespace");
	if (l->place.mount && r == -EXDEV) /* nothing else is in the way on a mount of the set */
		error_hint(refusal, "let the program close or leave it first: what is mounted over "
		                    "it is locked, or shared");
	else
		error_hint(refusal, "checkpoint from the mount namespace of the task, or let the "
		                    "program close it first");
	return -EOPNOTSUPP;
}

/* how it can be found again: l->name and l->path; -EOPNOTSUPP with a refusal */
static int find_name(struct look *l, struct error *refusal)
{
	int r = leads_there(l);

	if (r > 0) {
		l->name = REGFILE_STATE__NAME__HERE;
		return 0;
	}
	return l->place.deleted ? find_deleted(l, refusal) : refuse_path(l, r, refusal);
}

bool regfile_is_supported(uint32_t magic)
{
	for (size_t i = 0; i < sizeof(filesystems) / sizeof(filesystems[0]); i++)
		if (magic == filesystems[i].magic)
			return true;
	return false;
}

static int check_filesystem(const struct look *l, struct error *refusal)
{
	if (regfile_is_supported(l->d->magic))
		return 0;
	return error_refuse(refusal, CODE_regfile_filesystem,
	                    "files of its file system (type %x) are not supported", l->d->magic);
}

/* the link under /proc that opens the same file anew */
static char *source_of(const struct descriptor *d)
{
	if (d->fd >= 0)
		return xasprintf("/proc/%d/task/%d/fd/%d", d->task->tgid, d->task->tid, d->fd);
	if (d->source)
		return xstrdup(d->source);
	return xasprintf("/proc/%d/task/%d/%s", d->task->tgid, d->task->tid, d->what);
}

/* the handle by which it can be opened whatever its name; not all file systems have one */
static void collect_handle(int fd, RegfileState *s)
{
	struct handle_room handle = HANDLE_ROOM_INIT;
	int mount_id;

	if (name_to_handle_at(fd, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0)
		return;
	s->handle_type = handle.head.handle_type;
	s->handle = bytes_copy(handle.head.f_handle, handle.head.handle_bytes);
}

static RegfileState *describe(const struct look *l)
{
	RegfileState *s = xmalloc(sizeof(*s));

	regfile_state__init(s);
	s->path = bytes_of_text(l->place.path);
	s->mount = l->place.mount ? l->place.mount->id : 0;
	s->name = l->name;
	s->mode = l->st.stx_mode;
	s->device = makedev(l->st.stx_dev_major, l->st.stx_dev_minor);
	s->inode = l->st.stx_ino;
	if (S_ISREG(l->st.stx_mode))
		s->size = l->st.stx_size;
	s->mtime_seconds = l->st.stx_mtime.tv_sec;
	s->mtime_nanoseconds = l->st.stx_mtime.tv_nsec;
	if (l->name == REGFILE_STATE__NAME__LINKED ||
	    (l->name == REGFILE_STATE__NAME__HERE &&
	     (S_ISREG(l->st.stx_mode) || S_ISDIR(l->st.stx_mode))))
		collect_handle(l->d->live, s);
	return s;
}

/* what is only in the image: attributes now, contents in save_bulk */
static int collect_deleted(struct look *l, struct object *object, struct error *refusal)
{
	RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);

	f->source = source_of(l->d);
	if (S_ISREG(s->mode) && fcntl(l->d->live, F_GETLEASE) == F_WRLCK)
		return error_refuse(refusal, CODE_regfile_deleted,
		                    "it was deleted and has a write lease, which reading breaks");
	if (S_ISSOCK(s->mode) && still_is_bound(l->d->live))
		return error_refuse(refusal, CODE_regfile_deleted,
		                    "it was deleted, and a socket is bound to it");
	int r = regfile_collect_deleted(l->d->live, f->source, s, refusal);
	s->deleted->unnamed = regfile_is_unnamed(s) ? object->id : 0;
	return r;
}

/*
 * O_TMPFILE stays in the flags of the one description that it made. Called once for each
 * description, and for mappings, whose flags are O_PATH. @deleted: of the record with the contents.
 */
static void note_flags(const struct descriptor *d, RegfileState *s, RegfileDeleted *deleted)
{
	uint32_t unnamed = O_TMPFILE & ~(uint32_t)O_DIRECTORY;

	if (s->name == REGFILE_STATE__NAME__HERE || d->fd < 0)
		return;
	if (d->flags & unnamed) {
		if (deleted && regfile_is_unnamed(s))
			deleted->flags = d->flags & ~(uint32_t)O_CLOEXEC;
	} else if (d->flags & O_NOFOLLOW) {
		*array_push(s->nofollow, s->n_nofollow) = d->flags & ~(uint32_t)O_CLOEXEC;
	}
}

struct key {
	uint64_t device, inode, mount, name;
	char path[];
};

/* by name and, if that is not NULL, by path */
static struct object *get_object(const struct look *l, const char *path, bool *ret_new)
{
	size_t size = path ? strlen(path) : 0;
	_cleanup_(free_p) struct key *key = xcalloc(1, sizeof(*key) + size);

	key->device = makedev(l->st.stx_dev_major, l->st.stx_dev_minor);
	key->inode = l->st.stx_ino;
	key->mount = path ? l->st.stx_mnt_id : 0;
	key->name = l->name;
	if (path)
		memcpy(key->path, path, size);
	return objects_get(l->c->objects, &regfile_kind, key, sizeof(*key) + size, ret_new);
}

static bool has_name(const struct look *l, const RegfileState *s)
{
	return s->mount == (l->place.mount ? l->place.mount->id : 0) &&
	       s->path.len == strlen(l->place.path) &&
	       !memcmp(s->path.data, l->place.path, s->path.len);
}

/* another name of @owner, which all are deleted: it has the contents, this one the name only */
static int collect_same(struct look *l, struct object *owner, struct object **ret,
                        struct error *refusal)
{
	RegfileState *o = object_state(owner, RegfileState);
	bool is_new;

	*ret = get_object(l, l->place.path, &is_new);
	RegfileState *s = is_new ? describe(l) : object_state(*ret, RegfileState);
	note_flags(l->d, s, o->deleted);
	if (!is_new)
		return 0;
	(*ret)->message = &s->base;
	s->same = owner->id;
	if (!o->deleted)
		return 0; /* refused */
	o->deleted->more_names++;
	if (!regfile_is_unnamed(s))
		return 0;
	if (o->deleted->unnamed)
		return error_refuse(refusal, CODE_regfile_deleted,
		                    "it was made by O_TMPFILE, and is open on two mounts");
	o->deleted->unnamed = (*ret)->id;
	return 0;
}

/* one object per name; of what was deleted, the first has all that there is to save */
static int collect_look(struct look *l, struct object **ret, struct error *refusal)
{
	bool is_new = false;
	int r = check_filesystem(l, refusal);

	if (r == 0)
		r = find_name(l, refusal);
	if (r < 0)
		return r;
	bool deleted = l->name == REGFILE_STATE__NAME__DELETED;
	struct object *object = get_object(l, deleted ? NULL : l->place.path, &is_new);
	*ret = object;
	if (is_new) {
		RegfileState *s = describe(l);
		object->message = &s->base;
		if (l->name == REGFILE_STATE__NAME__LINKED && regfile_is_empty(&s->handle))
			r = error_refuse(refusal, CODE_regfile_linked,
			                 "it was deleted under this name, but has others, and its "
			                 "file system gives no handle to find it by");
		if (deleted)
			r = collect_deleted(l, object, refusal);
	}
	RegfileState *s = object_state(object, RegfileState);
	if (r == 0 && deleted && !has_name(l, s))
		return collect_same(l, object, ret, refusal);
	note_flags(l->d, s, s->deleted);
	return r;
}

void regfile_note_writer(struct object *object, const struct task *task, int fd, uint32_t flags,
                         const char *what)
{
	struct regfile *f = regfile_live(object);
	const RegfileState *s = object_state(object, RegfileState);
	struct statx st;

	/* what was deleted gets its attributes last, when it is made again */
	if (f->written || !S_ISREG(s->mode) || s->name == REGFILE_STATE__NAME__DELETED ||
	    flags & O_PATH || (flags & O_ACCMODE) == O_RDONLY || look_at(fd, &st) < 0)
		return;
	if (!(st.stx_attributes & STATX_ATTR_IMMUTABLE) &&
	    (!(st.stx_attributes & STATX_ATTR_APPEND) || flags & O_APPEND))
		return;
	f->writer = task;
	f->written = xstrdup(what);
}

/* in a file system that is made anew attributes are set last, too */
static int judge_writer(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct regfile *f = regfile_live(object);
	const RegfileState *s = object_state(object, RegfileState);
	_cleanup_(free_p) char *path = regfile_path(s);
	struct error refusal;
	bool anew = false;
	int r = 0;

	if (f->written && s->mount)
		r = mount_comes_along(c, objects_by_id(c->objects, s->mount), &anew, err);
	if (r < 0 || !f->written || anew)
		return r < 0 ? error_trace(err, r) : 0;
	error_refuse(&refusal, CODE_regfile_immutable,
	             "it was opened for writing (%s) before it became immutable or append-only",
	             f->written);
	error_object(&refusal, "%s", path);
	refuse(c, f->writer, &refusal);
	return 0;
}

int regfile_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	RegfileState *s = object_state(object, RegfileState);
	int r = 0;

	if (regfile_live(object)->seen.n_views)
		r = regfile_judge_seen(c, object, err);
	if (r == 0)
		r = judge_writer(c, object, err);
	if (r < 0)
		return error_trace(err, r);
	if (!s->mount || s->name == REGFILE_STATE__NAME__HERE)
		return 0;
	r = mount_ghost(c, objects_by_id(c->objects, s->mount), s->inode,
	                s->name == REGFILE_STATE__NAME__LINKED, &s->ghost, err);
	if (r == 0 && s->ghost && ((s->deleted && s->deleted->flags) || s->n_nofollow))
		r = error_refuse(err, CODE_regfile_deleted,
		                 "it was opened by O_TMPFILE or O_NOFOLLOW, and is mounted or has "
		                 "other names in a file system that is made anew");
	return r < 0 ? error_trace(err, r) : 0;
}

int regfile_collect_descriptor(struct checkpoint *c, const struct descriptor *d,
                               struct object **ret, struct error *err)
{
	struct error refusal = ERROR_INIT;
	struct look l = { .c = c, .d = d };

	*ret = NULL;
	int r = look_at(d->live, &l.st);
	if (r < 0)
		return error_raise(err, -r, "statx of %s", d->link);
	r = place_find(c, d->task, d->live, &l.place, &refusal);
	if (r == 0)
		r = collect_look(&l, ret, &refusal);
	if (r == 0 && d->fd >= 0)
		regfile_note_writer(*ret, d->task, d->live, d->flags, d->what);
	if (r < 0)
		*ret = NULL;
	if (r == -EOPNOTSUPP && refusal.code != CODE_NONE)
		r = refuse_it(&l, &refusal);
	place_done(&l.place);
	if (r < 0)
		*err = refusal;
	return r < 0 ? error_trace(err, r) : 0;
}
