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
#include "mount/overlay_make.h"
#include "mount/reach.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"
#include "util/uapi.h"

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

/* what an overlay tells of the file system of its top layer */
struct top {
	struct statfs room;            /* how much is left there */
	unsigned char uuid[UUID_SIZE]; /* 0: it does not tell */
};

/*
 * The handle of an overlay's root is that of its top layer, with the UUID of what that is on: since
 * Linux 6.6, and not with the option uuid=off (fs/overlayfs/overlayfs.h, struct ovl_fb).
 */
static void read_top_uuid(int root, unsigned char uuid[UUID_SIZE])
{
	static const size_t magic = 4, at = 8;
	struct handle_room handle = HANDLE_ROOM_INIT;
	const unsigned char *bytes = handle.room;
	int id;

	if (name_to_handle_at(root, "", &handle.head, &id, AT_EMPTY_PATH | AT_HANDLE_FID) == 0 &&
	    handle.head.handle_type == OVL_FILEID_V1 &&
	    handle.head.handle_bytes >= at + UUID_SIZE && bytes[magic] == 0xfb)
		memcpy(uuid, bytes + at, UUID_SIZE);
}

/* whether the top layer is on what is mounted at @fd: by UUIDs, or else by what room is left */
static bool is_below(const struct top *top, int fd)
{
	static const unsigned char none[UUID_SIZE];
	unsigned char uuid[UUID_SIZE];
	const struct statfs *a = &top->room;
	struct statfs b;

	if (memcmp(top->uuid, none, UUID_SIZE) != 0 && identity_read_uuid(fd, uuid))
		return !memcmp(uuid, top->uuid, UUID_SIZE);
	return fstatfs(fd, &b) == 0 && a->f_blocks == b.f_blocks && a->f_bfree == b.f_bfree &&
	       a->f_files == b.f_files && a->f_ffree == b.f_ffree;
}

/* what the host has mounted, too, is looked at there, where nothing is locked */
static bool is_mounted_here(struct checkpoint *c, const struct top *top)
{
	const struct mounts *m = mounts_kept(c->kept);
	struct error ignored = ERROR_INIT;
	bool ret = false;

	for (size_t i = 0; !ret && i < m->table.n_sbs; i++) {
		const struct mount_sb *sb = &m->table.sbs[i];
		int fd = -1;
		if (!is_memory(sb->type) ||
		    mount_table_find_sb(&m->host, sb->major, sb->minor) != MOUNT_NONE ||
		    mount_of_sb(&m->table, i, MOUNT_NONE) == MOUNT_NONE)
			continue;
		for (size_t k = MOUNT_NONE;
		     fd < 0 && (k = mount_of_sb(&m->table, i, k)) != MOUNT_NONE;)
			if (mount_reached(c, m->mounts[k], &fd, &ignored) < 0)
				fd = -1;
		/* one that cannot be looked at may be it */
		ret = fd < 0 || is_below(top, fd);
	}
	return ret;
}

static bool is_mounted_at_host(const struct mounts *m, const struct top *top)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct error ignored = ERROR_INIT;
	bool ret = false;

	for (size_t i = 0; !ret && i < m->host.n_sbs; i++) {
		_cleanup_(close_p) int fd = -1;
		if (!is_memory(m->host.sbs[i].type) ||
		    mount_of_sb(&m->host, i, MOUNT_NONE) == MOUNT_NONE)
			continue;
		for (size_t k = MOUNT_NONE;
		     fd < 0 && (k = mount_of_sb(&m->host, i, k)) != MOUNT_NONE;)
			if (mount_reach(&m->host, own, k, &fd, &ignored) < 0)
				fd = -1;
		ret = fd < 0 || is_below(top, fd);
	}
	return ret;
}

/*
 * What an overlay shows is only copied when nobody sees its layers; they may be in a tmpfs that is
 * mounted, under other names.
 */
static int judge_flattened(struct checkpoint *c, struct mounts *m, size_t line, struct error *err)
{
	struct top top = { 0 };

	if (fstatfs(m->roots[line], &top.room) < 0)
		return error_raise(err, errno, "ask how much room an overlay has");
	read_top_uuid(m->roots[line], top.uuid);
	if (is_mounted_here(c, &top) || is_mounted_at_host(m, &top))
		return error_refuse(err, CODE_mount_overlay,
		                    "a layer of an overlay is not to be found under its path, and "
		                    "what it is on is mounted: it was renamed");
	return 0;
}

int superblock_judge_overlay(struct checkpoint *c, struct mounts *m, size_t line, struct error *err)
{
	struct mount_sb *sb = &m->table.sbs[line];
	size_t ns = m->table.mounts[mount_of_sb(&m->table, line, MOUNT_NONE)].namespace;
	int r = refuse_relative(sb, err);

	if (r == 0)
		r = overlay_check_options(sb, err);
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

/*
 * Of one that the host has mounted: engines unmount it with its container, and leave the layers.
 * What was found by its root directory is what can be compared.
 */
static bool is_hosts(const struct mounts *m, size_t line)
{
	const struct mount_sb *sb = &m->table.sbs[line];

	for (size_t i = 0;
	     sb->class == MOUNT_EXTERNAL && !strcmp(sb->type, "overlay") && i < m->n_anchored; i++)
		if (m->anchored[i].sb == line && !strcmp(m->anchored[i].entry->root, "/"))
			return overlay_is_at_home(sb, m->anchored[i].fd);
	return false;
}

void superblock_save_layers(const struct mounts *m, size_t line, SuperblockState *s)
{
	const struct mount_sb *sb = &m->table.sbs[line];
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);
	bool any = sb->outside || is_hosts(m, line);

	for (size_t i = 0; any && i < n; i++) {
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
		*array_push(s->layers, s->n_layers) = a;
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
		if (i >= s->n_layers || !is_layer(s->layers[i], layers[i].path))
			missing = xstrdup(layers[i].path);
	overlay_free(layers, n);
	return missing;
}
