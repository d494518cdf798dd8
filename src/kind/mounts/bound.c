/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: namespaces that are bound to files. What is mounted is the file of the new one. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "core/restart.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/reference.h"
#include "mnt_ns.pb-c.h"
#include "mount.pb-c.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static bool is_known(const struct mounts *m, const struct mount_entry *e)
{
	for (size_t i = 0; i < m->n_bound; i++) {
		const struct mount_anchor *a = &m->anchors[m->first_bound + i];
		if (a->sb == e->sb && !strcmp(a->root, e->root))
			return true;
	}
	return false;
}

void mounts_find_bound(struct mounts *m)
{
	m->first_bound = m->n_anchors;
	for (size_t i = 0; i < m->n_mounts; i++) {
		const struct mount_entry *e = &m->table.mounts[i];
		if (m->table.sbs[e->sb].class != MOUNT_NSFS || is_known(m, e))
			continue;
		*array_push(m->anchors, m->n_anchors) =
			(struct mount_anchor){ .sb = e->sb, .root = xstrdup(e->root), .fd = -1 };
		*array_push(m->bound, m->n_bound) = i;
	}
}

static bool has_owner(const struct restart *r, uint32_t ns)
{
	return object_state(objects_by_id(r->objects, ns), MntNsState)->owner != 0;
}

/*
 * Mount namespaces are made by the builder, which needs no file of one before it has; those of
 * other user namespaces, and what is bound in them, are made once more when they are put together.
 */
static bool is_remade(const struct restart *r, const struct mounts *m, uint32_t target)
{
	bool is = has_owner(r, target);

	for (size_t i = 0; !is && i < m->n_bound; i++) {
		const MountState *s = object_state(m->mounts[m->bound[i]], MountState);
		is = s->target_type == CLONE_NEWNS && s->target == target &&
		     has_owner(r, s->namespace_);
	}
	return is;
}

int mounts_open_bound(struct restart *r, struct mounts *m, bool late, struct error *err)
{
	for (size_t i = 0; i < m->n_bound; i++) {
		struct mount_anchor *a = &m->anchors[m->first_bound + i];
		const MountState *s = object_state(m->mounts[m->bound[i]], MountState);
		if (a->fd >= 0)
			continue;
		if (s->target_type == CLONE_NEWNS && s->target && !late &&
		    !(m->build && !is_remade(r, m, s->target))) {
			a->late = is_remade(r, m, s->target);
			continue;
		}
		_cleanup_(close_p) int nsfd = ns_reference_open(r, s->target_type, s->target);
		a->late = nsfd < 0 && errno == ENOENT;
		if (nsfd >= 0)
			a->fd = mount_clone(nsfd);
		if (a->fd < 0 && (!a->late || late))
			return error_raise(err, errno, "bind the namespace %s", a->root);
	}
	return 0;
}
