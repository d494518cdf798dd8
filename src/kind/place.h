/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a file is: by its path in the coordinator's mount namespace, or, in another namespace of
 * the set, by a mount of that and the path on it. A path is absolute in both: "/" is the mount's
 * root.
 */
#pragma once

#include <stdbool.h>

#include "kind/kind.h"

struct place {
	struct object *mount; /* of kind mount; NULL: the coordinator's namespace */
	int base;             /* the mount's root, lent, for place_open(); -1 without a mount */
	char *path;           /* owned; with " (deleted)" if it is so and there is no mount */
	bool deleted;
};

/**
 * place_find() - where something that a task refers to is, as the kernel says
 * @fd:	our reference to it. Whether the path leads there is for the caller to try.
 * -EOPNOTSUPP with a refusal when it is on no mount of the set or of ours.
 */
int place_find(struct checkpoint *c, const struct task *task, int fd, struct place *ret,
               struct error *err);
void place_done(struct place *place);

/*
 * open(2) of @path below the mount root @base, which is not left and on which no symlink is
 * followed; with base < 0 plainly of @path. Close-on-exec. -1 with errno.
 */
int place_open(int base, const char *path, int flags);

/*
 * Whether the mount that @fd is on has this flag, ST_NOEXEC or ST_NODEV of statvfs(3), by now: what
 * was allowed before it was set cannot be done again. Of a file system that waits for nobody.
 */
bool place_forbids(int fd, unsigned long flag);

#define PLACE_NOT_YET (-2) /* a base on which nothing can be opened: mount_fd() */
/* restart: the mount root of a recorded mount id, lent; -1 for 0 */
int place_base(struct restart *r, uint32_t mount);
/* restart: whether that leads elsewhere when all mounts are there; open it in restore(), then */
bool place_is_covered(const struct restart *r, uint32_t mount, const char *path);
/*
 * restart: the user namespace that must know who makes a file there, user_ns_author_begin(); 0:
 * ours
 */
uint32_t place_owner(const struct restart *r, uint32_t mount);
/*
 * restart: whether that mount's file system was made anew: sizes and times are as before, inodes
 * not
 */
bool place_is_new(const struct restart *r, uint32_t mount);
/* pure: whether a record's mount and path are of the right form */
bool place_valid(const struct objects *objects, uint32_t mount, const ProtobufCBinaryData *path);
