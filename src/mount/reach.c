/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Getting at a mount of another namespace. See reach.h. What is covered cannot be named there; so
 * the namespace is copied, and in the copy the covers are taken off. Not before it is certain that
 * what they are on in the copy is in no peer group any more: they would be unmounted in the
 * original, too.
 */
#include "mount/reach.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct reach {
	const struct mount_table *t;
	size_t mount;
	const struct mount_entry *m;
	int nsfd;
	int proc; /* the host's: the namespace may have none */
	int own;  /* the copy, to enter it anew when its root has changed */
	int top;  /* what was found in it */
};

static int refuse_unreachable(const struct reach *reach, const char *why, struct error *err)
{
	error_refuse(err, CODE_mount_unreachable, "it cannot be reached: %s", why);
	mount_error(err, reach->t, reach->m);
	return -EOPNOTSUPP;
}

static int clone_private(int fd, unsigned recursive)
{
	struct mount_attr private = { .propagation = MS_PRIVATE };
	int clone = open_tree(fd, "",
	                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);

	/*
	 * At once, before anything is done with it: a clone of a shared mount is its peer, and what
	 * is mounted on one appears on the other.
	 */
	if (clone >= 0 &&
	    mount_setattr(clone, "", AT_EMPTY_PATH | recursive, &private, sizeof(private)) < 0)
		close_p(&clone);
	return clone;
}

int mount_clone(int fd)
{
	return clone_private(fd, 0);
}

int mount_clone_tree(int fd)
{
	return clone_private(fd, AT_RECURSIVE);
}

/* so that to look at it changes nothing; where noatime is locked, it is for others, too */
static int clone_to_read(int fd)
{
	struct mount_attr noatime = { .attr_set = MOUNT_ATTR_NOATIME,
		                      .attr_clr = MOUNT_ATTR__ATIME };
	int clone = mount_clone(fd);

	if (clone >= 0)
		mount_setattr(clone, "", AT_EMPTY_PATH, &noatime, sizeof(noatime));
	return clone;
}

/* the mount on top at a path */
static int open_top(const char *path)
{
	return open_tree(AT_FDCWD, path, OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW);
}

/* -1: it is not on top, or may not be cloned */
static int clone_top(const struct mount_entry *m)
{
	_cleanup_(close_p) int fd = open_top(m->point);

	return fd < 0 || mount_id_of(fd) != m->id ? -1 : clone_to_read(fd);
}

/* 0: it is not on top */
static int open_in_place(const struct mount_entry *m)
{
	_cleanup_(close_p) int fd = open_top(m->point);

	return fd < 0 || mount_id_of(fd) != m->id ? 0 : take_fd(&fd);
}

/* 0: it is not on top, or may not be cloned */
static int reach_directly(void *arg, struct error *err)
{
	const struct reach *reach = arg;

	if (namespace_enter(reach->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	int clone = clone_top(reach->m);
	return clone < 0 ? 0 : clone;
}

/* 0: it is not on top */
static int reach_in_place(void *arg, struct error *err)
{
	const struct reach *reach = arg;

	if (namespace_enter(reach->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	return open_in_place(reach->m);
}

/* ---- in a copy ---- */

static bool is_copy_of(const struct mount_table *copy, uint64_t id, const struct reach *reach)
{
	size_t i = mount_table_find(copy, id);
	const struct mount_sb *sb = &reach->t->sbs[reach->m->sb];

	return i != MOUNT_NONE && !strcmp(copy->mounts[i].root, reach->m->root) &&
	       copy->sbs[copy->mounts[i].sb].major == sb->major &&
	       copy->sbs[copy->mounts[i].sb].minor == sb->minor;
}

static bool is_below(const struct mount_table *t, size_t mount, size_t top)
{
	while (mount != MOUNT_NONE && mount != top)
		mount = t->mounts[mount].parent;
	return mount == top;
}

/* whether what covers "/" stays, since what is wanted is not below that */
static bool is_in_sight(const struct reach *reach)
{
	const struct mount_table *t = reach->t;

	return is_below(t, reach->mount,
	                mount_table_top(t, t->namespaces[reach->m->namespace].root));
}

/*
 * From outside of the copy: who is in it does not see below what covers "/". @id: the mount that
 * must be the copy of the one that is wanted; 0: just see that nothing is shared that covers are
 * taken off from.
 */
static int look_at_copy(const struct reach *reach, uint64_t id, struct error *err)
{
	_cleanup_(mount_table_done) struct mount_table copy = { 0 };
	int r = mount_table_add(&copy, reach->own, 0, NULL, err);
	size_t root = r < 0 ? 0 : copy.namespaces[0].root;
	size_t top = r == 0 && is_in_sight(reach) ? mount_table_top(&copy, root) : root;

	for (size_t i = 0; r == 0 && i < copy.n_mounts; i++)
		if ((copy.mounts[i].peer_group || copy.mounts[i].master) && is_below(&copy, i, top))
			r = refuse_unreachable(reach, "what covers it is shared with others", err);
	if (r == 0 && id && !is_copy_of(&copy, id, reach))
		r = refuse_unreachable(reach, "another mount covers it", err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* a root directory below covers of "/" that a task has kept: -1 none. Enters nothing. */
static int open_member_root(const struct reach *reach)
{
	pid_t member = reach->t->namespaces[reach->m->namespace].member;
	_cleanup_(free_p) char *path = xasprintf("%d/root", member);

	return member ? openat(reach->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* not as ourselves: in what another user namespace copies all mounts are locked */
static int copy_as_owner(const struct reach *reach, struct error *err)
{
	prctl(PR_SET_DUMPABLE, 0);
	if (namespace_enter_owner(reach->nsfd) < 0)
		return error_raise(err, errno, "enter the owner of a mount namespace");
	if (unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "copy a mount namespace");
	return 0;
}

/* a helper's, since into a user namespace there is no way back */
static int make_copy(void *arg, struct error *err)
{
	struct mount_attr private = { .propagation = MS_PRIVATE };
	const struct reach *reach = arg;
	_cleanup_(close_p) int root = open_member_root(reach);

	if (namespace_enter(reach->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	if (root >= 0 && fchdir(root) < 0)
		return error_raise(err, errno, "enter a task's root directory");
	/* the working directory is carried over to the same place in the copy */
	int r = copy_as_owner(reach, err);
	if (r < 0)
		return error_trace(err, r);
	/* EINVAL: the task's root is no mount's; look_at_copy() tells whether that matters */
	if ((root >= 0 &&
	     mount_setattr(AT_FDCWD, ".", AT_RECURSIVE, &private, sizeof(private)) < 0 &&
	     errno != EINVAL) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_raise(err, errno, "make the copy of a mount namespace private");
	int own = openat(reach->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return own < 0 ? error_raise(err, errno, "keep the copy of a mount namespace") : own;
}

static int take_off(const struct reach *reach, const char *point, size_t n, struct error *err)
{
	for (; n; n--) {
		if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return refuse_unreachable(reach, "what covers it is locked", err);
		if (!strcmp(point, "/") && setns(reach->own, CLONE_NEWNS) < 0)
			return error_raise(err, errno, "enter the copy of a mount namespace again");
	}
	return 0;
}

/* how many are stacked on its root */
static size_t count_covers(const struct mount_table *t, size_t mount)
{
	size_t n = 0;

	while ((mount = mount_table_cover(t, mount)) != MOUNT_NONE)
		n++;
	return n;
}

static bool is_above(const char *rel, const char *other)
{
	size_t size = strlen(rel);

	return !strncmp(rel, other, size) && other[size] == '/';
}

/*
 * Its siblings that are mounted on a directory above it. When the parent's root is free, the first
 * of them on the way is what a path leads into; those below it are then free, too, or gone.
 */
static int take_off_siblings(const struct reach *reach, const struct mount_entry *m,
                             struct error *err)
{
	const struct mount_ns *ns = &reach->t->namespaces[m->namespace];
	int r = 0;

	for (size_t done = 0; r == 0 && m->parent != MOUNT_NONE && done < strlen(m->rel);) {
		size_t first = MOUNT_NONE, size = SIZE_MAX;
		for (size_t i = ns->first; i < ns->first + ns->n; i++) {
			const struct mount_entry *s = &reach->t->mounts[i];
			size_t length = strlen(s->rel);
			if (s->parent == m->parent && is_above(s->rel, m->rel) && length > done &&
			    length < size) {
				first = i;
				size = length;
			}
		}
		if (first == MOUNT_NONE)
			break;
		r = take_off(reach, reach->t->mounts[first].point,
		             1 + count_covers(reach->t, first), err);
		done = size;
	}
	return r;
}

/* ancestors first, each made free on its root and on the way to the next */
static int dig(const struct reach *reach, size_t mount, struct error *err)
{
	size_t *chain = NULL, n = 0;
	int r = 0;

	for (size_t i = mount; i != MOUNT_NONE; i = reach->t->mounts[i].parent)
		*array_push(chain, n) = i;
	while (r == 0 && n--) {
		const struct mount_entry *m = &reach->t->mounts[chain[n]];
		/* one that is on its parent's root is what is stacked there: it stays */
		bool stays = n && !*reach->t->mounts[chain[n - 1]].rel;
		r = take_off_siblings(reach, m, err);
		if (r == 0 && !stays)
			r = take_off(reach, m->point, count_covers(reach->t, chain[n]), err);
	}
	free(chain);
	return r;
}

static int enter_copy(const struct reach *reach, struct error *err)
{
	return namespace_enter(reach->own, CLONE_NEWNS) < 0
	               ? error_raise(err, errno, "enter the copy of a mount namespace")
	               : 0;
}

/* returns what is found where the mount was */
static int dig_in_copy(void *arg, struct error *err)
{
	const struct reach *reach = arg;
	int r = enter_copy(reach, err);

	if (r == 0)
		r = dig(reach, reach->mount, err);
	if (r < 0)
		return error_trace(err, r);
	int fd = open_top(reach->m->point);
	return fd < 0 ? refuse_unreachable(reach, "another mount covers it", err) : fd;
}

/* 0: mounts are locked to it; they, and no others, stay on it when the copy is gone */
static int clone_in_copy(void *arg, struct error *err)
{
	const struct reach *reach = arg;
	int r = enter_copy(reach, err), clone = r < 0 ? -1 : clone_to_read(reach->top);

	return r < 0 ? error_trace(err, r) : clone < 0 ? 0 : clone;
}

static int take_copy(struct reach *reach, struct error *err)
{
	_cleanup_(close_p) int top = -1;
	int r = look_at_copy(reach, 0, err);

	if (r == 0)
		reach->top = top = r = helper_run(dig_in_copy, reach, 0, err);
	if (r >= 0)
		r = look_at_copy(reach, mount_id_of(top), err);
	if (r == 0)
		r = helper_run(clone_in_copy, reach, 0, err);
	if (r < 0)
		return error_trace(err, r);
	return r ? r : take_fd(&top);
}

static int reach_by_copy(struct reach *reach, struct error *err)
{
	const struct mount_table *t = reach->t;

	/* mountinfo does not show what is below, so that nobody could see whether it is shared */
	if (!feature(FEATURE_statmount_ns) &&
	    count_covers(t, t->namespaces[reach->m->namespace].root))
		return refuse_unreachable(reach, "the root directory is covered", err);
	_cleanup_(close_p) int own = helper_run(make_copy, reach, 0, err);
	reach->own = own;
	return own < 0 ? error_trace(err, own) : take_copy(reach, err);
}

/* in our own namespace, where all is locked to us */
static int reach_own(const struct reach *reach, struct error *err)
{
	int fd = open_in_place(reach->m);

	return fd ? fd : refuse_unreachable(reach, "another mount covers it", err);
}

static int reach_other(struct reach *reach, struct error *err)
{
	int fd = helper_run_here(reach_directly, reach, err);

	if (fd == 0)
		fd = reach_by_copy(reach, err);
	/* mounts that are locked to it: it can be had as it is, with them */
	if (fd == -EOPNOTSUPP) {
		struct error ignored = ERROR_INIT;
		int shown = helper_run_here(reach_in_place, reach, &ignored);
		fd = shown > 0 ? shown : fd;
	}
	return fd;
}

int mount_reach(const struct mount_table *t, int nsfd, size_t mount, int *ret_fd, struct error *err)
{
	_cleanup_(close_p) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct reach reach = { t, mount, &t->mounts[mount], nsfd, proc, -1, -1 };
	bool own = namespace_is_own(nsfd, "mnt");
	int fd = own ? clone_top(reach.m) : -1; /* needs no helper */

	/* with rights over a user namespace of ours as well, if no more than what is locked is on
	 * it */
	if (fd < 0 && own && !features_initial_user_namespace()) {
		fd = open_in_place(reach.m);
		fd = fd ? fd : -1;
	}
	if (fd < 0)
		fd = own && !features_capability(CAP_SYS_ADMIN) ? reach_own(&reach, err)
		                                                : reach_other(&reach, err);
	if (fd < 0)
		return error_trace(err, fd);
	*ret_fd = fd;
	return 0;
}

/* ---- many, by one helper ---- */

struct many {
	const struct mount_table *t;
	int nsfd;
	size_t n;
	struct one {
		size_t mount;
		int fd;
	} items[];
};

static int reach_tops(void *arg, struct error *err)
{
	struct many *many = arg;

	if (namespace_enter(many->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	for (size_t i = 0; i < many->n; i++)
		many->items[i].fd = clone_top(&many->t->mounts[many->items[i].mount]);
	return 0;
}

int mount_reach_tops(const struct mount_table *t, int nsfd, const size_t *mounts, size_t n,
                     int *fds, struct error *err)
{
	size_t size = sizeof(struct many) + n * sizeof(struct one);
	_cleanup_(free_p) struct many *many = xcalloc(1, size);

	many->t = t;
	many->nsfd = nsfd;
	many->n = n;
	for (size_t i = 0; i < n; i++)
		many->items[i].mount = mounts[i];
	int r = n ? helper_run_here(reach_tops, many, err) : 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		fds[i] = many->items[i].fd;
	return r < 0 ? error_trace(err, r) : 0;
}
