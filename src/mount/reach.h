/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Getting at a mount of another namespace, without changing anything there. */
#pragma once

#include "mount/table.h"

/**
 * mount_reach() - a private clone of a mount, without what is mounted on it
 * @nsfd:	the namespace that it is in; may be our own
 * @ret_fd:	its root directory or file: a detached mount, gone when this is closed
 *
 * What is covered, or unbindable, is dug out in a copy of the namespace; what is locked to it stays
 * on it. Where that may not be done it is the mount itself, with all on it (mount_id_of()).
 * -EOPNOTSUPP with mount.unreachable when it is covered.
 */
int mount_reach(const struct mount_table *t, int nsfd, size_t mount, int *ret_fd,
                struct error *err);
/*
 * Those of @mounts, all of that namespace, which nothing covers, into @fds; -1: mount_reach() may
 * get at it. It costs one process, where each mount_reach() takes one or more.
 */
int mount_reach_tops(const struct mount_table *t, int nsfd, const size_t *mounts, size_t n,
                     int *fds, struct error *err);
/* a detached private clone of what @fd, a descriptor in our own namespace, shows; -1 with errno */
int mount_clone(int fd);
/* the same with all that is mounted on it */
int mount_clone_tree(int fd);
