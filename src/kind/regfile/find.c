/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: files that should still be there, and whether they are what was recorded. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/restart.h"
#include "host/features.h"
#include "kind/place.h"
#include "kind/regfile/folder.h"
#include "kind/regfile/regfile.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static bool same_type(const RegfileState *s, const struct stat *st)
{
	return (s->mode & S_IFMT) == (st->st_mode & S_IFMT);
}

/* regular files by inode, size and time; whatever is changed by its use by device and inode */
static int compare(struct restart *r, const RegfileState *s, const struct stat *st,
                   struct error *refusal)
{
	bool is_new = place_is_new(r, s->mount);
	const char *what = NULL;

	if (!same_type(s, st))
		what = "it is of another type";
	else if (!is_new && s->inode != st->st_ino)
		what = "another file has its name";
	else if (!S_ISREG(s->mode))
		what = !is_new && s->device != st->st_dev ? "it is on another device" : NULL;
	else if (s->size != (uint64_t)st->st_size)
		what = "its size has changed";
	else if (s->mtime_seconds != st->st_mtim.tv_sec ||
	         s->mtime_nanoseconds != st->st_mtim.tv_nsec)
		what = "it has been written to";
	if (!what)
		return 0;
	error_refuse(refusal, CODE_regfile_changed, "%s since the checkpoint", what);
	error_hint(refusal, "put it back as it was, or restart with --files-changed allow");
	return -EOPNOTSUPP;
}

int regfile_open_handle(const RegfileState *s, int base, const char *path, int flags)
{
	return folder_open_handle(base, path, s->handle_type, &s->handle, flags);
}

/* where it was found, for open(); @fd is kept only if nothing else will lead there: there may be
 * thousands */
static int found(struct restart *r, struct object *object, const char *path, int *fd,
                 const struct stat *st)
{
	struct regfile *f = regfile_live(object);

	if (place_is_covered(r, object_state(object, RegfileState)->mount, path))
		f->keep = take_fd(fd);
	free(f->path);
	f->path = xstrdup(path);
	f->device = st->st_dev;
	f->inode = st->st_ino;
	return 0;
}

/* renamed since: its handle leads to it, and the link text tells the new name */
static bool find_renamed(struct restart *r, struct object *object, const char *path)
{
	const RegfileState *s = object_state(object, RegfileState);
	_cleanup_(close_p) int fd = regfile_open_handle(s, regfile_live(object)->base, path,
	                                                O_PATH);
	char link[40], text[PATH_MAX + 16];
	struct error ignored;
	struct stat st, there;

	/* on a mount of another namespace the text would lead elsewhere */
	if (fd < 0 || s->mount || fstat(fd, &st) < 0 || compare(r, s, &st, &ignored) < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = 0;
	if (lstat(text, &there) < 0 || there.st_dev != st.st_dev || there.st_ino != st.st_ino)
		return false;
	return found(r, object, text, &fd, &st) == 0;
}

/* under its path; with --files-changed allow, whatever is there now */
static int find_here(struct restart *r, struct object *object, const char *path,
                     struct error *refusal)
{
	const RegfileState *s = object_state(object, RegfileState);
	bool allow = r->options->files_changed_allow && !S_ISLNK(s->mode);
	int base = regfile_live(object)->base;
	_cleanup_(close_p) int fd = place_open(base, path, O_PATH | (allow ? 0 : O_NOFOLLOW));
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int saved = errno;
		if (find_renamed(r, object, path))
			return 0;
		error_refuse(refusal, CODE_regfile_changed, "it cannot be found: %s",
		             strerror(saved));
		error_hint(refusal, "put it back under its name");
		return -EOPNOTSUPP;
	}
	if (compare(r, s, &st, refusal) == 0 || (allow && same_type(s, &st)))
		return found(r, object, path, &fd, &st);
	return find_renamed(r, object, path) ? 0 : -EOPNOTSUPP;
}

/* under a name that we do not know; kept open, since only the handle leads to it */
static int find_linked(struct restart *r, struct object *object, const char *path,
                       struct error *refusal)
{
	const RegfileState *s = object_state(object, RegfileState);
	struct regfile *f = regfile_live(object);
	struct stat st;

	f->keep = regfile_open_handle(s, f->base, path, O_PATH);
	if (f->keep < 0 || fstat(f->keep, &st) < 0 || st.st_nlink == 0) {
		error_refuse(refusal, CODE_regfile_changed,
		             "it was deleted under this name, and its others are not to be found: "
		             "%s",
		             strerror(f->keep < 0 ? errno : ENOENT));
		error_hint(refusal, "finding it needs CAP_DAC_READ_SEARCH and the same file "
		                    "system as before");
		return -EOPNOTSUPP;
	}
	int e = compare(r, s, &st, refusal);
	if (e < 0 && !(r->options->files_changed_allow && same_type(s, &st)))
		return e;
	f->device = st.st_dev;
	f->inode = st.st_ino;
	return 0;
}

int regfile_look(struct restart *r, struct object *object, struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);
	_cleanup_(free_p) char *path = regfile_path(s);
	int e;

	if (s->ghost)
		e = folder_check(regfile_live(object)->base, path, err);
	else if (s->name == REGFILE_STATE__NAME__HERE)
		e = find_here(r, object, path, err);
	else if (s->name == REGFILE_STATE__NAME__LINKED)
		e = find_linked(r, object, path, err);
	else
		e = folder_check(regfile_live(object)->base, path, err);
	if (e < 0)
		error_object(err, "%s", path);
	return e;
}

static int refuse_capability(const char *what, const char *name, enum code code,
                             struct error *refusal)
{
	error_refuse(refusal, code, "it was deleted, and %s; that needs %s", what, name);
	error_hint(refusal, "restart as root");
	return -EOPNOTSUPP;
}

static int check_capabilities(const RegfileState *s, struct error *refusal)
{
	bool device = S_ISCHR(s->mode) || S_ISBLK(s->mode);

	if (!s->deleted)
		return 0;
	if (device && !feature(FEATURE_cap_mknod))
		return refuse_capability("is a device node", "CAP_MKNOD", CODE_regfile_deleted,
		                         refusal);
	if (s->deleted->attributes & REGFILE_LOCKED && !feature(FEATURE_cap_linux_immutable))
		return refuse_capability("is append-only or immutable", "CAP_LINUX_IMMUTABLE",
		                         CODE_regfile_attributes, refusal);
	return 0;
}

int regfile_find(struct restart *r, struct object *object, struct error *err)
{
	const RegfileState *s = object_state(object, RegfileState);

	if (check_capabilities(s, err) < 0) {
		_cleanup_(free_p) char *path = regfile_path(s);
		error_object(err, "%s", path);
		return -EOPNOTSUPP;
	}
	if (object_state(object, RegfileState)->mount)
		return 0; /* regfile_make() looks: the mount is not there yet */
	return regfile_look(r, object, err);
}
