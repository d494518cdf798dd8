/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes of file systems that are made anew which no name leads to, or none in what is mounted:
 * mounts show what has been deleted, or a file whose directory is mounted nowhere; files are open
 * of which only another name is left. Each has a number in its superblock, and comes once, whoever
 * refers to it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "core/stream.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "mount/content.h"
#include "mount/ghosts.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* ---- checkpoint ---- */

static struct ghost *find_ghost(const struct mounts *m, size_t sb, uint64_t inode)
{
	const uint64_t key[2] = { sb, inode };
	size_t line = m->ghost_lines ? (size_t)(uintptr_t)map_get(m->ghost_lines, key, sizeof(key))
	                             : 0;

	return line ? &m->ghosts[line - 1] : NULL;
}

/* @fd: lent until the end of the checkpoint; -1 when another name leads to it */
static uint32_t add_ghost(struct mounts *m, size_t sb, uint64_t inode, int fd)
{
	const uint64_t key[2] = { sb, inode };
	struct ghost *g = find_ghost(m, sb, inode);

	if (g)
		return g->number;
	if (!m->ghost_lines)
		m->ghost_lines = map_new();
	g = array_push(m->ghosts, m->n_ghosts);
	*g = (struct ghost){ sb, inode, ++m->table.sbs[sb].n_ghosts, fd };
	map_put(m->ghost_lines, key, sizeof(key), (void *)(uintptr_t)m->n_ghosts);
	return g->number;
}

int mounts_add_deleted(struct checkpoint *c, struct mounts *m, size_t line, struct error *err)
{
	struct mount_entry *e = &m->table.mounts[line];
	struct stat st;
	int fd, r;

	if (e->ghost)
		return 0;
	r = mount_reached(c, m->mounts[line], &fd, err);
	if (r < 0)
		return error_trace(err, r);
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "look at what a mount shows");
	if (S_ISLNK(st.st_mode))
		return error_refuse(err, CODE_mount_deleted,
		                    "it shows a symbolic link that has been deleted");
	bool linked = !S_ISDIR(st.st_mode) && st.st_nlink > 0;
	e->ghost = add_ghost(m, e->sb, st.st_ino, linked ? -1 : fd);
	return 0;
}

/* a file whose directory is not mounted: by all mounts that show it */
void mounts_add_stray(struct mounts *m, size_t line, const struct stat *st, int fd)
{
	const char *root = m->table.mounts[line].root;
	size_t sb = m->table.mounts[line].sb;
	uint32_t number = add_ghost(m, sb, st->st_ino, fd);

	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->table, sb, i)) != MOUNT_NONE;)
		if (!m->table.mounts[i].deleted && !strcmp(m->table.mounts[i].root, root))
			m->table.mounts[i].ghost = number;
}

/* of all mounts, once; what is to be refused is when the mount itself is judged */
static void find_deleted(struct checkpoint *c, struct mounts *m)
{
	struct error ignored = ERROR_INIT;

	for (size_t i = 0; !m->deleted_found && i < m->n_mounts; i++) {
		const struct mount_entry *e = &m->table.mounts[i];
		if (e->deleted && m->table.sbs[e->sb].class == MOUNT_CONTENT)
			mounts_add_deleted(c, m, i, &ignored);
	}
	m->deleted_found = true;
}

int mount_comes_along(struct checkpoint *c, const struct object *mount, bool *ret,
                      struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);
	int r = mounts_classify(c, err);

	*ret = r == 0 &&
	       m->table.sbs[m->table.mounts[mounts_index(m, mount)].sb].class == MOUNT_CONTENT;
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_ghost(struct checkpoint *c, const struct object *mount, uint64_t inode, bool linked,
                uint32_t *ret, struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);
	size_t sb = m->table.mounts[mounts_index(m, mount)].sb;
	int r = mounts_classify(c, err);

	*ret = 0;
	if (r < 0)
		return error_trace(err, r);
	if (m->table.sbs[sb].class != MOUNT_CONTENT)
		return 0;
	find_deleted(c, m);
	const struct ghost *g = find_ghost(m, sb, inode);
	if (linked)
		*ret = add_ghost(m, sb, inode, -1);
	else if (g)
		*ret = g->number;
	return 0;
}

size_t ghosts_wanted(const struct mounts *m, size_t sb, struct content_wanted **ret)
{
	size_t n = 0;

	*ret = NULL;
	for (size_t i = 0; m->table.sbs[sb].n_ghosts && i < m->n_ghosts; i++)
		if (m->ghosts[i].sb == sb && m->ghosts[i].fd < 0)
			(*array_push(*ret, n)).inode = m->ghosts[i].inode;
	return n;
}

/* what has been found for an inode */
static const char *path_of(const struct content_wanted *wanted, size_t n, uint64_t inode)
{
	for (size_t i = 0; i < n; i++)
		if (wanted[i].inode == inode)
			return wanted[i].path;
	return NULL;
}

/* those without a name that can be reached; the list is the caller's */
static int list_ghosts(const struct mounts *m, size_t sb, const struct content_wanted *wanted,
                       size_t n_wanted, struct content_inode **ret, size_t *ret_n,
                       struct error *err)
{
	int r = 0;

	for (size_t i = 0; m->table.sbs[sb].n_ghosts && i < m->n_ghosts; i++) {
		const struct ghost *g = &m->ghosts[i];
		if (g->sb != sb)
			continue;
		const char *path = g->fd < 0 ? path_of(wanted, n_wanted, g->inode) : NULL;
		*array_push(*ret, *ret_n) = (struct content_inode){ g->fd, path };
		if (g->fd < 0 && !path)
			r = error_refuse(err, CODE_mount_deleted,
			                 "a file was deleted under the name that is in use, and "
			                 "its other names are in no mounted part of the %s",
			                 m->table.sbs[sb].type);
	}
	return r;
}

int ghosts_save(struct checkpoint *c, struct object *object, uint32_t page_set,
                const struct content_wanted *wanted, size_t n_wanted, struct error *err)
{
	_cleanup_(free_p) struct content_inode *inodes = NULL;
	size_t n = 0;
	int r = list_ghosts(mounts_kept(c->kept), mounts_index(mounts_kept(c->kept), object),
	                    wanted, n_wanted, &inodes, &n, err);

	if (r == 0 && n) {
		struct stream_out *out = stream_out_new(c->image, object->id, page_set,
		                                        c->options->progress);
		const struct byte_sink sink = stream_out_sink(out);
		r = content_save_inodes(inodes, n, &sink, NULL, err);
		if (r == 0)
			r = stream_out_end(out, err);
		stream_out_free(out);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int ghosts_survey(struct checkpoint *c, struct object *object, const struct content_wanted *wanted,
                  size_t n_wanted, const struct content_request *request, struct error *err)
{
	_cleanup_(free_p) struct content_inode *inodes = NULL;
	size_t n = 0;
	int r = list_ghosts(mounts_kept(c->kept), mounts_index(mounts_kept(c->kept), object),
	                    wanted, n_wanted, &inodes, &n, err);

	if (r == 0)
		r = content_save_inodes(inodes, n, NULL, request, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

int ghosts_fill(struct mounts *m, size_t sb, const struct byte_source *source, struct error *err)
{
	int fd, r = mount_ghosts_open(m->build, sb, &fd, err);

	if (r == 0)
		r = content_restore_inodes(fd, source, add_filled(m, sb), err);
	if (r == 0)
		r = mount_ghosts_place(m->build, sb, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_ghost_open(struct restart *r, const struct object *mount, uint32_t ghost,
                     const char *path, int folder)
{
	const struct mounts *m = mounts_kept(r->kept);
	const struct mount_entry *e = &m->table.mounts[mounts_index(m, mount)];
	_cleanup_(free_p) char *whole = xasprintf("%s%s", e->root[1] ? e->root : "", path);

	return mount_ghosts_show(m->build, e->sb, ghost, whole, folder);
}
