/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: overlays, and what they are made of. */
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "mount/overlay.h"
#include "mount/reach.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* whether a layer is, or may be, on a file system that is made anew */
static bool is_copied(const struct mount_table *t, const struct mount_sb *sb)
{
	bool ret = false;

	for (size_t i = 0; i < sb->n_through; i++)
		ret |= t->sbs[t->mounts[sb->through[i]].sb].class != MOUNT_EXTERNAL;
	return ret;
}

static bool is_on(const struct mount_sb *sb, const char *option)
{
	const char *value = mount_sb_option(sb, option);

	return value && !strcmp(value, "on");
}

static int refuse_relative(const struct mount_sb *sb, struct error *err)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (layers[i].path[0] != '/')
			r = error_refuse(err, CODE_mount_overlay,
			                 "a layer of an overlay was given by a relative path: %s",
			                 layers[i].path);
	overlay_free(layers, n);
	return r;
}

/* what is in memory and not on a disk: of a disk content_save() sees it */
static bool is_memory(const char *type)
{
	return !strcmp(type, "tmpfs") || !strcmp(type, "ramfs");
}

/* an overlay answers for the file system of its upper layer */
static bool same_room(const struct statfs *a, int fd)
{
	struct statfs b;

	return fstatfs(fd, &b) == 0 && a->f_blocks == b.f_blocks && a->f_bfree == b.f_bfree &&
	       a->f_files == b.f_files && a->f_ffree == b.f_ffree;
}

static bool is_mounted_here(struct checkpoint *c, const struct statfs *fs)
{
	const struct mounts *m = c->mounts;
	struct error ignored = ERROR_INIT;
	bool ret = false;

	for (size_t i = 0; !ret && i < m->table.n_sbs; i++) {
		size_t first = mount_of_sb(&m->table, i, MOUNT_NONE);
		int fd;
		if (first == MOUNT_NONE || !is_memory(m->table.sbs[i].type))
			continue;
		/* one that cannot be looked at may be it */
		ret = mount_reached(c, m->mounts[first], &fd, &ignored) < 0 || same_room(fs, fd);
	}
	return ret;
}

static bool is_mounted_at_host(const struct mounts *m, const struct statfs *fs)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct error ignored = ERROR_INIT;
	bool ret = false;

	for (size_t i = 0; !ret && i < m->host.n_sbs; i++) {
		size_t first = mount_of_sb(&m->host, i, MOUNT_NONE);
		_cleanup_(close_p) int fd = -1;
		if (first == MOUNT_NONE || !is_memory(m->host.sbs[i].type))
			continue;
		ret = mount_reach(&m->host, own, first, &fd, &ignored) < 0 || same_room(fs, fd);
	}
	return ret;
}

/*
 * What an overlay shows is only copied when nobody sees its layers; they may be in a tmpfs that is
 * mounted, under other names. That is told by how much room there is, in blocks and inodes.
 */
static int judge_flattened(struct checkpoint *c, struct mounts *m, size_t line, struct error *err)
{
	struct statfs fs;

	if (fstatfs(m->roots[line], &fs) < 0)
		return error_raise(err, errno, "ask how much room an overlay has");
	if (is_mounted_here(c, &fs) || is_mounted_at_host(m, &fs))
		return error_refuse(err, CODE_mount_overlay,
		                    "a layer of an overlay is not to be found under its path, and "
		                    "what it is on seems to be mounted: it was renamed");
	return 0;
}

int superblock_judge_overlay(struct checkpoint *c, struct mounts *m, size_t line, struct error *err)
{
	struct mount_sb *sb = &m->table.sbs[line];
	size_t ns = m->table.mounts[mount_of_sb(&m->table, line, MOUNT_NONE)].namespace;
	int r = refuse_relative(sb, err);

	if (r == 0)
		r = overlay_resolve(&m->table, ns, m->nsfds[ns], line, m->roots[line], err);
	if (r == 0 && sb->flattened)
		r = judge_flattened(c, m, line, err);
	if (r == 0 && (sb->flattened || is_copied(&m->table, sb)) &&
	    (is_on(sb, "index") || is_on(sb, "nfs_export")))
		r = error_refuse(err, CODE_mount_overlay,
		                 "index=on or nfs_export=on over layers that are made anew: it "
		                 "depends on their inode numbers");
	if (r == 0 && overlay_is_volatile(sb) && !sb->flattened && !is_copied(&m->table, sb))
		r = error_refuse(err, CODE_mount_overlay,
		                 "it is volatile, which the kernel mounts only once");
	return r;
}

/* ---- layers that are the host's ---- */

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), xmemdup(text, strlen(text)) };
}

void superblock_save_layers(const struct mount_sb *sb, SuperblockState *s)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);

	for (size_t i = 0; sb->outside && i < n; i++) {
		_cleanup_(close_p) int fd = open(layers[i].path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		SuperblockAnchor *a = xmalloc(sizeof(*a));
		struct identity id = { 0 };
		superblock_anchor__init(a);
		if (fd >= 0)
			identity_read(fd, &id);
		a->root = bytes_of("/");
		a->path = bytes_of(layers[i].path);
		a->mode = id.mode;
		a->inode = id.inode;
		a->handle_type = id.handle_type;
		a->handle = id.handle;
		*array_push(s->anchors, s->n_anchors) = a;
	}
	overlay_free(layers, n);
}

static bool is_layer(const SuperblockAnchor *a, const char *path)
{
	_cleanup_(close_p) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct identity id = { a->mode, a->inode, a->handle_type, a->handle };

	return a->path.len == strlen(path) && !memcmp(a->path.data, path, a->path.len) && fd >= 0 &&
	       identity_is(fd, &id);
}

char *superblock_missing_layer(const struct mount_sb *sb, const SuperblockState *s)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);
	char *missing = NULL;

	for (size_t i = 0; !missing && i < n; i++)
		if (i >= s->n_anchors || !is_layer(s->anchors[i], layers[i].path))
			missing = xstrdup(layers[i].path);
	overlay_free(layers, n);
	return missing;
}
