/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New overlays, of options as they were shown. */
#pragma once

#include "mount/table.h"

/**
 * overlay_make() - an overlay like @sb, whose layers are found from our root directory
 * @source:	what mountinfo is to show as source
 * Our working directory must have an empty directory "x": what fsconfig(2) does not take (more than
 * OVERLAY_OPTION_MAX bytes in an option) is mounted there for a moment by mount(2), which cuts
 * everything off after a page. Read-only only if it is external (mount/superblock.h).
 * A detached mount, the caller's; a negative errno with the kernel's reason, -EOPNOTSUPP with
 * mount.overlay when there is no way to hand its options over.
 */
int overlay_make(const struct mount_sb *sb, const char *source, struct error *err);

/**
 * overlay_make_at() - the same, of what is under the paths in a mount namespace
 * @nsfd:	that
 * @owner:	the user namespace that the overlay belongs to; -1: ours
 * @exclusive:	not when its upper layer is in use: -EBUSY. The kernel would mount it, and two that
 *		write to one layer destroy it.
 */
int overlay_make_at(int nsfd, const struct mount_sb *sb, const char *source, int owner,
                    bool exclusive, struct error *err);

/* refuses what overlay_make() would: options that there is no way to hand over, mount.overlay */
int overlay_check_options(const struct mount_sb *sb, struct error *err);
