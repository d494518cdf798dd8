/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Below the root directory of a mount namespace. See below.h. A helper makes a copy of the
 * namespace, in the user namespace that owns it, since all would be locked in another one. Then it
 * takes off what covers "/", one by one, and reads what that shows.
 *
 * Nothing of this may happen in the original. What is seen is made private at once, but the mount
 * below it is not seen, and if it is shared, unmounting from it would unmount from its peer in the
 * original, too: umount(2) does not mind. pivot_root(2) does (fs/namespace.c: EINVAL if the parent
 * of the root is shared), and so it has to put an empty tmpfs in place of the cover before that is
 * taken off.
 */
#include "mount/below.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "mount/read.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

struct dive {
	int nsfd;
	int root;                /* of a member; -1: none */
	int proc;                /* our own /proc: the namespace may have none */
	int own;                 /* our own mountinfo */
	int copy;                /* the copied namespace */
	struct map *seen;        /* ids, in the copy, of what is seen in the original */
	struct mount_table host; /* what is in our own namespace, once it is asked for */
	struct map *groups;      /* of peers there; likewise */
};

enum cover { TAKEN_OFF, LOCKED, ON_SHARED };

static int open_mountinfo(const struct dive *d)
{
	return openat(d->proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
}

/* what was seen by who has opened it. It is closed. */
static int read_view(int mountinfo, struct mount_table *ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	size_t room = 0;

	_cleanup_(fclose_p) FILE *f = mountinfo < 0 ? NULL : fdopen(mountinfo, "r");
	if (!f) {
		close_p(&mountinfo);
		return error_raise(err, errno, "open mountinfo");
	}
	errno = 0;
	if (getdelim(&text, &room, 0, f) < 0)
		return errno && errno != EINVAL ? error_raise(err, errno, "read mountinfo") : 0;
	int r = mount_parse_mountinfo(ret, text, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- what is hidden ---- */

static struct map *ids_of(const struct mount_table *t)
{
	struct map *ids = map_new();

	for (size_t i = 0; i < t->n_mounts; i++)
		map_put(ids, &t->mounts[i].id, sizeof(t->mounts[i].id), ids);
	return ids;
}

static struct map *groups_of(const struct mount_table *t)
{
	struct map *groups = map_new();

	for (size_t i = 0; i < t->n_mounts; i++)
		if (t->mounts[i].peer_group)
			map_put(groups, &t->mounts[i].peer_group, sizeof(t->mounts[i].peer_group),
			        groups);
	return groups;
}

/* that of ours is there without the namespace, too */
static bool is_ours(const struct dive *d, const struct mount_table *level,
                    const struct mount_entry *m)
{
	const struct mount_sb *sb = &level->sbs[m->sb];

	return mount_table_find_sb(&d->host, sb->major, sb->minor) != MOUNT_NONE &&
	       (!m->peer_group || map_get(d->groups, &m->peer_group, sizeof(m->peer_group)));
}

/* 1: something is hidden that is not ours; the lowest of all, its own parent, is the kernel's */
static int judge_level(struct dive *d, const struct mount_table *level, struct error *err)
{
	for (size_t i = 0; i < level->n_mounts; i++) {
		const struct mount_entry *m = &level->mounts[i];
		if (m->parent_id == m->id || map_get(d->seen, &m->id, sizeof(m->id)))
			continue;
		int r = d->groups ? 0 : read_view(fcntl(d->own, F_DUPFD_CLOEXEC, 3), &d->host, err);
		if (r < 0)
			return error_trace(err, r);
		if (!d->groups)
			d->groups = groups_of(&d->host);
		if (!is_ours(d, level, m))
			return 1;
	}
	return 0;
}

static bool is_lowest(const struct mount_table *level)
{
	for (size_t i = 0; i < level->n_mounts; i++)
		if (level->mounts[i].parent_id == level->mounts[i].id)
			return true;
	return false;
}

/* ---- the copy ---- */

/* to the topmost of the mounts at "/"; @ret: what is seen from there, or NULL */
static int surface(const struct dive *d, struct mount_table *ret, struct error *err)
{
	if (setns(d->copy, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter the copy of a mount namespace");
	int r = ret ? read_view(open_mountinfo(d), ret, err) : 0;
	if (r < 0)
		return error_trace(err, r);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_raise(err, errno, "make the copy of a mount namespace private");
	return 0;
}

/* an empty directory on "/", which then is the working directory, too */
static int cover_root(struct error *err)
{
	_cleanup_(close_p) int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	_cleanup_(close_p) int root = -1;

	if (context >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		root = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (root < 0 || move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    fchdir(root) < 0)
		return error_raise(err, errno, "mount a tmpfs in the copy of a mount namespace");
	return 0;
}

/* enum cover, or a negative errno; the topmost mount at "/" is private */
static int take_off(struct error *err)
{
	int r = cover_root(err);

	if (r < 0)
		return error_trace(err, r);
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return errno == EINVAL ? ON_SHARED : error_raise(err, errno, "change a root mount");
	if (umount2(".", MNT_DETACH) < 0)
		return error_raise(err, errno, "take a root mount off");
	if (umount2("/", MNT_DETACH) < 0) /* whether it was locked has come to the new one */
		return errno == EINVAL ? LOCKED : error_raise(err, errno, "uncover a root mount");
	return TAKEN_OFF;
}

/* @known: what is topmost has been read already, and is not the lowest. 1: something is hidden */
static int go_down(struct dive *d, bool known, struct error *err)
{
	for (;; known = false) {
		_cleanup_(mount_table_done) struct mount_table level = { 0 };
		int r = surface(d, known ? NULL : &level, err);
		if (r == 0)
			r = judge_level(d, &level, err);
		if (r != 0 || is_lowest(&level))
			return r < 0 ? error_trace(err, r) : r;
		r = take_off(err);
		if (r != TAKEN_OFF)
			return r < 0 ? error_trace(err, r) : r == ON_SHARED;
	}
}

static int dive(struct dive *d, struct error *err)
{
	_cleanup_(mount_table_done) struct mount_table member = { 0 };
	_cleanup_(close_p) int copy = openat(d->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (copy < 0)
		return error_raise(err, errno, "keep the copy of a mount namespace");
	d->copy = copy;
	int r = d->root < 0 ? 0 : read_view(open_mountinfo(d), &member, err);
	if (r < 0)
		return error_trace(err, r);
	d->seen = ids_of(&member);
	r = go_down(d, d->root < 0, err);
	map_free(d->seen);
	map_free(d->groups);
	mount_table_done(&d->host);
	return r < 0 ? error_trace(err, r) : r;
}

static int dive_in_copy(void *arg, struct error *err)
{
	struct dive *d = arg;

	prctl(PR_SET_DUMPABLE, 0);
	if (namespace_enter(d->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	if (d->root >= 0 && (fchdir(d->root) < 0 || chroot(".") < 0))
		return error_raise(err, errno, "take a task's root directory");
	if (namespace_enter_owner(d->nsfd) < 0 || unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "copy a mount namespace");
	int r = dive(d, err);
	return r < 0 ? error_trace(err, r) : r;
}

int mount_look_below(int nsfd, pid_t member, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root", member);
	_cleanup_(close_p) int root = member ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	_cleanup_(close_p) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(close_p) int own = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct dive d = { .nsfd = nsfd, .root = root, .proc = proc, .own = own };
	struct error failure = ERROR_INIT;
	int r;

	if (member && root < 0) /* it has ended */
		return 1;
	r = helper_run(dive_in_copy, &d, 0, &failure);

	if (r == -EPERM || r == -EACCES)
		return 0;
	if (r < 0)
		*err = failure;
	return r < 0 ? error_trace(err, r) : r;
}
