/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: what the host has to supply. An external file system is looked for where it was; it must
 * be the same one, which the file handle of the root that is seen there tells. What the kernel has
 * one of is looked for among our own mounts, by type.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/mounts/parts.h"
#include "mount.pb-c.h"
#include "mount/reach.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void add_anchor(struct mounts *m, size_t sb, const char *root, int fd)
{
	*array_push(m->anchors, m->n_anchors) =
		(struct mount_anchor){ .sb = sb, .root = xstrdup(root), .fd = fd };
}

static bool same_file(int fd, const SuperblockAnchor *a)
{
	struct {
		struct file_handle head;
		unsigned char room[MAX_HANDLE_SZ];
	} handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	struct statx sx;
	int mount_id;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &sx) < 0 ||
	    (sx.stx_mode & S_IFMT) != (a->mode & S_IFMT))
		return false;
	if (!a->handle.len)
		return sx.stx_ino == a->inode;
	return name_to_handle_at(fd, "", &handle.head, &mount_id, AT_EMPTY_PATH) == 0 &&
	       handle.head.handle_type == a->handle_type &&
	       handle.head.handle_bytes == a->handle.len &&
	       !memcmp(handle.head.f_handle, a->handle.data, a->handle.len);
}

/* the mount of ours that shows the anchor, of those that are at its path, one above the other */
static int open_anchor(const struct mounts *m, int own, const char *path, const SuperblockAnchor *a)
{
	struct error ignored = ERROR_INIT;

	for (size_t i = m->host.n_mounts; i-- > 0;) {
		int fd = -1;
		if (strcmp(m->host.mounts[i].point, path) != 0 ||
		    mount_reach(&m->host, own, i, &fd, &ignored) < 0)
			continue;
		if (same_file(fd, a))
			return fd;
		close_p(&fd);
	}
	return -1;
}

static bool find_external(struct mounts *m, int own, size_t sb, const SuperblockState *s)
{
	bool found = false;

	for (size_t i = 0; i < s->n_anchors; i++) {
		const SuperblockAnchor *a = s->anchors[i];
		_cleanup_(free_p) char *path = xstrndup((const char *)a->path.data, a->path.len);
		_cleanup_(free_p) char *root = xstrndup((const char *)a->root.data, a->root.len);
		int fd = open_anchor(m, own, path, a);
		if (fd < 0)
			continue;
		add_anchor(m, sb, root, fd);
		found = true;
	}
	return found;
}

static bool same_options(const struct mount_sb *a, const struct mount_sb *b)
{
	if (a->n_options != b->n_options)
		return false;
	for (size_t i = 0; i < a->n_options; i++)
		if (strcmp(a->options[i], b->options[i]) != 0)
			return false;
	return true;
}

static bool find_singleton(struct mounts *m, int own, size_t sb)
{
	const struct mount_sb *want = &m->table.sbs[sb];
	bool by_options = !strcmp(want->type, "cgroup"); /* one per hierarchy */
	bool found = false;

	for (size_t i = 0; i < m->host.n_mounts; i++) {
		const struct mount_entry *e = &m->host.mounts[i];
		const struct mount_sb *have = &m->host.sbs[e->sb];
		if (strcmp(have->type, want->type) != 0 || e->deleted ||
		    (by_options && !same_options(have, want)))
			continue;
		struct error ignored = ERROR_INIT;
		int fd = -1;
		if (mount_reach(&m->host, own, i, &fd, &ignored) < 0)
			continue;
		add_anchor(m, sb, e->root, fd);
		found = true;
	}
	return found;
}

static void refuse_missing(struct restart *r, const struct mount_sb *sb, const SuperblockState *s)
{
	struct error refusal;

	error_refuse(&refusal, CODE_mount_external_missing,
	             "the image shows a file system of the host that is not there: %s", sb->type);
	if (s->n_anchors)
		error_object(&refusal, "%.*s", (int)s->anchors[0]->path.len,
		             (const char *)s->anchors[0]->path.data);
	error_hint(&refusal, "mount it again where it was");
	restart_refuse(r, &refusal);
}

/* ---- groups of the host ---- */

static bool has_group(const struct mounts *m, uint64_t id)
{
	for (size_t i = 0; i < m->n_groups; i++)
		if (m->groups[i].id == id)
			return true;
	return false;
}

/* a detached member of the group that the mount of ours on top at @path is in */
static int join_group(const struct mounts *m, int own, const char *path)
{
	struct error ignored = ERROR_INIT;
	_cleanup_(close_p) int from = open_tree(AT_FDCWD, path,
	                                        OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
	size_t i = from < 0 ? MOUNT_NONE : mount_table_find(&m->host, mount_id_of(from));
	int to = -1;

	if (i == MOUNT_NONE || !m->host.mounts[i].peer_group ||
	    mount_reach(&m->host, own, i, &to, &ignored) < 0)
		return -1;
	if (move_mount(from, "", to, "",
	               MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		close_p(&to);
	return to;
}

static void find_groups(struct restart *r, struct mounts *m, int own)
{
	struct error refusal;

	for (size_t i = 0; i < m->n_mounts; i++) {
		const MountState *s = object_state(m->mounts[i], MountState);
		if (!s->outside.len || has_group(m, s->master))
			continue;
		_cleanup_(free_p) char *path = xstrndup((const char *)s->outside.data,
		                                        s->outside.len);
		int fd = join_group(m, own, path);
		if (fd >= 0) {
			*array_push(m->groups, m->n_groups) = (struct mount_group){ .id = s->master,
				                                                    .fd = fd };
			continue;
		}
		error_refuse(&refusal, CODE_mount_group_gone,
		             "a mount of the image receives from it, and it is not shared here");
		error_object(&refusal, "%s", path);
		error_hint(&refusal, "mount --make-shared %s", path);
		restart_refuse(r, &refusal);
	}
}

int mounts_find_anchors(struct restart *r, struct mounts *m, struct error *err)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int e = own < 0 ? error_raise(err, errno, "open our own mount namespace")
	                : mount_table_add(&m->host, own, 0, NULL, err);

	if (e < 0)
		return error_trace(err, e);
	for (size_t i = 0; i < m->n_sbs; i++) {
		const SuperblockState *s = object_state(m->sbs[i], SuperblockState);
		const struct mount_sb *sb = &m->table.sbs[i];
		bool ok = true;
		if (sb->class == MOUNT_EXTERNAL)
			ok = find_external(m, own, i, s);
		else if (sb->class == MOUNT_SINGLETON)
			ok = find_singleton(m, own, i);
		if (!ok)
			refuse_missing(r, sb, s);
	}
	find_groups(r, m, own);
	return 0;
}
