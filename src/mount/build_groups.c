/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Propagation, when everything is attached. A peer group gets a detached leader, which shows all of
 * the superblock, so that members may show parts that have nothing in common; each member takes the
 * group over from it (MOVE_MOUNT_SET_GROUP, which works across namespaces). Masters come before
 * their slaves. A group lives as long as one member does: leaders are closed last.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "mount/build_parts.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

struct group {
	uint64_t id, master;
	size_t origin;
	int leader, slave; /* a member; a slave of it; -1 not made yet */
	bool busy;         /* being made: a cycle of masters comes by here again */
};

struct groups {
	const struct mount_build *b;
	struct group *items;
	size_t n;
	struct map *by_id; /* index + 1 */
};

static struct group *find(const struct groups *g, uint64_t id)
{
	size_t i = (size_t)(uintptr_t)map_get(g->by_id, &id, sizeof(id));

	return i ? &g->items[i - 1] : NULL;
}

static void add(struct groups *g, uint64_t id, uint64_t master, size_t origin)
{
	struct group *known = find(g, id);

	if (known) {
		if (!known->master)
			known->master = master;
		return;
	}
	*array_push(g->items, g->n) = (struct group){
		.id = id, .master = master, .origin = origin, .leader = -1, .slave = -1
	};
	map_put(g->by_id, &id, sizeof(id), (void *)(uintptr_t)g->n);
}

static int take_group(int from, int to)
{
	return move_mount(from, "", to, "",
	                  MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int set_propagation(int fd, uint64_t propagation)
{
	struct mount_attr attr = { .propagation = propagation };

	return mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr));
}

static int make_leader(struct groups *g, struct group *group, struct error *err)
{
	struct group *master = group->master ? find(g, group->master) : NULL;
	int r = 0;

	if (group->leader >= 0)
		return 0;
	if (group->busy)
		return error_raise(err, EBADMSG, "peer groups are masters of each other");
	group->busy = true;
	if (master)
		r = make_leader(g, master, err);
	if (r < 0)
		return r;
	group->leader = mount_clone(g->b->origin[group->origin]);
	if (group->leader < 0)
		return error_raise(err, errno, "make the leader of a peer group");
	if (master && (take_group(master->leader, group->leader) < 0 ||
	               set_propagation(group->leader, MS_SLAVE) < 0))
		return error_raise(err, errno, "make a peer group a slave");
	if (set_propagation(group->leader, MS_SHARED) < 0)
		return error_raise(err, errno, "make a peer group");
	return 0;
}

static int make_slave(struct groups *g, struct group *master, size_t origin, struct error *err)
{
	int r = make_leader(g, master, err);

	if (r < 0 || master->slave >= 0)
		return r;
	master->slave = mount_clone(g->b->origin[origin]);
	if (master->slave < 0 || take_group(master->leader, master->slave) < 0 ||
	    set_propagation(master->slave, MS_SLAVE) < 0)
		return error_raise(err, errno, "make a slave of a peer group");
	return 0;
}

/*
 * What is locked and covered by what is cannot be had: it becomes shared with all that is around
 * it, each alone, and the rest takes its groups afterwards.
 */
static int share_covered(const struct mount_build *b, const struct mount_ns *ns, struct error *err)
{
	struct mount_attr shared = { .propagation = MS_SHARED };
	bool any = false;

	for (size_t i = ns->first; i < ns->first + ns->n; i++) {
		size_t up = i;
		while (b->mount[up] < 0 && b->t->mounts[up].parent != MOUNT_NONE)
			up = b->t->mounts[up].parent;
		if (up == i || !b->t->mounts[i].peer_group)
			continue;
		any = true;
		if (mount_setattr(b->mount[up], "", AT_EMPTY_PATH | AT_RECURSIVE, &shared,
		                  sizeof(shared)) < 0)
			return build_context(b, i, err, error_raise(err, errno, "make it shared"));
	}
	for (size_t i = ns->first; any && i < ns->first + ns->n; i++)
		if (b->mount[i] >= 0 &&
		    set_propagation(b->mount[i],
		                    b->t->mounts[i].unbindable ? MS_UNBINDABLE : MS_PRIVATE) < 0)
			return build_context(b, i, err, error_raise(err, errno, "make it private"));
	return 0;
}

static bool has_peers(const struct mount_table *t, size_t mount)
{
	for (size_t i = 0; i < t->n_mounts; i++)
		if (i != mount && (t->mounts[i].peer_group == t->mounts[mount].peer_group ||
		                   t->mounts[i].master == t->mounts[mount].peer_group))
			return true;
	return false;
}

/* see share_covered() */
static int join_covered(const struct groups *g, size_t mount, struct error *err)
{
	const struct mount_entry *m = &g->b->t->mounts[mount];

	if (!m->master && !has_peers(g->b->t, mount))
		return 0;
	error_refuse(err, CODE_mount_lock_shape,
	             "it is locked, covered by what is, and others receive its mounts, or it does");
	return build_context(g->b, mount, err, -EOPNOTSUPP);
}

static int join(struct groups *g, size_t mount, struct error *err)
{
	const struct mount_entry *m = &g->b->t->mounts[mount];
	struct group *group = find(g, m->peer_group ? m->peer_group : m->master);
	int r, from;

	if (g->b->mount[mount] < 0)
		return join_covered(g, mount, err);
	if (!group)
		return 0;
	r = m->peer_group ? make_leader(g, group, err)
	                  : make_slave(g, group, g->b->origin_of[mount], err);
	if (r < 0)
		return build_context(g->b, mount, err, r);
	from = m->peer_group ? group->leader : group->slave;
	if (take_group(from, g->b->mount[mount]) < 0)
		return build_context(g->b, mount, err,
		                     error_raise(err, errno, "join the peer group %llu",
		                                 (unsigned long long)group->id));
	return 0;
}

static void groups_done(struct groups *g)
{
	for (size_t i = 0; i < g->n; i++) {
		close_p(&g->items[i].leader);
		close_p(&g->items[i].slave);
	}
	free(g->items);
	map_free(g->by_id);
}

int build_groups(void *build, struct error *err)
{
	const struct mount_build *b = build;
	_cleanup_(groups_done) struct groups g = { .b = b, .by_id = map_new() };
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->t->n_namespaces; i++) {
		if (!build_is_owned(b, i))
			continue;
		r = build_enter(b->ns[i], err);
		if (r == 0)
			r = share_covered(b, &b->t->namespaces[i], err);
	}
	if (r == 0)
		r = build_enter(*b->yard, err);
	for (size_t i = 0; i < b->in.n_groups; i++) {
		add(&g, b->in.groups[i].id, 0, MOUNT_NONE);
		find(&g, b->in.groups[i].id)->leader = fcntl(b->in.groups[i].fd, F_DUPFD_CLOEXEC,
		                                             3);
	}
	for (size_t i = 0; i < b->t->n_mounts; i++) {
		const struct mount_entry *m = &b->t->mounts[i];
		if (m->peer_group)
			add(&g, m->peer_group, m->master, b->origin_of[i]);
	}
	for (size_t i = 0; r == 0 && i < b->t->n_mounts; i++)
		if (b->t->mounts[i].peer_group || b->t->mounts[i].master)
			r = join(&g, i, err);
	return r < 0 ? error_trace(err, r) : 0;
}
