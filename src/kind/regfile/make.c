/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: what was deleted is made again, with the link text and fstat(2) that it had: see
 * names.h. If its name is taken by now it stays nameless.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/bulk.h"
#include "kind/mount.h"
#include "kind/place.h"
#include "kind/regfile/regfile.h"
#include "kind/user_ns.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"

/* one deleted name at work */
struct making {
	const RegfileState *s;
	struct regfile *f;
	struct old_name name;
	struct old_name birth; /* what O_TMPFILE called it, if that is another record's */
};

static char *self_link(int fd, char room[40])
{
	snprintf(room, 40, "/proc/self/fd/%d", fd);
	return room;
}

/* the file, empty: f->contents, and f->keep or f->made */
static int make_file(struct making *m, struct error *err)
{
	const RegfileDeleted *d = m->s->deleted;
	struct regfile *f = m->f;
	struct old_name *birth = m->birth.path ? &m->birth : &m->name;
	uint32_t flags = d->flags ? d->flags : O_RDWR | O_TMPFILE;
	_cleanup_(close_p) int fd = openat(birth->folder.fd, ".", (int)flags | O_CLOEXEC, 0600);
	int e = 0;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR) && !d->unnamed)
		e = old_name_make(&m->name, S_IFREG, 0, NULL, &fd, err);
	else if (fd < 0)
		e = error_raise(err, errno, "make a file in the directory of %s", birth->path);
	else if (d->more_names)
		e = old_name_keep(birth, fd, err);
	if (e == 0 && !regfile_is_unnamed(m->s))
		e = old_name_borrow(&m->name, fd, &f->keep, err);
	if (e < 0)
		return error_trace(err, e);
	if (f->keep < 0)
		f->keep = handle_reopen(fd, O_PATH, -1);
	f->contents = handle_reopen(fd, O_RDWR, -1);
	if (f->keep < 0 || f->contents < 0)
		return error_raise(err, errno, "open the new file for %s", m->name.path);
	/* open for writing only if the program's was: it may be an executable */
	if (d->unnamed)
		f->made = d->flags ? take_fd(&fd) : handle_reopen(fd, O_PATH, -1);
	return 0;
}

/* what is only referred to, by O_PATH: symlinks, device nodes, sockets' names */
static int make_node(struct making *m, struct error *err)
{
	const RegfileDeleted *d = m->s->deleted;
	_cleanup_(free_p) char *target = xstrndup((const char *)d->target.data, d->target.len);
	_cleanup_(close_p) int fd = -1;
	int e = old_name_make(&m->name, m->s->mode, d->device, target, &fd, err);

	if (e == 0)
		e = old_name_borrow(&m->name, fd, &m->f->keep, err);
	if (m->f->keep < 0)
		m->f->keep = take_fd(&fd);
	return e < 0 ? error_trace(err, e) : 0;
}

static int make_directory(struct making *m, struct error *err)
{
	const int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int folder = m->name.folder.fd;
	int e = old_name_note(&m->name, JOURNAL_RMDIR, NULL, err);

	if (e < 0)
		return error_trace(err, e);
	if (mkdirat(folder, m->name.name, 0700) < 0) {
		e = error_raise(err, errno, "make the deleted directory %s", m->name.path);
		error_hint(err, "what has its name now is in the way");
		return e;
	}
	m->f->contents = openat(folder, m->name.name, O_RDONLY | flags);
	int saved = errno;
	e = old_name_open_all(&m->name, &m->f->keep, err);
	if (unlinkat(folder, m->name.name, AT_REMOVEDIR) < 0)
		return error_raise(err, errno, "remove %s", m->name.path);
	if (m->f->contents < 0)
		return error_raise(err, saved, "open %s", m->name.path);
	return e < 0 ? error_trace(err, e) : 0;
}

static int set_attributes(int fd, uint32_t wanted, struct error *err)
{
	unsigned now = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0)
		return wanted ? error_raise(err, errno, "FS_IOC_GETFLAGS") : 0;
	if ((now & REGFILE_ATTRIBUTES) == wanted)
		return 0;
	now = (now & ~REGFILE_ATTRIBUTES) | wanted;
	if (ioctl(fd, FS_IOC_SETFLAGS, &now) < 0)
		return error_raise(err, errno, "set the attributes %x", now);
	return 0;
}

static int set_xattr(const char *link, const RegfileXattr *x, struct error *err)
{
	_cleanup_(free_p) char *name = xstrndup((const char *)x->name.data, x->name.len);

	if (setxattr(link, name, x->value.data, x->value.len, 0) < 0)
		return error_raise(err, errno, "set the extended attribute %s", name);
	return 0;
}

/*
 * Owner first: it takes set-id bits and capabilities away. The link in /proc leads to what f->keep
 * is, a symlink too.
 */
static int describe(const RegfileState *s, const struct regfile *f, struct error *err)
{
	const RegfileDeleted *d = s->deleted;
	char link[40];
	int e = 0;

	self_link(f->keep, link);
	if (S_ISREG(s->mode) && ftruncate(f->contents, (off_t)s->size) < 0)
		return error_raise(err, errno, "ftruncate to %llu", (unsigned long long)s->size);
	if (fchownat(f->keep, "", d->uid, d->gid, AT_EMPTY_PATH) < 0)
		return error_raise(err, errno, "fchown to %u:%u", d->uid, d->gid);
	if (!S_ISLNK(s->mode) && chmod(link, s->mode & 07777) < 0)
		return error_raise(err, errno, "chmod to %o", s->mode & 07777);
	for (size_t i = 0; e == 0 && i < d->n_xattrs; i++)
		e = set_xattr(link, d->xattrs[i], err);
	if (e == 0 && f->contents >= 0)
		e = set_attributes(f->contents, d->attributes & ~REGFILE_LOCKED, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* there is no place for it yet; the stream goes on all the same */
static int take_ahead(struct restart *r, struct object *object, struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);

	if (!s->deleted || !S_ISREG(s->mode) || f->ahead >= 0)
		return RESTORE_LATER;
	f->contents = memfd_create("stasis-deleted", MFD_CLOEXEC);
	if (f->contents < 0 || ftruncate(f->contents, (off_t)s->size) < 0)
		return error_raise(err, errno, "make room for a deleted file");
	int e = restart_take_blocks(r, object, err);
	f->ahead = take_fd(&f->contents);
	return e < 0 ? error_trace(err, e) : RESTORE_LATER;
}

static int copy_ahead(const struct regfile *f, struct error *err)
{
	off_t at = 0, end;

	while ((at = lseek(f->ahead, at, SEEK_DATA)) >= 0) {
		end = lseek(f->ahead, at, SEEK_HOLE);
		if (end < 0 || lseek(f->contents, at, SEEK_SET) < 0)
			return error_raise(err, errno, "find the contents of a deleted file");
		while (at < end)
			if (sendfile(f->contents, f->ahead, &at, (size_t)(end - at)) <= 0)
				return error_raise(err, errno, "write a deleted file");
	}
	return errno == ENXIO ? 0 : error_raise(err, errno, "read a deleted file");
}

/*
 * The contents come at once, they are the first page blocks of the stream: a deleted executable
 * must not be open for writing when it becomes the exe link (exe_file_deny_write_access).
 */
static int make_deleted(struct restart *r, struct object *object, struct making *m,
                        struct error *err)
{
	int e;

	if (S_ISDIR(m->s->mode))
		e = make_directory(m, err);
	else if (S_ISREG(m->s->mode))
		e = make_file(m, err);
	else
		e = make_node(m, err);
	if (e == 0 && S_ISREG(m->s->mode))
		e = m->f->ahead < 0 ? restart_take_blocks(r, object, err) : copy_ahead(m->f, err);
	if (e == 0)
		e = describe(m->s, m->f, err);
	close_p(&m->f->contents);
	close_p(&m->f->ahead);
	if (e < 0)
		return error_trace(err, e);
	m->f->n_more = m->s->deleted->more_names;
	if (m->f->n_more) {
		struct old_name *birth = m->birth.path ? &m->birth : &m->name;
		m->f->name = *birth;
		*birth = (struct old_name){ .folder = FOLDER_INIT, .opened = birth->opened };
	}
	return 0;
}

/* the deleted name of what has others, so that the link text is the same again */
static int hide_name(struct making *m, struct error *err)
{
	int named = -1;
	int e = old_name_borrow(&m->name, m->f->keep, &named, err);

	if (e == 0 && named >= 0) {
		close_p(&m->f->keep);
		m->f->keep = take_fd(&named);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

/* another name of what has been made, which has a temporary one until it has had them all */
static int make_same(struct making *m, struct regfile *owner, struct error *err)
{
	bool unnamed = regfile_is_unnamed(m->s);
	int from = unnamed ? owner->made : owner->keep;

	m->f->keep = from < 0 ? -1 : handle_reopen(from, O_PATH, -1);
	if (m->f->keep < 0 || !owner->n_more)
		return error_raise(err, EBADMSG, "another name of what is not there");
	if (unnamed)
		m->f->made = take_fd(&owner->made);
	int e = unnamed ? 0 : hide_name(m, err);
	if (--owner->n_more == 0)
		old_name_close(&owner->name);
	return e < 0 ? error_trace(err, e) : 0;
}

/* the directory of the record that O_TMPFILE named it in */
static int open_birth(struct restart *r, const struct object *object, struct making *m,
                      struct error *err)
{
	uint32_t id = m->s->deleted->unnamed;

	if (!id || id == object->id)
		return 0;
	const RegfileState *s = object_state(objects_by_id(r->objects, id), RegfileState);
	_cleanup_(free_p) char *path = regfile_path(s);
	int e = old_name_open(r, s->mount, path, &m->birth, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* it came with its file system */
static int open_ghost(struct restart *r, struct making *m, const char *path, struct error *err)
{
	m->f->keep = mount_ghost_open(r, objects_by_id(r->objects, m->s->mount), m->s->ghost, path,
	                              m->name.folder.fd);
	return m->f->keep < 0 ? error_raise(err, errno, "open the deleted %s", path) : 0;
}

/* it, or the other record that it goes with, is on a mount that is not there yet */
static bool has_to_wait(struct restart *r, const struct object *object)
{
	const RegfileState *s = object_state(object, RegfileState);
	const struct object *others[] = { object, s->same ? regfile_same(r->objects, object) : NULL,
		                          s->deleted && s->deleted->unnamed
		                                  ? objects_by_id(r->objects, s->deleted->unnamed)
		                                  : NULL };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i] &&
		    place_base(r, object_state(others[i], RegfileState)->mount) == PLACE_NOT_YET)
			return true;
	return false;
}

int regfile_make(struct restart *r, struct object *object, struct error *err)
{
	struct making m = { .s = object_state(object, RegfileState),
		            .f = regfile_live(object),
		            .name = OLD_NAME_INIT,
		            .birth = OLD_NAME_INIT };
	int e = 0;

	m.f->base = place_base(r, m.s->mount);
	if (has_to_wait(r, object))
		return take_ahead(r, object, err);
	if (m.s->mount)
		e = regfile_look(r, object, err);
	if (e < 0 || m.s->name == REGFILE_STATE__NAME__HERE)
		return e < 0 ? error_trace(err, e) : 0;
	_cleanup_(free_p) char *path = regfile_path(m.s);
	m.name.nofollow = m.s->nofollow;
	m.name.n_nofollow = m.s->n_nofollow;
	_cleanup_(user_ns_author_end) struct user_ns_author author = { 0 };
	e = user_ns_author_begin(r, place_owner(r, m.s->mount), &author, err);
	if (e == 0)
		e = old_name_open(r, m.s->mount, path, &m.name, err);
	if (e == 0 && m.s->ghost)
		e = open_ghost(r, &m, path, err);
	else if (e == 0 && m.s->name == REGFILE_STATE__NAME__LINKED)
		e = hide_name(&m, err);
	else if (e == 0 && m.s->same)
		e = make_same(&m, regfile_live(regfile_same(r->objects, object)), err);
	else if (e == 0 && (e = open_birth(r, object, &m, err)) == 0)
		e = make_deleted(r, object, &m, err);
	m.f->opened = m.name.opened;
	old_name_close(&m.name);
	old_name_close(&m.birth);
	if (e < 0)
		error_object(err, "%s", path);
	return e < 0 ? error_trace(err, e) : 0;
}

/* all else changes its times, mappings too; and its attributes may forbid to set these */
int regfile_finish(struct restart *r, struct object *object, struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	const RegfileDeleted *d = s->deleted;
	int keep = regfile_live(object)->keep;
	char link[40];

	if (!d)
		return 0;
	struct timespec times[] = { { d->atime_seconds, d->atime_nanoseconds },
		                    { s->mtime_seconds, s->mtime_nanoseconds } };
	if (utimensat(AT_FDCWD, self_link(keep, link), times, 0) < 0)
		return error_raise(err, errno, "set the times of a deleted file");
	if (!(d->attributes & REGFILE_LOCKED))
		return 0;
	_cleanup_(close_p) int fd = handle_reopen(keep, O_RDONLY | O_NONBLOCK | O_NOATIME, -1);
	if (fd < 0)
		return error_raise(err, errno, "open a deleted file for its attributes");
	int e = set_attributes(fd, d->attributes, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int regfile_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                         struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);

	if (f->contents < 0 || !S_ISREG(s->mode))
		return error_raise(err, EBADMSG, "pages of a file that takes none");
	int e = bulk_restore(block, s->size, "a deleted file", bulk_put_file, &f->contents, err);
	return e < 0 ? error_trace(err, e) : 0;
}
