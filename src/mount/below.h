/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a cover on the root directory of a mount namespace hides. mountinfo, all that there is to
 * read before 6.15, shows nothing of it: neither the root that is covered, nor what is mounted
 * there. Below nearly every root there is one mount, the kernel's own rootfs, with nothing on it;
 * and who has moved a root onto "/", as systemd-nspawn does, has left the host's mounts there.
 */
#pragma once

#include <sys/types.h>

#include "util/error.h"

/**
 * mount_look_below() - whether a namespace hides mounts of file systems that we have not, too
 * @nsfd:	the namespace, whose root directory as it was read is not the lowest; what is looked
 *		at is a copy of it
 * @member:	the task from whose root directory it was read; 0: from that of who enters it
 * Returns 1: it does, or that cannot be told (what is covered is shared); 0: it does not, or we
 * have no right to look: without privileges over it, and where the cover is locked, as in a copy
 * for another user namespace; else a negative errno. What is hidden of our own file systems is
 * passed over, unless it is a peer of what we do not see.
 */
int mount_look_below(int nsfd, pid_t member, struct error *err);
