/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts in namespaces of the set. kind/mounts/mounts.h has the whole. */
#pragma once

#include "kind/kind.h"

extern const struct kind mount_kind;

/* restart: the user namespace that the file system of a mount belongs to; 0: ours */
uint32_t mount_owner(const struct restart *r, const struct object *mount);

/**
 * mount_of() - which mount a descriptor is on
 * @fd:		our own reference to the file, directory or whatever
 * @ret:	the mount's object; NULL when it is in the coordinator's own namespace
 * @ret_path:	where on it, below the mount's root, without leading '/'; "" is that root. As the
 *		kernel shows it, without " (deleted)". The caller frees it; NULL when *ret is.
 * @ret_deleted: whether the kernel says so
 * -EOPNOTSUPP with a refusal when it is on a mount of no namespace of the set, or of none at all
 * (unmounted): mount.detached.
 */
int mount_of(struct checkpoint *c, const struct task *task, int fd, struct object **ret,
             char **ret_path, bool *ret_deleted, struct error *err);
/*
 * checkpoint: where something is from the root of its file system, of which a mount may show a
 * part.
 * @path, absolute: on that @mount of the set, or (NULL) as @fd has it in our own namespace
 */
int mount_path_within(struct checkpoint *c, const struct object *mount, int fd, const char *path,
                      char **ret, struct error *err);
/* checkpoint: whether something is mounted on @path of that mount of the set, or above it */
bool mount_hides(struct checkpoint *c, const struct object *mount, const char *path);
/* checkpoint: the type of the file system that @fd is of, statfs(2), without asking one that may
 * wait for somebody who is held; 0: unknown */
uint32_t mount_magic(struct checkpoint *c, int fd);
/* whether it is such a one, by st_dev; @path leads there */
bool mount_may_wait(struct checkpoint *c, dev_t device, const char *path);
/* checkpoint, of a set without a mount namespace of its own (it is seen to with those otherwise):
 * refuses namespaces of the set that are bound to files; once */
int mounts_judge_bound(struct checkpoint *c, struct error *err);
/* checkpoint: our own private clone of the mount, O_PATH, for opening what mount_of() has found;
 * kept until the end of the checkpoint, lent */
int mount_reached(struct checkpoint *c, struct object *mount, int *ret_fd, struct error *err);
/*
 * checkpoint, for what is deleted or has only another name left (@linked), of the file system of
 * @mount: the number under which that comes along, for mount_ghost_open(); *ret is 0 when it does
 * not: the file system is not made anew, or nothing else refers to the inode.
 */
int mount_ghost(struct checkpoint *c, const struct object *mount, uint64_t inode, bool linked,
                uint32_t *ret, struct error *err);
/* checkpoint, when all tasks have been looked at: whether the file system of a mount of the set is
 * made anew */
int mount_comes_along(struct checkpoint *c, const struct object *mount, bool *ret,
                      struct error *err);
/* restart: how many of them there are */
uint32_t mount_n_ghosts(const struct objects *objects, const struct object *mount);
/*
 * opens it, O_PATH, as @path below the mount's root (with leading '/'), which it is not in the end;
 * if that name is taken, as another one in the same directory. @folder: that one, on the mount. The
 * caller's; -1 with errno.
 */
int mount_ghost_open(struct restart *r, const struct object *mount, uint32_t ghost,
                     const char *path, int folder);
/* restart, after its restore(): the root of the mount, O_PATH, lent; -1: it is of a proc of a pid
 * namespace of the set, and there after the last task has been cloned */
int mount_fd(struct restart *r, const struct object *mount);
/* restart: whether its file system is made anew, so that inode numbers are others than recorded */
bool mount_is_new(const struct restart *r, const struct object *mount);
/* restart: whether something is mounted on @path of that mount, or above it, so that it has to be
 * opened before all mounts are there, in restore() */
bool mount_covers(const struct restart *r, const struct object *mount, const char *path);
/* restart: what is at @path (below the mount's root, "" = that), lookup as in mount_of(): no
 * symlink is followed and the mount not left. The caller's, or -1 with errno. */
int mount_open(struct restart *r, const struct object *mount, const char *path, uint32_t flags);
