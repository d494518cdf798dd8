/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: deleted files and directories are made again, with the link text and fstat(2) that they
 * had. A file has its old name for the moment between link and unlink only, while it is still empty
 * and root's; the journal knows of it. If the name is taken by now it stays nameless.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/journal.h"
#include "core/restart.h"
#include "kind/place.h"
#include "kind/regfile/folder.h"
#include "kind/regfile/regfile.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE 4096ull

/* one deleted name at work */
struct making {
	const RegfileState *s;
	struct regfile *f;
	struct journal *journal;
	char *path;       /* owned */
	const char *name; /* the last component of path */
	int folder;       /* open */
};

static int same_inode(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static char *self_link(int fd, char room[40])
{
	snprintf(room, 40, "/proc/self/fd/%d", fd);
	return room;
}

/*
 * Gives @fd its deleted name for a moment, so that the link text of what is opened through it ends
 * in " (deleted)". *ret_fd: O_PATH under that name, -1 when the name is taken.
 */
static int borrow_name(struct making *m, int fd, int *ret_fd, struct error *err)
{
	char link[40];
	struct stat st;

	*ret_fd = -1;
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of a deleted file");
	int e = m->f->base < 0 ? journal_note_inode(m->journal, m->path, st.st_dev, st.st_ino, err)
	                       : 0;
	if (e < 0)
		return error_trace(err, e);
	if (linkat(AT_FDCWD, self_link(fd, link), m->folder, m->name, AT_SYMLINK_FOLLOW) < 0) {
		if (errno == EEXIST)
			return 0;
		return error_raise(err, errno, "link a deleted file as %s", m->path);
	}
	*ret_fd = openat(m->folder, m->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int saved = errno;
	bool same = *ret_fd >= 0 && same_inode(*ret_fd, fd);
	if (unlinkat(m->folder, m->name, 0) < 0)
		return error_raise(err, errno, "unlink %s", m->path);
	if (!same)
		return error_raise(err, *ret_fd < 0 ? saved : EAGAIN, "open %s", m->path);
	return 0;
}

/* without O_TMPFILE: a name of ours, which is not seen for long either */
static int make_named(struct making *m, int *ret_fd, struct error *err)
{
	char name[64];
	char *slash = strrchr(m->path, '/');

	snprintf(name, sizeof(name), ".stasis-%d-%lx", (int)getpid(), (unsigned long)m->s->inode);
	_cleanup_(free_p) char *path = xasprintf("%.*s/%s", (int)(slash - m->path), m->path, name);
	int e = m->f->base < 0 ? journal_note(m->journal, JOURNAL_UNLINK, path, err) : 0;
	if (e < 0)
		return error_trace(err, e);
	*ret_fd = openat(m->folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*ret_fd < 0)
		return error_raise(err, errno, "make %s", path);
	int taken = -1;
	e = borrow_name(m, *ret_fd, &taken, err);
	m->f->keep = taken;
	if (unlinkat(m->folder, name, 0) < 0 && e == 0)
		e = error_raise(err, errno, "unlink %s", path);
	return e < 0 ? error_trace(err, e) : 0;
}

/* the file, empty: f->contents, and f->keep or f->made */
static int make_file(struct making *m, struct error *err)
{
	const RegfileDeleted *d = m->s->deleted;
	struct regfile *f = m->f;
	char link[40];
	uint32_t flags = d->flags ? d->flags : O_RDWR | O_TMPFILE;
	_cleanup_(close_p) int fd = openat(m->folder, ".", (int)flags | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR) && !d->flags) {
		int e = make_named(m, &fd, err);
		if (e < 0)
			return error_trace(err, e);
	} else if (fd < 0) {
		return error_raise(err, errno, "make a file in the directory of %s", m->path);
	} else if (!d->unnamed) {
		int e = borrow_name(m, fd, &f->keep, err);
		if (e < 0)
			return error_trace(err, e);
	}
	if (f->keep < 0)
		f->keep = open(self_link(fd, link), O_PATH | O_CLOEXEC);
	f->contents = open(self_link(fd, link), O_RDWR | O_CLOEXEC);
	if (f->keep < 0 || f->contents < 0)
		return error_raise(err, errno, "open the new file for %s", m->path);
	if (d->flags)
		f->made = take_fd(&fd);
	return 0;
}

static int make_directory(struct making *m, struct error *err)
{
	int e = m->f->base < 0 ? journal_note(m->journal, JOURNAL_RMDIR, m->path, err) : 0;

	if (e < 0)
		return error_trace(err, e);
	if (mkdirat(m->folder, m->name, 0700) < 0) {
		e = error_raise(err, errno, "make the deleted directory %s", m->path);
		error_hint(err, "what has its name now is in the way");
		return e;
	}
	m->f->contents = openat(m->folder, m->name,
	                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	m->f->keep = openat(m->folder, m->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int saved = errno;
	if (unlinkat(m->folder, m->name, AT_REMOVEDIR) < 0)
		return error_raise(err, errno, "remove %s", m->path);
	if (m->f->contents < 0 || m->f->keep < 0)
		return error_raise(err, saved, "open %s", m->path);
	return 0;
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

static int set_xattr(int fd, const RegfileXattr *x, struct error *err)
{
	_cleanup_(free_p) char *name = xstrndup((const char *)x->name.data, x->name.len);

	if (fsetxattr(fd, name, x->value.data, x->value.len, 0) < 0)
		return error_raise(err, errno, "set the extended attribute %s", name);
	return 0;
}

/* owner first: it takes set-id bits and capabilities away; times last: all else changes them */
static int describe(const RegfileState *s, int fd, struct error *err)
{
	const RegfileDeleted *d = s->deleted;
	struct timespec times[] = { { d->atime_seconds, d->atime_nanoseconds },
		                    { s->mtime_seconds, s->mtime_nanoseconds } };

	if (S_ISREG(s->mode) && ftruncate(fd, (off_t)s->size) < 0)
		return error_raise(err, errno, "ftruncate to %llu", (unsigned long long)s->size);
	if (fchown(fd, d->uid, d->gid) < 0)
		return error_raise(err, errno, "fchown to %u:%u", d->uid, d->gid);
	if (fchmod(fd, s->mode & 07777) < 0)
		return error_raise(err, errno, "fchmod to %o", s->mode & 07777);
	for (size_t i = 0; i < d->n_xattrs; i++) {
		int e = set_xattr(fd, d->xattrs[i], err);
		if (e < 0)
			return error_trace(err, e);
	}
	int e = set_attributes(fd, d->attributes, err);
	if (e < 0)
		return error_trace(err, e);
	if (futimens(fd, times) < 0)
		return error_raise(err, errno, "set its times");
	return 0;
}

/*
 * The contents come at once, they are the first page blocks of the stream: a deleted executable
 * must not be open for writing when it becomes the exe link (exe_file_deny_write_access).
 */
static int make_deleted(struct restart *r, struct object *object, struct making *m,
                        struct error *err)
{
	bool directory = S_ISDIR(m->s->mode);
	int e = directory ? make_directory(m, err) : make_file(m, err);

	if (e == 0 && !directory)
		e = restart_take_blocks(r, object, err);
	if (e == 0)
		e = describe(m->s, m->f->contents, err);
	close_p(&m->f->contents);
	return e < 0 ? error_trace(err, e) : 0;
}

/* the deleted name of a file that has others, so that the link text is the same again */
static int hide_name(struct making *m, struct error *err)
{
	int named = -1;
	int e = borrow_name(m, m->f->keep, &named, err);

	if (e < 0) {
		close_p(&named);
		return error_trace(err, e);
	}
	if (named >= 0) {
		close_p(&m->f->keep);
		m->f->keep = named;
	}
	return 0;
}

int regfile_make(struct restart *r, struct object *object, struct error *err)
{
	struct making m = { .s = object_state(object, RegfileState), .f = regfile_live(object) };

	m.f->base = place_base(r, m.s->mount);
	if (m.s->mount) {
		int found = regfile_look(r, object, err);
		if (found < 0)
			return error_trace(err, found);
	}
	if (m.s->name == REGFILE_STATE__NAME__HERE)
		return 0;
	m.path = regfile_path(m.s);
	m.name = strrchr(m.path, '/') + 1;
	m.journal = journal_new();
	struct folder folder = FOLDER_INIT;
	int e = folder_open(m.journal, m.f->base, m.path, &folder, err);
	m.folder = folder.fd;
	if (e == 0 && m.s->name == REGFILE_STATE__NAME__LINKED)
		e = hide_name(&m, err);
	else if (e == 0)
		e = make_deleted(r, object, &m, err);
	folder_done(&folder);
	journal_free(m.journal);
	if (e < 0)
		error_object(err, "%s", m.path);
	free(m.path);
	return e < 0 ? error_trace(err, e) : 0;
}

static int write_all(int fd, const char *data, size_t size, uint64_t offset, struct error *err)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, data + done, size - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_raise(err, n < 0 ? errno : EIO, "write a deleted file");
		done += (size_t)n;
	}
	return 0;
}

int regfile_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                         struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);
	const char *at = block->data;
	int e = 0;

	if (block->page_set != 0 || f->contents < 0 || !S_ISREG(s->mode))
		return error_raise(err, EBADMSG, "pages of a file that takes none");
	for (uint32_t i = 0; e == 0 && i < block->n_runs; i++) {
		const struct page_run *run = &block->runs[i];
		size_t size = run->n_pages * PAGE;
		uint64_t start = run->start * PAGE;
		if (run->start > s->size / PAGE || start >= s->size ||
		    run->n_pages > (s->size - start + PAGE - 1) / PAGE)
			return error_raise(err, EBADMSG, "a page beyond the end of the file");
		if (run->zero)
			continue; /* a hole reads as zero */
		uint64_t left = s->size - start;
		e = write_all(f->contents, at, left < size ? left : size, start, err);
		at += size;
	}
	return e < 0 ? error_trace(err, e) : 0;
}
