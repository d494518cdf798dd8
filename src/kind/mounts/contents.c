/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in file systems that are made anew (tmpfs, ramfs): a stream for each part that is
 * mounted and lies in no other part that is. What is mounted nowhere cannot be reached by the tasks
 * either. Both sides find the same parts, in the order of their names: page set 0, 1...
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "core/stream.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "mount/build.h"
#include "mount/content.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

static bool has_contents(const struct mount_table *t, size_t sb)
{
	return t->sbs[sb].class == MOUNT_CONTENT && !t->sbs[sb].dead;
}

/* whether @root lies in @other, another one */
static bool is_below(const char *root, const char *other)
{
	size_t size = strlen(other);

	if (!other[1])
		return root[1] != 0;
	return !strncmp(root, other, size) && root[size] == '/';
}

static bool is_part(const struct mount_table *t, size_t sb, size_t mount)
{
	const struct mount_entry *m = &t->mounts[mount];

	if (m->sb != sb || m->deleted)
		return false;
	for (size_t i = 0; i < t->n_mounts; i++)
		if (t->mounts[i].sb == sb && !t->mounts[i].deleted &&
		    is_below(m->root, t->mounts[i].root))
			return false;
	return true;
}

/* a mount of the next part in order; MOUNT_NONE at the end. Start with NULL. */
static size_t next_part(const struct mount_table *t, size_t sb, const char *previous)
{
	size_t best = MOUNT_NONE;

	for (size_t i = 0; i < t->n_mounts; i++)
		if (is_part(t, sb, i) && (!previous || strcmp(t->mounts[i].root, previous) > 0) &&
		    (best == MOUNT_NONE || strcmp(t->mounts[i].root, t->mounts[best].root) < 0))
			best = i;
	return best;
}

/* ---- checkpoint ---- */

int superblock_check_contents(struct checkpoint *c, size_t sb, struct error *err)
{
	const struct mounts *m = c->mounts;
	const char *root = NULL;
	struct stat st;
	int fd;

	for (size_t i;
	     has_contents(&m->table, sb) && (i = next_part(&m->table, sb, root)) != MOUNT_NONE;) {
		root = m->table.mounts[i].root;
		int r = mount_reached(c, m->mounts[i], &fd, err);
		if (r < 0)
			return error_trace(err, r);
		if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode))
			continue;
		error_refuse(err, CODE_mount_unreachable,
		             "a file of a %s is mounted, and the directory it is in is not",
		             m->table.sbs[sb].type);
		error_object(err, "%s", m->table.mounts[i].point);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int save_part(struct checkpoint *c, struct object *object, size_t mount, uint32_t part,
                     struct error *err)
{
	int root, r = mount_reached(c, c->mounts->mounts[mount], &root, err);

	if (r < 0)
		return error_trace(err, r);
	/* reading symbolic links sets their times of access, which nothing but this prevents */
	struct mount_attr quiet = { .attr_set = MOUNT_ATTR_NOATIME, .attr_clr = MOUNT_ATTR__ATIME };
	mount_setattr(root, "", AT_EMPTY_PATH, &quiet, sizeof(quiet));
	struct stream_out *out = stream_out_new(c->image, object->id, part, c->options->progress);
	const struct byte_sink sink = stream_out_sink(out);
	r = content_save(root, &sink, NULL, err);
	if (r == 0)
		r = stream_out_end(out, err);
	stream_out_free(out);
	return r < 0 ? error_trace(err, r) : 0;
}

int superblock_save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mount_table *t = &c->mounts->table;
	size_t sb = mounts_index(c->mounts, object);
	const char *root = NULL;
	uint32_t part = 0;

	for (size_t i; has_contents(t, sb) && (i = next_part(t, sb, root)) != MOUNT_NONE; part++) {
		root = t->mounts[i].root;
		int r = save_part(c, object, i, part, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

/* ---- restart ---- */

/* the directory @path of a new file system, and all above it that are not there */
static int make_directory(int top, const char *path, int *ret_fd, struct error *err)
{
	_cleanup_(free_p) char *above = path_folder(path);
	_cleanup_(close_p) int fd = -1;

	if (path[1]) {
		int e = make_directory(top, above, &fd, err);
		if (e < 0)
			return e;
		if (mkdirat(fd, strrchr(path, '/') + 1, 0755) < 0 && errno != EEXIST)
			return error_raise(err, errno, "make the directory %s", path);
	}
	*ret_fd = mount_open_below(top, path + 1, O_RDONLY | O_DIRECTORY);
	return *ret_fd < 0 ? error_raise(err, errno, "open the directory %s", path) : 0;
}

static int fill_part(struct mounts *m, size_t mount, const struct byte_source *source,
                     struct error *err)
{
	const struct mount_entry *entry = &m->table.mounts[mount];
	_cleanup_(close_p) int root = -1;
	int e = make_directory(mount_build_sb(m->build, entry->sb), entry->root, &root, err);

	if (e < 0)
		return error_trace(err, e);
	e = content_restore(root, source, array_push(m->contents, m->n_contents), err);
	return e < 0 ? error_trace(err, e) : 0;
}

static uint32_t count_parts(const struct mount_table *t, size_t sb)
{
	uint32_t n = 0;

	for (size_t i = next_part(t, sb, NULL); i != MOUNT_NONE; n++)
		i = next_part(t, sb, t->mounts[i].root);
	return n;
}

int superblock_fill(struct restart *r, struct mounts *m, struct object *object, struct error *err)
{
	const struct mount_table *t = &m->table;
	size_t sb = mounts_index(m, object);
	const char *root = NULL;
	int e = 0;

	if (!has_contents(t, sb))
		return 0;
	struct stream_in *in = stream_in_new(&r->image, object->id, count_parts(t, sb),
	                                     r->options->progress);
	const struct byte_source source = stream_in_source(in);
	for (size_t i; e == 0 && (i = next_part(t, sb, root)) != MOUNT_NONE; stream_in_go_on(in)) {
		root = t->mounts[i].root;
		e = fill_part(m, i, &source, err);
	}
	r->memory_bytes += stream_in_bytes(in);
	stream_in_free(in);
	return e < 0 ? error_trace(err, e) : 0;
}

int superblock_settle(struct mounts *m, struct error *err)
{
	for (size_t i = 0; i < m->n_contents; i++) {
		int e = content_settle(m->contents[i], err);
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}
