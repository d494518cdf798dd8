/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New superblocks, by the calls of fsopen(2). */
#pragma once

#include "mount/table.h"

/**
 * mount_superblock_make() - a superblock like @sb, as a detached mount
 * @source:	what mountinfo is to show as source
 * @key:	the namespace that it belongs to (proc: pid, sysfs: net, mqueue: IPC); -1 ours
 * @owner:	the user namespace that it belongs to, in whose words the options are; -1 ours, or
 *		that of @key
 * It is writable whatever sb->flags say (unless it is external: nobody seals that), and what is
 *filled has room for more than it is to have in the end: mount_superblock_seal() does the rest. An
 *option that the kernel refuses is an error with what the kernel says about it.
 */
int mount_superblock_make(const struct mount_sb *sb, const char *source, int key, int owner,
                          int *ret_fd, struct error *err);
/* for a helper: makes it root of that user namespace, where it may mount a @type */
int mount_superblock_become(int owner, const char *type, struct error *err);
/* a sysfs, or an mqueue that is not of a namespace of the set: others may have the same one */
bool mount_superblock_is_shared(const struct mount_sb *sb);
/* not for shared ones, whose flags must not change: limits its size, and makes it read-only, if it
 * is to be */
int mount_superblock_seal(const struct mount_sb *sb, int fd, struct error *err);
