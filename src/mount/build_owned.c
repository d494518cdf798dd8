/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces of other user namespaces. What is locked in them can only be made by the kernel, when
 * a namespace is copied into another user namespace: all mounts of the copy are locked to what they
 * are on, and attributes that are set then stay as they are. So what has such locks is put together
 * in an empty namespace of ours, each mount that is not locked at a place of its own with all that
 * is locked to it; the owner copies that; and from the copy the trees are taken to where they
 * belong: of a tree that is cloned the top is free, and the rest stays as it is. The copies at
 * those places go when the new root takes the place of the old one.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/helper.h"
#include "mount/build_parts.h"
#include "util/alloc.h"
#include "util/cleanup.h"

bool build_is_owned(const struct mount_build *b, size_t ns)
{
	return b->in.owner_fds && b->in.owner_fds[ns] >= 0;
}

bool build_is_copied(const struct mount_build *b, size_t mount)
{
	const struct mount_entry *m = &b->t->mounts[mount];

	return build_is_owned(b, m->namespace) && (m->locked || m->locked_attributes);
}

/*
 * What is late comes without a copy if nothing is locked but how access times are kept: a proc that
 * a user has mounted; see lost.def.
 */
bool build_is_inherited(const struct mount_build *b, size_t mount)
{
	const struct mount_entry *m = &b->t->mounts[mount];

	return build_is_copied(b, mount) && (!b->late[mount] || mount_is_locked(m));
}

bool build_comes_last(const struct mount_build *b, size_t mount)
{
	return b->late[mount] && !build_is_inherited(b, mount);
}

uint64_t build_early_attributes(const struct mount_build *b, size_t mount)
{
	const struct mount_entry *m = &b->t->mounts[mount];

	return m->attributes &
	       (build_is_inherited(b, mount) ? m->locked_attributes : MOUNT_ATTRIBUTES);
}

bool build_early_unbindable(const struct mount_build *b, size_t mount)
{
	return b->t->mounts[mount].unbindable && !build_is_inherited(b, mount);
}

/* one that is not locked itself, with all that is locked to it */
static bool is_top(const struct mount_build *b, size_t mount)
{
	return build_is_inherited(b, mount) && !b->t->mounts[mount].locked;
}

/* the mount that is locked on the root of @mount; @tree: of those that a clone has brought along */
static size_t locked_on_root(const struct mount_build *b, size_t mount, bool tree)
{
	size_t over = mount_table_cover(b->t, mount);

	return over != MOUNT_NONE && b->t->mounts[over].locked && (b->tree[over] || !tree)
	               ? over
	               : MOUNT_NONE;
}

struct owned {
	struct mount_build *b;
	size_t ns;
	int before; /* the namespace as it was before it was copied */
};

static char *place_of(size_t mount)
{
	return xasprintf("/of-%zu", mount);
}

/* ---- put together, in a namespace of ours ---- */

static int put_at_place(const struct mount_build *b, size_t mount, struct error *err)
{
	_cleanup_(free_p) char *name = place_of(mount);
	struct stat st;

	if (fstat(b->mount[mount], &st) < 0)
		return error_raise(err, errno, "look at what is to be mounted");
	if (S_ISDIR(st.st_mode) ? mkdir(name, 0700) : mknod(name, S_IFREG | 0600, 0))
		return error_raise(err, errno, "make a place to mount on");
	if (move_mount(b->mount[mount], "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_raise(err, errno, "mount what is to be copied");
	return 0;
}

/* what is locked to a top that is in place, from there down to @mount */
static int attach_locked(const struct mount_build *b, size_t mount, struct error *err)
{
	size_t *chain = NULL, n = 0;
	int r = 0;

	for (; b->t->mounts[mount].locked && b->place[mount] >= 0;
	     mount = b->t->mounts[mount].parent)
		*array_push(chain, n) = mount;
	while (r == 0 && n)
		r = build_attach_one(b, chain[--n], err);
	free(chain);
	return r;
}

static int put_together(void *arg, struct error *err)
{
	const struct owned *o = arg;
	const struct mount_ns *ns = &o->b->t->namespaces[o->ns];
	int r = build_enter(o->b->ns[o->ns], err);

	for (size_t i = ns->first; r == 0 && i < ns->first + ns->n; i++)
		if (is_top(o->b, i))
			r = put_at_place(o->b, i, err);
	for (size_t i = ns->first; r == 0 && i < ns->first + ns->n; i++)
		r = attach_locked(o->b, i, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int copy(void *arg, struct error *err)
{
	struct owned *o = arg;
	struct mount_build *b = o->b;
	int r = build_enter(b->ns[o->ns], err);

	if (r < 0)
		return error_trace(err, r);
	if (setns(b->in.owner_fds[o->ns], CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "make a mount namespace in a user namespace");
	int fd = openat(b->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_raise(err, errno, "keep a mount namespace");
	close_p(&b->ns[o->ns]);
	b->ns[o->ns] = fd;
	return 0;
}

/* ---- taken from the copy ---- */

static int open_across(int fd, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		                           RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
}

/* the copy of a locked mount is found by its place; -1 for what another one covers there */
static void find_locked(const struct mount_build *b, size_t mount, bool tree)
{
	const struct mount_entry *m = &b->t->mounts[mount];
	size_t shown = mount;

	if (!*m->rel) /* found already, with what it is stacked on */
		return;
	close_p(&b->mount[mount]);
	for (size_t over = mount; (over = locked_on_root(b, over, tree)) != MOUNT_NONE;
	     shown = over)
		close_p(&b->mount[over]);
	if (b->mount[m->parent] >= 0 && !mount_is_hidden(b->t, m))
		b->mount[shown] = open_across(b->mount[m->parent], m->rel);
}

/* the same for what is stacked on one that is not: ".." of the root of a tree is its topmost */
static void find_stacked(const struct mount_build *b, size_t top)
{
	size_t shown = top;

	for (size_t over = top; (over = locked_on_root(b, over, false)) != MOUNT_NONE; shown = over)
		close_p(&b->mount[over]);
	if (shown != top)
		b->mount[shown] = openat(b->mount[top], "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* parents come first */
static int by_depth(const void *a, const void *b, void *arg)
{
	const struct mount_table *t = arg;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	int depth = 0;

	for (size_t i = x; i != MOUNT_NONE; i = t->mounts[i].parent)
		depth++;
	for (size_t i = y; i != MOUNT_NONE; i = t->mounts[i].parent)
		depth--;
	return depth ? depth : (x > y) - (x < y);
}

void build_find_trees(const struct mount_build *b)
{
	size_t *lines = NULL, n = 0;

	for (size_t i = 0; i < b->t->n_mounts; i++)
		if (b->tree[i] && b->turn[b->t->mounts[i].namespace])
			*array_push(lines, n) = i;
	if (n)
		qsort_r(lines, n, sizeof(*lines), by_depth, (void *)b->t);
	for (size_t i = 0; i < n; i++)
		find_locked(b, lines[i], true);
	free(lines);
}

static void find_all_locked(const struct owned *o)
{
	const struct mount_table *t = o->b->t;
	const struct mount_ns *ns = &t->namespaces[o->ns];
	size_t *lines = NULL, n = 0;

	for (size_t i = ns->first; i < ns->first + ns->n; i++)
		if (is_top(o->b, i))
			find_stacked(o->b, i);
		else if (t->mounts[i].locked)
			*array_push(lines, n) = i;
	if (n)
		qsort_r(lines, n, sizeof(*lines), by_depth, (void *)t);
	for (size_t i = 0; i < n; i++)
		find_locked(o->b, lines[i], false);
	free(lines);
}

struct stacked {
	const struct owned *o;
	size_t top;
};

/*
 * A path would lead to what is locked on its root. The working directory is carried over to the
 * same place in a copy: so it gets one of its own.
 */
static int take_stacked(void *arg, struct error *err)
{
	const struct stacked *s = arg;
	const struct mount_build *b = s->o->b;
	int *fd = &b->mount[s->top], r = build_enter(s->o->before, err);

	if (r < 0)
		return error_trace(err, r);
	if (fchdir(*fd) < 0 || setns(b->in.owner_fds[s->o->ns], CLONE_NEWUSER) < 0 ||
	    unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "copy a mount that is covered");
	close_p(fd);
	*fd = open_tree(AT_FDCWD, "",
	                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
	return *fd < 0 ? error_raise(err, errno, "take a tree of mounts") : 0;
}

static int take_tree(const struct owned *o, size_t top, struct error *err)
{
	const struct mount_build *b = o->b;
	_cleanup_(free_p) char *name = place_of(top);
	int r = 0;

	if (locked_on_root(b, top, false) != MOUNT_NONE) {
		struct stacked s = { o, top };
		r = helper_run_here(take_stacked, &s, err);
	} else {
		close_p(&b->mount[top]);
		b->mount[top] = open_tree(AT_FDCWD, name,
		                          OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE |
		                                  AT_SYMLINK_NOFOLLOW);
		if (b->mount[top] < 0)
			r = error_raise(err, errno, "take a tree of mounts");
	}
	return r < 0 ? build_context(b, top, err, r) : 0;
}

/*
 * All that is attached is made now, in its order, which is that of mountinfo: trees in the copy,
 * the rest in the yard once more, where the clones so far only served to find places.
 */
static int take_in_order(const struct owned *o, struct error *err)
{
	const struct mount_build *b = o->b;
	const struct mount_ns *ns = &b->t->namespaces[o->ns];
	int at = -1, r = 0;

	for (size_t i = ns->first; r == 0 && i < ns->first + ns->n; i++) {
		int home = build_is_inherited(b, i) ? b->ns[o->ns] : *b->yard;
		if (build_comes_last(b, i) || (build_is_inherited(b, i) && !is_top(b, i)))
			continue;
		if (at != home)
			r = build_enter(home, err);
		at = home;
		if (r == 0 && is_top(b, i)) {
			r = take_tree(o, i, err);
		} else if (r == 0) {
			close_p(&b->mount[i]);
			r = build_clone(b, i, err);
		}
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* where the rest comes: in what has been made now */
static int find_places(const struct mount_build *b, const struct mount_ns *ns, struct error *err)
{
	int r = 0;

	for (size_t i = ns->first; r == 0 && i < ns->first + ns->n; i++) {
		if (b->place[i] < 0)
			continue;
		close_p(&b->place[i]);
		r = build_open_place(b, i, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static int take_all(void *arg, struct error *err)
{
	const struct owned *o = arg;
	const struct mount_build *b = o->b;
	const struct mount_ns *ns = &b->t->namespaces[o->ns];
	int r = take_in_order(o, err);

	if (r == 0)
		r = build_enter(b->ns[o->ns], err);
	if (r == 0)
		find_all_locked(o);
	if (r == 0)
		r = find_places(b, ns, err);
	if (r == 0)
		r = build_attach_root(b, o->ns, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int build_owned(struct mount_build *b, size_t ns, struct error *err)
{
	struct owned o = { b, ns, fcntl(b->ns[ns], F_DUPFD_CLOEXEC, 3) };
	int r = o.before < 0 ? error_raise(err, errno, "keep a mount namespace") : 0;

	if (r == 0)
		r = helper_run(put_together, &o, sizeof(o), err);
	if (r == 0)
		r = helper_run(copy, &o, sizeof(o), err);
	if (r == 0)
		r = helper_run(take_all, &o, sizeof(o), err);
	close_p(&o.before);
	return r < 0 ? error_trace(err, r) : 0;
}

/* what is not locked of its attributes */
static int set_late_attributes(const struct mount_build *b, size_t mount, struct error *err)
{
	const struct mount_entry *m = &b->t->mounts[mount];
	struct mount_attr attr = {
		.attr_set = m->attributes & MOUNT_ATTRIBUTES & ~build_early_attributes(b, mount) &
		            ~(MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME),
		.propagation = m->unbindable ? MS_UNBINDABLE : 0,
	};

	if (!attr.attr_set && !attr.propagation)
		return 0;
	if (b->mount[mount] < 0)
		return build_context(b, mount, err,
		                     error_refuse(err, CODE_mount_lock_shape,
		                                  "it is locked, and covered by what is"));
	if (mount_setattr(b->mount[mount], "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return build_context(b, mount, err,
		                     error_raise(err, errno, "set the attributes of a mount"));
	return 0;
}

int build_finish_owned(const struct mount_build *b, size_t ns, struct error *err)
{
	const struct mount_ns *n = &b->t->namespaces[ns];
	int r = 0;

	for (size_t i = n->first; r == 0 && i < n->first + n->n; i++)
		if (build_is_inherited(b, i))
			r = set_late_attributes(b, i, err);
	return r < 0 ? error_trace(err, r) : 0;
}
