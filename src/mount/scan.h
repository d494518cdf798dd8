/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All mount namespaces of the machine that can be seen. */
#pragma once

#include "mount/table.h"

/**
 * mount_scan() - read every mount namespace that is not in @known
 * @ret_unseen:	the inode of one that is not ours to look at, or has mounts that nothing leads to,
 *		and so is left out; 0: none is
 * Those that may not even be opened (of other users' processes) are not seen at all. Those that no
 * process is in are found from Linux 6.15 on, by who is in the initial pid namespace.
 */
int mount_scan(struct mount_table *t, const struct mount_table *known, uint64_t *ret_unseen,
               struct error *err);
