/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The yard: a mount namespace of our own in which superblocks are attached while they are filled
 * and cloned; and the new namespaces, which start as copies of it while it is empty.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/features.h"
#include "host/helper.h"
#include "mount/build_parts.h"
#include "mount/superblock.h"
#include "util/alloc.h"
#include "util/cleanup.h"

int build_enter(int nsfd, struct error *err)
{
	struct rlimit limit;

	/* one for every mount; the helper's limit is what counts for descriptors that it opens */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (nsfd >= 0 && setns(nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace that is being built");
	return 0;
}

void build_stay_on_one_cpu(const struct mount_build *b)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (b->cpu >= 0 && b->cpu < CPU_SETSIZE) {
		CPU_SET(b->cpu, &set);
		sched_setaffinity(0, sizeof(set), &set);
	}
}

/* ---- P2, P3 ---- */

static int open_own_ns(const struct mount_build *b)
{
	return openat(b->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
}

/*
 * Outside of the initial user namespace the kernel makes a proc or sysfs only where one is mounted
 * already that shows all of it: what is mounted at @path is, with all that is on it.
 */
static int open_shown(const char *path)
{
	return features_initial_user_namespace()
	               ? -1
	               : open_tree(AT_FDCWD, path,
	                           OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

static void show(int root, const char *name, int tree)
{
	if (tree >= 0 && mkdirat(root, name, 0700) == 0)
		move_mount(tree, "", root, name, MOVE_MOUNT_F_EMPTY_PATH);
}

/* a namespace with nothing in it but an empty directory, and those */
static int make_yard(struct mount_build *b, struct error *err)
{
	static const struct mount_sb sb = { .type = (char *)"tmpfs", .class = MOUNT_CONTENT };
	_cleanup_(close_p) int root = -1;
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_raise(err, errno, "make a mount namespace");
	r = mount_superblock_make(&sb, "stasis-yard", -1, -1, &root, err);
	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int proc = open_shown("/proc");
	_cleanup_(close_p) int sys = open_shown("/sys");
	if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root) < 0)
		return error_raise(err, errno, "fill a mount namespace");
	show(root, "proc", proc);
	show(root, "sys", sys);
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return error_raise(err, errno, "empty a mount namespace");
	*b->yard = open_own_ns(b);
	return *b->yard < 0 ? error_raise(err, errno, "keep a mount namespace") : 0;
}

struct new_ns {
	struct mount_build *b;
	size_t ns;
};

/* ours at first, build_owned() */
static int make_ns(void *arg, struct error *err)
{
	const struct new_ns *n = arg;

	if (unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "make a mount namespace");
	n->b->ns[n->ns] = open_own_ns(n->b);
	return n->b->ns[n->ns] < 0 ? error_raise(err, errno, "keep a mount namespace") : 0;
}

/* whether one that is not in order yet has a file of it: that must be older */
static bool must_wait(const struct mount_build *b, const bool *ordered, size_t ns)
{
	for (size_t i = 0; i < b->t->n_mounts; i++)
		if (b->t->mounts[i].target == ns + 1 && !ordered[b->t->mounts[i].namespace] &&
		    b->t->mounts[i].namespace != ns)
			return true;
	return false;
}

/* if they wait for each other, they cannot have been like that, and the bind will fail */
size_t *build_order(const struct mount_build *b)
{
	size_t n = b->t->n_namespaces, done = 0, *order = xcalloc(n + 1, sizeof(*order));
	_cleanup_(free_p) bool *ordered = xcalloc(n + 1, sizeof(*ordered));

	for (bool progress = true; done < n;) {
		bool wait = progress;
		progress = false;
		for (size_t i = 0; i < n; i++) {
			if (ordered[i] || (wait && must_wait(b, ordered, i)))
				continue;
			order[done++] = i;
			progress = ordered[i] = true;
		}
	}
	return order;
}

static int make_all(struct mount_build *b, struct error *err)
{
	_cleanup_(free_p) size_t *order = build_order(b);
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->t->n_namespaces; i++) {
		struct new_ns n = { b, order[i] };
		r = helper_run_here(make_ns, &n, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* a file of it is in a namespace that has been made once more, and must be older */
static bool must_follow(const struct mount_build *b, size_t ns)
{
	for (size_t i = 0; i < b->t->n_mounts; i++)
		if (b->t->mounts[i].target == ns + 1 &&
		    build_is_owned(b, b->t->mounts[i].namespace))
			return true;
	return false;
}

int build_enter_new(struct mount_build *b, size_t ns, struct error *err)
{
	struct new_ns n = { b, ns };
	int r = build_enter(b->ns[ns], err);

	if (r < 0 || !must_follow(b, ns))
		return r;
	close_p(&b->ns[ns]);
	return make_ns(&n, err);
}

int build_yard(void *build, struct error *err)
{
	struct mount_build *b = build;
	int r;

	build_stay_on_one_cpu(b);
	r = build_enter(-1, err);
	if (r == 0)
		r = make_yard(b, err);
	return r == 0 ? make_all(b, err) : error_trace(err, r);
}

/* ---- P4 ---- */

/* a place of its own below the yard's root; what is a file is mounted on a file */
int build_attach_origin(const struct mount_build *b, size_t i, struct error *err)
{
	_cleanup_(free_p) char *name = xasprintf("/%zu", i);
	struct stat st;

	if (fstat(b->origin[i], &st) < 0)
		return error_raise(err, errno, "look at what is to be mounted");
	if (S_ISDIR(st.st_mode) ? mkdir(name, 0700) : mknod(name, S_IFREG | 0600, 0))
		return error_raise(err, errno, "make a place to mount on");
	if (move_mount(b->origin[i], "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_raise(err, errno, "mount in the yard");
	return 0;
}

static int make_origin(const struct mount_build *b, size_t i, struct error *err)
{
	const struct mount_origin *o = &b->origins[i];
	const struct mount_sb *sb = &b->t->sbs[o->sb];
	int key = b->in.key_fds ? b->in.key_fds[o->sb] : -1;
	int r = 0;

	if (!o->anchor && (sb->class == MOUNT_EXTERNAL || sb->class == MOUNT_SINGLETON))
		return error_refuse(err, CODE_mount_external_missing,
		                    "it is the host's, and the host has no mount of it");
	if (o->anchor) {
		b->origin[i] = fcntl(o->anchor->fd, F_DUPFD_CLOEXEC, 3);
		r = b->origin[i] < 0 ? error_raise(err, errno, "use a mount of the host") : 0;
	} else {
		if (sb->key && key < 0)
			return 0;
		struct mount_sb named = *sb;
		if (b->in.sb_options && b->in.sb_options[o->sb])
			named.options = b->in.sb_options[o->sb];
		r = mount_superblock_make(&named, o->source, key,
		                          b->in.sb_owner_fds ? b->in.sb_owner_fds[o->sb] : -1,
		                          &b->origin[i], err);
	}
	if (r == 0)
		r = build_attach_origin(b, i, err);
	return r;
}

int build_origins(void *build, struct error *err)
{
	struct mount_build *b = build;
	int r = build_enter(*b->yard, err);

	for (size_t i = 0; r == 0 && i < b->n_origins; i++) {
		const struct mount_sb *sb = &b->t->sbs[b->origins[i].sb];
		const struct mount_anchor *a = b->origins[i].anchor;
		if (b->origin[i] >= 0 || (sb->class == MOUNT_COMPOSITE && !a) ||
		    (sb->class == MOUNT_NSFS && (!a || a->fd < 0)))
			continue;
		r = make_origin(b, i, err);
		if (r < 0)
			error_object(err, "%s '%s'", b->t->sbs[b->origins[i].sb].type,
			             b->origins[i].source);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* P11, before anybody can have a file open in it for writing */
int build_seal(void *build, struct error *err)
{
	struct mount_build *b = build;
	int r = build_enter(*b->yard, err);

	for (size_t i = 0; r == 0 && i < b->n_origins; i++) {
		const struct mount_sb *sb = &b->t->sbs[b->origins[i].sb];
		if (!b->origins[i].anchor && !mount_superblock_is_shared(sb))
			r = mount_superblock_seal(sb, b->origin[i], err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}
