/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is locked in a mount namespace that belongs to another user namespace, mount_namespaces(7):
 * no file shows it, so that it is tried, in a copy of the namespace that nobody else sees.
 */
#pragma once

#include "mount/table.h"

/**
 * mount_find_locks() - fills locked and locked_attributes of a namespace's mounts
 * @nsfd:	the namespace, line @ns of the table
 * @user:	the user namespace that owns it
 * @ret_own:	per superblock of the table, set to true where it belongs to that user namespace;
 *		the rest is left as it is
 * What cannot be looked at, because a locked mount covers it, counts as locked.
 */
int mount_find_locks(struct mount_table *t, size_t ns, int nsfd, int user, bool *ret_own,
                     struct error *err);
