/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes without names. See ghosts.h. */
#include "mount/ghosts.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount/build_parts.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

int mount_ghosts_open(struct mount_build *b, size_t sb, int *ret_fd, struct error *err)
{
	int root = mount_build_sb(b, sb);
	struct ghosts *g = &b->ghosts[sb];

	for (unsigned i = 0; !g->name; i++) {
		_cleanup_(free_p) char *name = xasprintf(".stasis-%u", i);
		if (mkdirat(root, name, 0700) == 0)
			g->name = take_ptr(name);
		else if (errno != EEXIST)
			return error_raise(err, errno, "make a directory for what was deleted");
	}
	if (g->fd < 0)
		g->fd = mount_open_below(root, g->name, O_RDONLY | O_DIRECTORY);
	*ret_fd = g->fd;
	return g->fd < 0 ? error_raise(err, errno, "open the directory for what was deleted") : 0;
}

static void name_of(uint32_t ghost, char room[16])
{
	snprintf(room, 16, "%u", ghost);
}

/* the directory that @path is in, below the root of the file system */
static int open_folder(const struct mount_build *b, size_t sb, const char *path)
{
	_cleanup_(free_p) char *folder = path_folder(path);

	return mount_open_below(mount_build_sb(b, sb), folder + 1, O_RDONLY | O_DIRECTORY);
}

/* a directory has one name only: it is moved there, and back */
static int lend_name(int ghosts, const char *ghost, int folder, const char *name, bool directory)
{
	return directory ? renameat2(ghosts, ghost, folder, name, RENAME_NOREPLACE)
	                 : linkat(ghosts, ghost, folder, name, 0);
}

static int take_back(int ghosts, const char *ghost, int folder, const char *name, bool directory)
{
	return directory ? renameat(folder, name, ghosts, ghost) : unlinkat(folder, name, 0);
}

int mount_ghosts_show(const struct mount_build *b, size_t sb, uint32_t ghost, const char *path,
                      int folder)
{
	_cleanup_(close_p) int there = open_folder(b, sb, path);
	const char *name = strrchr(path, '/') + 1;
	int ghosts = b->ghosts[sb].fd;
	char own[16], other[32];
	struct stat st;

	name_of(ghost, own);
	snprintf(other, sizeof(other), ".stasis-%u", ghost);
	if (there < 0 || fstatat(ghosts, own, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	int r = lend_name(ghosts, own, there, name, S_ISDIR(st.st_mode));
	if (r < 0 && errno == EEXIST) {
		name = other;
		r = lend_name(ghosts, own, there, name, S_ISDIR(st.st_mode));
	}
	if (r < 0)
		return -1;
	_cleanup_(close_p) int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (take_back(ghosts, own, there, name, S_ISDIR(st.st_mode)) < 0)
		return -1;
	return take_fd(&fd);
}

/* ---- when they have come ---- */

/* what has another name, too: that one was found when it was saved */
static int follow(const struct mount_build *b, size_t sb, const char *name, struct error *err)
{
	int folder = b->ghosts[sb].fd;
	char target[PATH_MAX];
	ssize_t n = readlinkat(folder, name, target, sizeof(target) - 1);

	if (n < 0 && errno == EINVAL)
		return 0;
	if (n <= 0 || target[0] != '/')
		return error_raise(err, n < 0 ? errno : EBADMSG, "read where a deleted file leads");
	target[n] = 0;
	_cleanup_(close_p) int there = open_folder(b, sb, target);
	if (there < 0 || unlinkat(folder, name, 0) < 0 ||
	    linkat(there, strrchr(target, '/') + 1, folder, name, 0) < 0)
		return error_raise(err, errno, "find the other name of a deleted file: %s", target);
	return 0;
}

/* 0755: nobody sees them, or they would be mounted */
static int make_folders(const struct mount_build *b, size_t sb, const char *path, struct error *err)
{
	_cleanup_(free_p) char *part = xstrdup(path);

	for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		_cleanup_(close_p) int above = open_folder(b, sb, part);
		if (above < 0 ||
		    (mkdirat(above, strrchr(part, '/') + 1, 0755) < 0 && errno != EEXIST))
			return error_raise(err, errno, "make the directory %s", part);
		*slash = '/';
	}
	return 0;
}

static int name_stray(const struct mount_build *b, const struct mount_entry *m, struct error *err)
{
	int r = make_folders(b, m->sb, m->root, err);

	_cleanup_(close_p) int folder = r < 0 ? -1 : open_folder(b, m->sb, m->root);
	char name[16];

	name_of(m->ghost, name);
	if (r == 0 && linkat(b->ghosts[m->sb].fd, name, folder, strrchr(m->root, '/') + 1, 0) < 0 &&
	    errno != EEXIST)
		r = error_raise(err, errno, "make %s", m->root);
	return r;
}

int mount_ghosts_place(struct mount_build *b, size_t sb, struct error *err)
{
	int r = 0;

	for (uint32_t i = 1; r == 0 && i <= b->t->sbs[sb].n_ghosts; i++) {
		char name[16];
		name_of(i, name);
		r = follow(b, sb, name, err);
	}
	for (size_t i = MOUNT_NONE; r == 0 && (i = mount_of_sb(b->t, sb, i)) != MOUNT_NONE;)
		if (b->t->mounts[i].ghost && !b->t->mounts[i].deleted)
			r = name_stray(b, &b->t->mounts[i], err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- the end: P10 ---- */

struct burial {
	int ghosts;        /* the directory that they are in */
	char ghost[16];    /* which one */
	unsigned n_asides; /* names in there of what is put aside */
};

static int remove_name(int folder, const char *name)
{
	if (unlinkat(folder, name, 0) == 0)
		return 0;
	return errno == EISDIR ? unlinkat(folder, name, AT_REMOVEDIR) : -1;
}

/* what has the name now steps aside for that moment */
static int lose_name(const struct burial *g, int folder, const char *name)
{
	if (renameat2(g->ghosts, g->ghost, folder, name, RENAME_NOREPLACE) == 0)
		return remove_name(folder, name);
	if (errno != EEXIST || renameat2(g->ghosts, g->ghost, folder, name, RENAME_EXCHANGE) < 0 ||
	    remove_name(folder, name) < 0)
		return -1;
	return renameat2(g->ghosts, g->ghost, folder, name, RENAME_NOREPLACE);
}

static int bury_below(struct burial *g, int folder, const char *path);

/* a directory that is not there any more */
static int bury_in_made(struct burial *g, int folder, const char *name, const char *rest)
{
	_cleanup_(close_p) int fd = mkdirat(folder, name, 0700) < 0
	                                    ? -1
	                                    : mount_open_below(folder, name,
	                                                       O_RDONLY | O_DIRECTORY);

	if (fd < 0 || bury_below(g, fd, rest) < 0)
		return -1;
	return unlinkat(folder, name, AT_REMOVEDIR);
}

/* and something that is none has its name: it steps aside for that moment */
static int bury_in_place_of(struct burial *g, int folder, const char *name, const char *rest)
{
	char aside[24];

	snprintf(aside, sizeof(aside), "aside-%u", g->n_asides++);
	if (renameat2(folder, name, g->ghosts, aside, RENAME_NOREPLACE) < 0 ||
	    bury_in_made(g, folder, name, rest) < 0)
		return -1;
	return renameat2(g->ghosts, aside, folder, name, RENAME_NOREPLACE);
}

/* @path: without leading '/' */
static int bury_below(struct burial *g, int folder, const char *path)
{
	const char *slash = strchr(path, '/');
	_cleanup_(free_p) char *name = slash ? xstrndup(path, (size_t)(slash - path)) : NULL;

	if (!slash)
		return lose_name(g, folder, path);
	_cleanup_(close_p) int fd = mount_open_below(folder, name, O_RDONLY | O_DIRECTORY);
	if (fd >= 0)
		return bury_below(g, fd, slash + 1);
	return errno == ENOENT ? bury_in_made(g, folder, name, slash + 1)
	                       : bury_in_place_of(g, folder, name, slash + 1);
}

static int bury_mounted(const struct mount_build *b, size_t sb, struct error *err)
{
	_cleanup_(free_p) bool *done = xcalloc(b->t->sbs[sb].n_ghosts + 1, sizeof(*done));
	struct burial g = { .ghosts = b->ghosts[sb].fd };

	for (size_t i = MOUNT_NONE; (i = mount_of_sb(b->t, sb, i)) != MOUNT_NONE;) {
		const struct mount_entry *m = &b->t->mounts[i];
		if (!m->deleted || done[m->ghost])
			continue;
		done[m->ghost] = true;
		name_of(m->ghost, g.ghost);
		if (bury_below(&g, mount_build_sb(b, sb), m->root + 1) < 0)
			return build_context(b, i, err,
			                     error_raise(err, errno, "delete what it shows"));
	}
	return 0;
}

int mount_ghosts_bury(struct mount_build *b, size_t sb, struct error *err)
{
	struct ghosts *g = &b->ghosts[sb];
	int r = g->name ? bury_mounted(b, sb, err) : 0;

	if (r < 0 || !g->name)
		return r < 0 ? error_trace(err, r) : 0;
	for (uint32_t i = 1; i <= b->t->sbs[sb].n_ghosts; i++) {
		char name[16];
		name_of(i, name);
		if (remove_name(g->fd, name) < 0 && errno != ENOENT)
			return error_raise(err, errno, "delete a name that was lent");
	}
	if (unlinkat(mount_build_sb(b, sb), g->name, AT_REMOVEDIR) < 0)
		return error_raise(err, errno, "remove the directory for what was deleted");
	return 0;
}

void mount_ghosts_forget(struct mount_build *b)
{
	for (size_t i = 0; i < b->t->n_sbs; i++)
		close_p(&b->ghosts[i].fd);
}
