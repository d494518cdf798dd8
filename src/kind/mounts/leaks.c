/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: what of the mount namespaces is shared with others: the namespaces themselves, peer
 * groups, masters, file systems. What others are is looked up in all namespaces of the machine.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/checkpoint.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/ns.h"
#include "kind/namespace/reference.h"
#include "kind/user_ns.h"
#include "mount/class.h"
#include "mount/locks.h"
#include "mount/scan.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static const struct mount_entry *find_peer(const struct mount_table *t, uint64_t group)
{
	size_t line = mount_table_find_peer(t, group);

	return line == MOUNT_NONE ? NULL : &t->mounts[line];
}

const char *mount_outside_master(const struct mounts *m, const struct mount_entry *e)
{
	const struct mount_entry *peer;

	if (!e->master || find_peer(&m->table, e->master))
		return NULL;
	peer = find_peer(&m->host, e->master);
	return peer ? peer->point : NULL;
}

const char *mount_outside_peer(const struct mounts *m, const struct mount_entry *e)
{
	const struct mount_entry *peer = e->peer_group ? find_peer(&m->host, e->peer_group) : NULL;

	return peer ? peer->point : NULL;
}

static void refuse_mount(struct checkpoint *c, const struct mounts *m, const struct mount_entry *e,
                         struct error *refusal)
{
	mounts_blame(c, m, e, refusal);
	refuse(c, NULL, refusal);
}

/* one that restart cannot, or shall not, make a peer of the same group again */
static void judge_peer(struct checkpoint *c, const struct mounts *m, const struct mount_entry *e)
{
	const struct mount_entry *peer = e->peer_group ? find_peer(&m->outside, e->peer_group)
	                                               : NULL;
	bool here = mount_outside_peer(m, e);
	struct error refusal;

	if (!peer || (here && (!checkpoint_is_container(c) || e->external)))
		return;
	error_refuse(&refusal, CODE_mount_peer_outside,
	             "it is a peer of mount %u %s of mnt:[%llu], which is outside the set",
	             peer->old_id, peer->point,
	             (unsigned long long)m->outside.namespaces[peer->namespace].inode);
	_cleanup_(free_p) char *key = mount_key(m, e);
	if (here)
		error_hint(&refusal, "if it is to be its peer again: --external %s=NAME", key);
	else
		error_hint(&refusal, "in its namespace: mount --make-slave %s", e->point);
	refuse_mount(c, m, e, &refusal);
}

/* whether restart can find a member of the group again */
static bool is_found(const struct mounts *m, uint64_t group)
{
	return find_peer(&m->table, group) || find_peer(&m->host, group);
}

/* as the kernel does when the last member of a group goes: its slaves become its master's */
static void drop_master(const struct mounts *m, struct mount_entry *e)
{
	size_t left = m->outside.n_mounts; /* the namespaces were not read in one instant */

	e->dropped_master = e->master;
	while (e->master && !is_found(m, e->master)) {
		const struct mount_entry *peer = find_peer(&m->outside, e->master);
		e->master = peer && left-- ? peer->master : 0;
	}
}

static void judge_master(struct checkpoint *c, const struct mounts *m, struct mount_entry *e)
{
	struct error refusal;

	if (!e->master || is_found(m, e->master))
		return;
	if (c->options->drop_masters) {
		drop_master(m, e);
		return;
	}
	error_refuse(&refusal, CODE_mount_master_outside,
	             "it receives from a mount that is neither in the set nor seen here");
	error_hint(&refusal,
	           "in its namespace: mount --make-private %s; or so only in what is restarted: "
	           "--drop-masters",
	           e->point);
	refuse_mount(c, m, e, &refusal);
}

/* whether others have no business in it: what it holds would be made anew */
static bool is_own_alone(const struct checkpoint *c, const struct mounts *m, size_t line)
{
	const struct mount_sb *sb = &m->table.sbs[line];
	enum mount_class class = sb->class;

	/* what the host has, too, is external, but nothing is outside of a container unless it was
	 * said; a host's root may be an overlay */
	if (class == MOUNT_EXTERNAL && checkpoint_is_container(c) && !sb_has_name(m, line))
		class = mount_class_of_type(sb->type);
	return class == MOUNT_CONTENT || class == MOUNT_INSTANCE || sb->class == MOUNT_COMPOSITE;
}

static const struct mount_entry *find_outside(const struct mounts *m, const struct mount_sb *sb)
{
	size_t its = mount_table_find_sb(&m->outside, sb->major, sb->minor);
	size_t line = its == MOUNT_NONE ? MOUNT_NONE : mount_of_sb(&m->outside, its, MOUNT_NONE);

	return line == MOUNT_NONE ? NULL : &m->outside.mounts[line];
}

static void refuse_shared_sb(struct checkpoint *c, const struct mounts *m,
                             const struct mount_entry *e, const struct mount_entry *other)
{
	struct error refusal;

	error_refuse(&refusal, CODE_mount_shared_outside,
	             "this %s is mounted outside the set, too: mount %u %s of mnt:[%llu]",
	             m->table.sbs[e->sb].type, other->old_id, other->point,
	             (unsigned long long)m->outside.namespaces[other->namespace].inode);
	_cleanup_(free_p) char *key = mount_key(m, e);
	error_hint(&refusal, "leave it outside: --external %s=NAME%s", key,
	           m->table.sbs[e->sb].class == MOUNT_EXTERNAL
	                   ? "; or all that is the host's, too: --subtree"
	                   : "");
	refuse_mount(c, m, e, &refusal);
}

/* by /proc/PID/root, say: it would go on with files that the restarted tasks have a copy of */
static int judge_sb_users(struct checkpoint *c, const struct mounts *m, const struct mount_entry *e,
                          struct error *err)
{
	const struct mount_sb *sb = &m->table.sbs[e->sb];
	const struct holder *holder;

	if (sb->class != MOUNT_CONTENT && sb->class != MOUNT_COMPOSITE)
		return 0;
	int r = holders_find_on(c, makedev(sb->major, sb->minor), &holder, err);
	if (r > 0) {
		_cleanup_(free_p) char *name = xasprintf("%s %s", sb->type, e->point);
		refuse_leak(c, NULL, name, NULL, holder);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static int judge_sb(struct checkpoint *c, const struct mounts *m, const struct mount_entry *e,
                    struct error *err)
{
	const struct mount_entry *other = is_own_alone(c, m, e->sb)
	                                          ? find_outside(m, &m->table.sbs[e->sb])
	                                          : NULL;

	if (other)
		refuse_shared_sb(c, m, e, other);
	int r = other ? 0 : judge_sb_users(c, m, e, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* a namespace of the set that is bound to a file outside, as unshare(1) --uts=FILE does */
static void judge_bound(struct checkpoint *c, const struct mounts *m, const struct mount_entry *e)
{
	struct ns_reference ref;
	struct error refusal;

	if (strcmp(m->outside.sbs[e->sb].type, "nsfs") != 0 || !ns_reference_parse(e->root, &ref) ||
	    !ns_reference_find(c, &ref))
		return;
	error_refuse(&refusal, CODE_leak, "also bound to %s in mnt:[%llu], outside the set",
	             e->point, (unsigned long long)m->outside.namespaces[e->namespace].inode);
	error_object(&refusal, "%s", e->root);
	error_hint(&refusal, "umount %s", e->point);
	refuse(c, NULL, &refusal);
}

/* nobody can say what it shares with the container */
static void refuse_unseen(struct checkpoint *c, uint64_t inode)
{
	struct error refusal;

	error_refuse(
		&refusal, CODE_mount_hidden,
		"this mount namespace outside the container cannot be seen completely: what it "
		"shares with it is not known");
	error_object(&refusal, "mnt:[%llu]", (unsigned long long)inode);
	error_hint(&refusal,
	           "try again; end its processes; or if it may share something: --subtree");
	refuse(c, NULL, &refusal);
}

static int judge_mounts(struct checkpoint *c, struct mounts *m, struct error *err)
{
	_cleanup_(free_p) bool *seen = xcalloc(m->table.n_sbs + 1, sizeof(*seen));
	uint64_t unseen;

	m->outside.whole = checkpoint_is_container(c);
	int r = mount_scan(&m->outside, &m->table, &unseen, err);
	if (r < 0)
		return error_trace(err, r);
	if (unseen && checkpoint_is_container(c))
		refuse_unseen(c, unseen);
	for (size_t i = 0; r == 0 && i < m->table.n_mounts; i++) {
		struct mount_entry *e = &m->table.mounts[i];
		judge_peer(c, m, e);
		judge_master(c, m, e);
		if (!seen[e->sb])
			r = judge_sb(c, m, e, err);
		seen[e->sb] = true;
	}
	for (size_t i = 0; i < m->outside.n_mounts; i++)
		judge_bound(c, m, &m->outside.mounts[i]);
	return r < 0 ? error_trace(err, r) : 0;
}

static const struct task *task_in(const struct checkpoint *c, const struct object *ns)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (task_object(c->tasks[i], &mnt_ns_kind) == ns)
			return c->tasks[i];
	return NULL;
}

/* a namespace that something outside is in, has open, or has bound to a file */
static int judge_users(struct checkpoint *c, const struct mounts *m, const struct object *object,
                       struct error *err)
{
	const struct mount_ns *ns = &m->table.namespaces[mounts_index(m, object)];
	_cleanup_(free_p) char *link = xasprintf("mnt:[%llu]", (unsigned long long)ns->inode);
	const struct holder *holder;
	int r = holders_find_namespace(c, link, &holder, err);

	if (r > 0)
		refuse_leak(c, task_in(c, object), link, NULL, holder);
	return r < 0 ? error_trace(err, r) : 0;
}

static void judge_owner(struct checkpoint *c, const struct mounts *m, const struct object *object)
{
	size_t line = mounts_index(m, object);
	_cleanup_(free_p) char *link =
		xasprintf("mnt:[%llu]", (unsigned long long)m->table.namespaces[line].inode);

	ns_judge_owner(c, task_in(c, object), link, m->owners[line]);
}

/* who has rights over a file system may be above the one that it belongs to */
static void note_owner(struct checkpoint *c, struct mount_sb *sb, const struct object *owner)
{
	const struct object *known = sb->owner ? objects_by_id(c->objects, (uint32_t)sb->owner)
	                                       : NULL;

	if (!known || user_ns_is_above(known, owner))
		sb->owner = owner->id;
}

/* what is locked in all of them, and which file systems belong to their owners */
static int find_locks(struct checkpoint *c, struct mounts *m, struct error *err)
{
	int r = 0;

	for (size_t line = 0; r == 0 && line < m->n_namespaces; line++) {
		const struct object *owner = m->owners[line];
		_cleanup_(free_p) bool *own = xcalloc(m->n_sbs + 1, sizeof(*own));
		if (!owner)
			continue;
		r = mount_find_locks(&m->table, line, m->nsfds[line],
		                     ((const struct ns *)owner->live)->fd, own, err);
		if (r < 0)
			mounts_blame(c, m, &m->table.mounts[m->table.namespaces[line].root], err);
		for (size_t i = 0; r == 0 && i < m->n_sbs; i++)
			if (own[i])
				note_owner(c, &m->table.sbs[i], owner);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int mounts_judge_bound(struct checkpoint *c, struct error *err)
{
	struct mounts *m = mounts_of_checkpoint(c);
	uint64_t unseen;

	if (m->n_namespaces || m->outside.n_namespaces)
		return 0;
	int r = mount_scan(&m->outside, &m->table, &unseen, err);
	for (size_t i = 0; r == 0 && i < m->outside.n_mounts; i++)
		judge_bound(c, m, &m->outside.mounts[i]);
	return r < 0 ? error_trace(err, r) : 0;
}

int mnt_ns_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);
	int r = mounts_classify(c, err);

	if (r == 0 && !m->outside.n_namespaces) {
		r = judge_mounts(c, m, err);
		if (r == 0)
			r = find_locks(c, m, err);
		if (r == 0)
			mounts_judge_stacks(c);
	}
	if (r == 0)
		r = judge_users(c, m, object, err);
	judge_owner(c, m, object);
	return r < 0 ? error_trace(err, r) : 0;
}
