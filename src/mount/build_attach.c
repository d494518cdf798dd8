/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mounts themselves. Each is cloned, detached, with its attributes; the places for its children
 * are opened while it has none, so that nothing covers them; when all are there, also those that
 * had to wait for a pid namespace, they are attached. A descriptor names (mount, directory):
 * neither covers nor chains nor siblings need an order.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mount/build_parts.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"

int mount_open_below(int fd, const char *path, uint32_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
		                .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS |
		                           RESOLVE_NO_MAGICLINKS };
	char link[40];

	if (*path)
		return (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
	if (flags & O_PATH)
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* may be a file */
	return open(link, (int)flags | O_CLOEXEC);
}

int build_open_below(int fd, const char *path)
{
	return mount_open_below(fd, path, O_PATH | O_NOFOLLOW);
}

/* ---- P6 ---- */

static int set_attributes(const struct mount_build *b, size_t mount, struct error *err)
{
	const struct mount_entry *m = &b->t->mounts[mount];
	struct mount_attr attr = {
		.attr_set = build_early_attributes(b, mount),
		.attr_clr = MOUNT_ATTRIBUTES,
		.propagation = build_early_unbindable(b, mount) ? MS_UNBINDABLE : MS_PRIVATE,
	};

	if (mount_setattr(b->mount[mount], "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		return 0;
	if (errno != EPERM)
		return error_raise(err, errno, "set the attributes %llx of a mount",
		                   (unsigned long long)m->attributes);
	error_refuse(err, CODE_capability,
	             "CAP_SYS_ADMIN is needed to change the attributes that it has here: to %llx",
	             (unsigned long long)m->attributes);
	error_hint(err, "mount it here as it was, or run stasis as root");
	return -EOPNOTSUPP;
}

int build_clone_plain(const struct mount_build *b, size_t mount, int *ret_fd, struct error *err)
{
	const struct mount_entry *m = &b->t->mounts[mount];
	const struct mount_origin *o = &b->origins[b->origin_of[mount]];
	const char *path = mount_below(m->root, o->anchor ? o->anchor->root : "/");
	const char *ghosts = b->ghosts[m->sb].name;
	_cleanup_(free_p) char *ghost = m->deleted
	                                        ? xasprintf("%s/%u", ghosts ? ghosts : "", m->ghost)
	                                        : NULL;
	_cleanup_(close_p) int fd = path ? build_open_below(b->origin[b->origin_of[mount]],
	                                                    ghost ? ghost : path)
	                                 : (errno = EBADMSG, -1);

	if (fd < 0)
		return build_context(b, mount, err,
		                     error_raise(err, errno, "find what it is to show"));
	*ret_fd = o->anchor && o->anchor->tree_of ? mount_clone_tree(fd) : mount_clone(fd);
	if (*ret_fd < 0)
		return build_context(b, mount, err, error_raise(err, errno, "clone a mount"));
	return 0;
}

/* a clone of an idmapped mount of the host is idmapped already, and cannot be again */
static int set_idmap(const struct mount_build *b, size_t mount, struct error *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	int fd = b->in.idmap_fds ? b->in.idmap_fds[mount] : -1;

	if (fd < 0)
		return 0;
	attr.userns_fd = (uint64_t)fd;
	if (mount_setattr(b->mount[mount], "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0 ||
	    (errno == EPERM && b->origins[b->origin_of[mount]].anchor))
		return 0;
	return error_raise(err, errno, "map the ids of a mount");
}

int build_clone(const struct mount_build *b, size_t mount, struct error *err)
{
	int r = build_clone_plain(b, mount, &b->mount[mount], err);

	if (r < 0)
		return r;
	r = set_idmap(b, mount, err);
	if (r == 0)
		r = set_attributes(b, mount, err);
	return r < 0 ? build_context(b, mount, err, r) : 0;
}

/* ---- P7, P8: where each is mounted ---- */

int build_open_place(const struct mount_build *b, size_t mount, struct error *err)
{
	const struct mount_entry *m = &b->t->mounts[mount];

	b->place[mount] = build_open_below(b->mount[m->parent], m->rel);
	if (b->place[mount] >= 0)
		return 0;
	if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != EXDEV)
		return build_context(
			b, mount, err,
			error_raise(err, errno, "open the place that it is mounted on"));
	error_refuse(err, CODE_mount_point_missing,
	             "the directory or file that it is mounted on is missing");
	error_hint(err, "the file system below is not what it was: put it back as it was");
	return build_context(b, mount, err, -EOPNOTSUPP);
}

/* whether it is cloned now: with its namespace, or last of all */
static bool is_due(const struct mount_build *b, size_t mount, bool last)
{
	return build_comes_last(b, mount) == last &&
	       (last || b->turn[b->t->mounts[mount].namespace]);
}

/* those of mounts that have just been cloned; nothing covers them, since nothing is attached yet */
static int open_places(const struct mount_build *b, bool last, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->t->n_mounts; i++) {
		size_t parent = b->t->mounts[i].parent;
		if (parent != MOUNT_NONE && is_due(b, parent, last) && !b->tree[i])
			r = build_open_place(b, i, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* STATX_TYPE is known to every inode: no server is asked, which may not answer */
static bool is_directory(int fd)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
	       S_ISDIR(st.stx_mode);
}

int build_attach_one(const struct mount_build *b, size_t mount, struct error *err)
{
	if (move_mount(b->mount[mount], "", b->place[mount], "",
	               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
		int e = errno;
		bool directory = is_directory(b->mount[mount]);
		if (directory == is_directory(b->place[mount]))
			return build_context(b, mount, err, error_raise(err, e, "attach a mount"));
		error_refuse(err, CODE_mount_point_missing,
		             directory ? "what it is mounted on is not a directory any more"
		                       : "what it is mounted on has become a directory");
		error_hint(err, "the file system below is not what it was: put it back as it was");
		return build_context(b, mount, err, -EOPNOTSUPP);
	}
	close_p(&b->place[mount]); /* says that it is attached, too */
	return 0;
}

/* what it is on first, from the one that is attached already down to itself */
static int attach_chain(const struct mount_build *b, size_t mount, struct error *err)
{
	size_t *chain = NULL, n = 0;
	int r = 0;

	for (; mount != MOUNT_NONE && b->place[mount] >= 0; mount = b->t->mounts[mount].parent)
		*array_push(chain, n) = mount;
	while (r == 0 && n)
		r = build_attach_one(b, chain[--n], err);
	free(chain);
	return r < 0 ? error_trace(err, r) : 0;
}

/* in the order of mountinfo, which before Linux 6.8 is that of attaching */
static int attach_below_root(const struct mount_build *b, const struct mount_ns *ns,
                             struct error *err)
{
	int r = 0;

	for (size_t i = ns->first; r == 0 && i < ns->first + ns->n; i++)
		r = attach_chain(b, i, err);
	return r;
}

int build_attach_root(const struct mount_build *b, size_t ns, struct error *err)
{
	size_t root = b->t->namespaces[ns].root;
	int fd = b->mount[root];

	if (move_mount(fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(fd) < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return build_context(b, root, err,
		                     error_raise(err, errno, "make it the root of a namespace"));
	return 0;
}

static int clone_all(const struct mount_build *b, bool last, struct error *err)
{
	int r = build_enter(*b->yard, err);

	for (size_t i = 0; r == 0 && i < b->t->n_mounts; i++)
		if (is_due(b, i, last) && b->mount[i] < 0 && !b->tree[i])
			r = build_clone(b, i, err);
	if (r == 0 && !last)
		build_find_trees(b);
	return r;
}

int build_attach_roots(void *build, struct error *err)
{
	struct mount_build *b = build;
	_cleanup_(free_p) size_t *order = build_order(b);

	build_stay_on_one_cpu(b);
	int r = clone_all(b, false, err);
	if (r == 0)
		r = open_places(b, false, err);
	for (size_t k = 0; r == 0 && k < b->t->n_namespaces; k++) {
		size_t i = order[k];
		if (!b->turn[i])
			continue;
		if (build_is_owned(b, i)) {
			r = build_owned(b, i, err);
			continue;
		}
		r = build_enter_new(b, i, err);
		if (r == 0)
			r = build_attach_root(b, i, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int build_attach(void *build, struct error *err)
{
	const struct mount_build *b = build;
	int r = clone_all(b, true, err);

	if (r == 0)
		r = open_places(b, true, err);
	for (size_t i = 0; r == 0 && i < b->t->n_namespaces; i++) {
		r = build_enter(b->ns[i], err);
		if (r == 0)
			r = attach_below_root(b, &b->t->namespaces[i], err);
		if (r == 0 && build_is_owned(b, i))
			r = build_finish_owned(b, i, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}
