/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: peer groups of the host that mounts of the image are in, or receive from.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/mounts/parts.h"
#include "mount.pb-c.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

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

/* false: @where, if it is anywhere, is not shared here. @known: those that are found */
static bool find_group(struct mounts *m, struct map *known, int own, uint64_t id,
                       const ProtobufCBinaryData *where)
{
	if (!where->len || map_get(known, &id, sizeof(id)))
		return true;
	_cleanup_(free_p) char *path = xstrndup((const char *)where->data, where->len);
	int fd = join_group(m, own, path);
	if (fd < 0)
		return false;
	*array_push(m->groups, m->n_groups) = (struct mount_group){ .id = id, .fd = fd };
	map_put(known, &id, sizeof(id), m);
	return true;
}

static void refuse_group(struct restart *r, const struct mounts *m, const struct mount_entry *e,
                         const ProtobufCBinaryData *where, bool is_master)
{
	struct error refusal;
	int size = (int)where->len;
	const char *path = (const char *)where->data;

	error_refuse(&refusal, CODE_mount_group_gone,
	             "it %s %.*s of the host, which is not shared here",
	             is_master ? "receives what is mounted on" : "was a peer of", size, path);
	mount_error(&refusal, &m->table, e);
	error_hint(&refusal, "mount --make-shared %.*s%s", size, path,
	           is_master ? "; or go on without it: --drop-masters" : "");
	restart_refuse(r, &refusal);
}

void mounts_find_groups(struct restart *r, struct mounts *m, int own)
{
	_cleanup_(map_freep) struct map *known = map_new();

	for (size_t i = 0; i < m->n_mounts; i++) {
		const MountState *s = object_state(m->mounts[i], MountState);
		struct mount_entry *e = &m->table.mounts[i];
		if (!find_group(m, known, own, s->master, &s->outside)) {
			if (r->options->drop_masters)
				e->master = 0;
			else
				refuse_group(r, m, e, &s->outside, true);
		}
		if (!find_group(m, known, own, s->peer_group, &s->outside_peer))
			refuse_group(r, m, e, &s->outside_peer, false);
	}
}
