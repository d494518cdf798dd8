/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart by who has no CAP_SYS_ADMIN where the mounts of the host are: in his copy of them all are
 * locked, and no mount can be cloned without what is on it. But that is what he had, too, if he
 * made his own namespace out of them (bwrap --bind / /, unshare -Um): where the image has the same
 * mounts locked on one, the whole tree is cloned. What is of the set and locked on these, since
 * they were copied once more (unshare -Um within unshare -Um), is put on the clone.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "kind/mounts/parts.h"
#include "mount.pb-c.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* of the host, by what they are on */
struct place_key {
	size_t parent;
	char rel[];
};

static struct map *children_of_host(const struct mounts *m)
{
	struct map *map = map_new();

	for (size_t i = 0; i < m->host.n_mounts; i++) {
		const struct mount_entry *e = &m->host.mounts[i];
		size_t size = sizeof(struct place_key) + strlen(e->rel);
		_cleanup_(free_p) struct place_key *key = xcalloc(1, size);
		key->parent = e->parent;
		memcpy(key->rel, e->rel, strlen(e->rel));
		map_put(map, key, size, (void *)e);
	}
	return map;
}

static const struct mount_entry *find_child(const struct mounts *m, const struct map *children,
                                            const struct mount_entry *parent, const char *rel)
{
	size_t size = sizeof(struct place_key) + strlen(rel);
	_cleanup_(free_p) struct place_key *key = xcalloc(1, size);

	key->parent = (size_t)(parent - m->host.mounts);
	memcpy(key->rel, rel, strlen(rel));
	return map_get(children, key, size);
}

/* whether what is at the place of the host's mount @have, if that is not covered, was there */
static bool is_same_root(const struct mounts *m, size_t line, const struct mount_entry *have)
{
	const MountState *s = object_state(m->mounts[line], MountState);
	const struct identity id = { s->root_mode, s->root_inode, s->root_handle_type,
		                     s->root_handle };
	_cleanup_(close_p) int fd = open_tree(
		AT_FDCWD, have->point, OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW);

	return fd < 0 || mount_id_of(fd) != have->id || !id.mode || identity_is(fd, &id);
}

/* whether a mount of the image can be a copy of that one of the host's; @top: of which attributes
 * can be set */
static bool is_copy(const struct mounts *m, size_t line, const struct mount_entry *have, bool top)
{
	const uint64_t times = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
	const struct mount_entry *e = &m->table.mounts[line];
	const struct mount_sb *sb = &m->table.sbs[e->sb], *its = &m->host.sbs[have->sb];
	uint64_t early = e->attributes & e->locked_attributes;

	return mount_may_be_hosts(sb) && !strcmp(sb->type, its->type) &&
	       !strcmp(e->root, have->root) && !e->deleted && !have->deleted && !e->peer_group &&
	       !e->master && !e->unbindable && !e->external &&
	       !((sb->flags ^ its->flags) & MOUNT_SB_RDONLY) &&
	       (top || ((early ^ have->attributes) & MOUNT_ATTRIBUTES & ~times) == 0) &&
	       is_same_root(m, line, have);
}

/* how many mounts are below @top; @copied: of those that are locked to it only the host's */
static size_t count_below(const struct mount_table *t, size_t top, bool copied)
{
	const struct mount_ns *ns = &t->namespaces[t->mounts[top].namespace];
	size_t n = 0;

	for (size_t i = ns->first; i < ns->first + ns->n; i++) {
		size_t at = i;
		while (at != top && at != MOUNT_NONE &&
		       (!copied ||
		        (t->mounts[at].locked && mount_may_be_hosts(&t->sbs[t->mounts[at].sb]))))
			at = t->mounts[at].parent;
		n += at == top && i != top;
	}
	return n;
}

/* the host's mount that one locked below @top is a copy of; NULL: none */
static const struct mount_entry *find_copied(const struct mounts *m, const struct map *children,
                                             size_t line, size_t top,
                                             const struct mount_entry *have)
{
	const struct mount_entry *e = &m->table.mounts[line];

	if (line == top)
		return have;
	if (!e->locked || e->parent == MOUNT_NONE)
		return NULL;
	const struct mount_entry *parent = find_copied(m, children, e->parent, top, have);
	return parent ? find_child(m, children, parent, e->rel) : NULL;
}

static bool is_same_tree(const struct mounts *m, size_t top, const struct mount_entry *have)
{
	const struct mount_ns *ns = &m->table.namespaces[m->table.mounts[top].namespace];
	struct map *children = children_of_host(m);
	size_t n = 0;
	bool same = is_copy(m, top, have, true);

	for (size_t i = ns->first; same && i < ns->first + ns->n; i++) {
		const struct mount_entry *its = i == top ? NULL
		                                         : find_copied(m, children, i, top, have);
		same = !its || is_copy(m, i, its, false);
		n += its != NULL;
	}
	map_free(children);
	return same && n == count_below(&m->table, top, true) &&
	       n == count_below(&m->host, (size_t)(have - m->host.mounts), false);
}

void mounts_add_trees(struct mounts *m, size_t sb, int fd, const struct mount_entry *from)
{
	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->table, sb, i)) != MOUNT_NONE;) {
		const struct mount_entry *e = &m->table.mounts[i];
		if (e->locked || strcmp(e->root, from->root) != 0 ||
		    !count_below(&m->table, i, true) || !is_same_tree(m, i, from))
			continue;
		*array_push(m->anchors,
		            m->n_anchors) = (struct mount_anchor){ .sb = sb,
			                                           .root = xstrdup(from->root),
			                                           .fd = mount_clone_tree(fd),
			                                           .source = from->source,
			                                           .tree_of = e };
	}
}

static bool is_never_seen(const struct mount_table *t, size_t line)
{
	size_t cover = mount_table_cover(t, line);

	return cover != MOUNT_NONE && t->mounts[cover].locked;
}

void mounts_add_covered(struct mounts *m, int own, size_t sb)
{
	const struct mount_sb *want = &m->table.sbs[sb];
	size_t have = mount_table_find_sb(&m->host, want->major, want->minor);
	size_t line = mount_of_sb(&m->table, sb, MOUNT_NONE);

	if (have == MOUNT_NONE || line == MOUNT_NONE || !is_never_seen(&m->table, line) ||
	    strcmp(m->host.sbs[have].type, want->type) != 0)
		return;
	const struct mount_entry *e = &m->table.mounts[line];
	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->host, have, i)) != MOUNT_NONE;) {
		const struct mount_entry *its = &m->host.mounts[i];
		struct error ignored = ERROR_INIT;
		int fd = -1;
		if (its->deleted || strcmp(its->point, e->point) != 0 ||
		    strcmp(its->root, e->root) != 0 ||
		    mount_reach(&m->host, own, i, &fd, &ignored) < 0)
			continue;
		mounts_add_host(m, sb, its->root, fd, its);
		return;
	}
}
