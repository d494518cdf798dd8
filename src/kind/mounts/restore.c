/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: superblocks first, each filled when its turn comes, then all mounts at once; what needs
 * a pid namespace that only tasks make, when they have been cloned.
 */
#include <stdlib.h>
#include <string.h>

#include "core/restart.h"
#include "kind/cgroup_tree.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/superblock.h"
#include "kind/tty.h"
#include "kind/user_ns.h"
#include "mnt_ns.pb-c.h"
#include "mount/build.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void refer_lines(struct object **objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		objects[i]->live = (void *)(uintptr_t)(i + 1);
}

static int *all_unknown(size_t n)
{
	int *fds = xmalloc((n + 1) * sizeof(*fds));

	memset(fds, 0xff, (n + 1) * sizeof(*fds));
	return fds;
}

int mounts_of_restart(struct restart *r, struct mounts **ret, struct error *err)
{
	int e = 0;

	*ret = mounts_kept(r->kept);
	if (!*ret) {
		struct mounts *m;
		e = mounts_from_objects(r->objects, &m, err);
		if (e < 0)
			return error_trace(err, e);
		*ret = kept_add(&r->kept, &mounts_kept_type, m);
		refer_lines(m->namespaces, m->n_namespaces);
		refer_lines(m->mounts, m->n_mounts);
		refer_lines(m->sbs, m->n_sbs);
		m->key_fds = all_unknown(m->n_sbs);
		m->idmap_fds = all_unknown(m->n_mounts);
		m->owner_fds = all_unknown(m->n_namespaces);
		m->sb_owner_fds = all_unknown(m->n_sbs);
		m->sb_options = xcalloc(m->n_sbs + 1, sizeof(*m->sb_options));
		m->again = xcalloc(m->n_sbs + 1, sizeof(*m->again));
		e = mounts_find_anchors(r, m, err);
		mounts_find_bound(m);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

int superblock_preflight(struct restart *r, struct object *object, struct error *err)
{
	struct mounts *m;
	int e = mounts_of_restart(r, &m, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static void refuse_terminal(struct restart *r, const struct mount_entry *e)
{
	struct error refusal;

	error_refuse(&refusal, CODE_mount_terminal,
	             "it shows terminal %s of a devpts of the set, which is not made without a "
	             "terminal to restart on",
	             e->root + 1);
	mount_error(&refusal, &mounts_kept(r->kept)->table, e);
	error_hint(&refusal, "restart in the foreground on a terminal, without --external for it; "
	                     "or --external NAME=PATH of a socket that takes its master");
	restart_refuse(r, &refusal);
}

int mount_preflight(struct restart *r, struct object *object, struct error *err)
{
	struct mounts *m;
	int e = mounts_of_restart(r, &m, err);

	if (e < 0)
		return error_trace(err, e);
	const struct mount_entry *entry = &m->table.mounts[mounts_index(m, object)];
	if (mount_is_terminal(&m->table.sbs[entry->sb], entry) &&
	    !tty_is_made(r, m->sbs[entry->sb]->id, (unsigned)strtoul(entry->root + 1, NULL, 10)))
		refuse_terminal(r, entry);
	return 0;
}

/* those that are there; -1: not before tasks are */
static void open_keys(struct restart *r, struct mounts *m)
{
	for (size_t i = 0; i < m->n_sbs; i++)
		if (m->table.sbs[i].key && m->key_fds[i] < 0)
			m->key_fds[i] = mounts_key_fd(r, (uint32_t)m->table.sbs[i].key);
}

/* uid=100000 to us is uid=0 to the user namespace that mounts it */
static int name_option(const struct user_ns_data *ns, const char *option, char **ret,
                       struct error *err)
{
	bool user = !strncmp(option, "uid=", 4), group = !strncmp(option, "gid=", 4);

	*ret = NULL;
	if (!user && !group) {
		*ret = xstrdup(option);
		return 0;
	}
	uint32_t id = id_map_inside(user ? &ns->uid : &ns->gid,
	                            (uint32_t)strtoul(option + 4, NULL, 10));
	if (id == ID_NONE)
		return error_refuse(err, CODE_user_ns_ids,
		                    "a file system has the option %s, an id that its user "
		                    "namespace has no name for",
		                    option);
	*ret = xasprintf("%.4s%u", option, id);
	return 0;
}

static int find_owners(struct restart *r, struct mounts *m, struct error *err)
{
	int e = 0;

	for (size_t i = 0; i < m->n_namespaces; i++)
		m->owner_fds[i] = user_ns_fd(r, object_state(m->namespaces[i], MntNsState)->owner);
	for (size_t i = 0; e == 0 && i < m->n_sbs; i++) {
		const struct mount_sb *sb = &m->table.sbs[i];
		m->sb_owner_fds[i] = user_ns_fd(r, (uint32_t)sb->owner);
		if (!sb->owner)
			continue;
		m->sb_options[i] = xcalloc(sb->n_options + 1, sizeof(char *));
		for (size_t k = 0; e == 0 && k < sb->n_options; k++)
			e = name_option(user_ns_find(r->objects, (uint32_t)sb->owner),
			                sb->options[k], &m->sb_options[i][k], err);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

static int start_build(struct mounts *m, struct error *err)
{
	const struct mount_input in = { .table = &m->table,
		                        .anchors = m->anchors,
		                        .n_anchors = m->n_anchors,
		                        .groups = m->groups,
		                        .n_groups = m->n_groups,
		                        .key_fds = m->key_fds,
		                        .idmap_fds = m->idmap_fds,
		                        .owner_fds = m->owner_fds,
		                        .sb_owner_fds = m->sb_owner_fds,
		                        .sb_options = m->sb_options };

	m->build = mount_build_new(&in);
	int r = mount_build_superblocks(m->build, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* the set's own cgroups may have other names here; those are there by now */
static void move_cgroups(struct restart *r, struct mounts *m)
{
	for (size_t i = 0; i < m->n_mounts; i++) {
		struct mount_entry *e = &m->table.mounts[i];
		const struct mount_sb *sb = &m->table.sbs[e->sb];
		char *root = cgroup_tree_mount_root(r->objects, sb->type, sb->options,
		                                    sb->n_options, e->root);
		if (!root)
			continue;
		free(e->root);
		e->root = root;
	}
}

int superblock_restore(struct restart *r, struct object *object, struct error *err)
{
	struct mounts *m;
	int e = mounts_of_restart(r, &m, err);

	if (e == 0 && !m->build) {
		move_cgroups(r, m);
		open_keys(r, m);
		e = mounts_open_bound(r, m, false, err);
		if (e == 0)
			e = mounts_make_idmaps(m, err);
		if (e == 0)
			e = find_owners(r, m, err);
		if (e == 0)
			e = start_build(m, err);
	}
	if (e == 0)
		e = superblock_fill(r, m, object, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int mount_restore(struct restart *r, struct object *object, struct error *err)
{
	struct mounts *m;
	int e = mounts_of_restart(r, &m, err);

	if (e < 0 || m->have_mounts)
		return e;
	m->have_mounts = true;
	e = mounts_open_bound(r, m, false, err);
	if (e == 0)
		e = mount_build_mounts(m->build, err);
	return e < 0 ? error_trace(err, e) : 0;
}

bool mnt_ns_waits(struct restart *r, const struct object *object, uint32_t pid_ns)
{
	const struct mounts *m = mounts_kept(r->kept);
	const struct mount_table *t = &m->table;
	const struct mount_ns *ns = &t->namespaces[mounts_index(m, object)];

	for (size_t i = ns->first; i < ns->first + ns->n; i++)
		if (mount_is_locked(&t->mounts[i]) && mount_awaits(m, i) == pid_ns)
			return true;
	return false;
}

/* unless no pid namespace has begun since it was tried last */
static int make_more(struct restart *r, struct mounts *m, struct error *err)
{
	bool any = false;

	if (m->tried == r->n_begun + 1)
		return 0;
	m->tried = r->n_begun + 1;
	open_keys(r, m);
	int e = mounts_open_bound(r, m, false, err);
	if (e == 0)
		e = mount_build_more(m->build, &any, err);
	if (e == 0 && any)
		e = restart_go_on(r, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int mnt_ns_make(struct restart *r, const struct object *object, int *ret_fd, struct error *err)
{
	int e = 0;

	if (mnt_ns_fd(r, object) < 0)
		e = make_more(r, mounts_kept(r->kept), err);
	if (e < 0)
		return error_trace(err, e);
	*ret_fd = mnt_ns_fd(r, object);
	return *ret_fd < 0 ? ENTER_LATER : 0;
}

int mnt_ns_after_clone(struct restart *r, struct object *object, struct error *err)
{
	struct mounts *m = mounts_kept(r->kept);

	if (m->complete)
		return 0;
	m->complete = true;
	open_keys(r, m);
	int e = mounts_open_bound(r, m, true, err);
	if (e == 0)
		e = mount_build_late(m->build, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* deleted files have been made, sockets bound: nothing is going to be made any more */
int mnt_ns_finish(struct restart *r, struct object *object, struct error *err)
{
	struct mounts *m = mounts_kept(r->kept);

	if (m->finished)
		return 0;
	m->finished = true;
	int e = superblock_settle(r, m, err);
	if (e == 0)
		e = mount_build_finish(m->build, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- for others ---- */

int mount_fd(struct restart *r, const struct object *mount)
{
	const struct mounts *m = mounts_kept(r->kept);
	size_t line = mounts_index(m, mount);
	struct error ignored; /* mount_build_late() tells it */

	(void)mount_build_early(m->build, line, &ignored);
	return mount_build_mount(m->build, line);
}

uint32_t mount_owner(const struct restart *r, const struct object *mount)
{
	const struct mounts *m = mounts_kept(r->kept);

	return (uint32_t)m->table.sbs[m->table.mounts[mounts_index(m, mount)].sb].owner;
}

bool mount_is_new(const struct restart *r, const struct object *mount)
{
	const struct mounts *m = mounts_kept(r->kept);

	return mount_build_is_new(m->build, mounts_index(m, mount));
}

bool mount_covers(const struct restart *r, const struct object *mount, const char *path)
{
	const struct mounts *m = mounts_kept(r->kept);

	return mount_table_covers(&m->table, mounts_index(m, mount), path);
}

int mount_open(struct restart *r, const struct object *mount, const char *path, uint32_t flags)
{
	int fd = mount_fd(r, mount);

	if (fd < 0) {
		errno = ENOENT;
		return -1;
	}
	return mount_open_below(fd, path, flags);
}

int superblock_fd(const struct restart *r, const struct object *object)
{
	const struct mounts *m = mounts_kept(r->kept);

	return mount_build_sb(m->build, mounts_index(m, object));
}

int mnt_ns_fd(struct restart *r, const struct object *object)
{
	const struct mounts *m = mounts_kept(r->kept);

	return mount_build_ns(m->build, mounts_index(m, object));
}
