/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overlays. Their options are texts that name the layers by paths, which meant something where the
 * overlay was mounted. Made again with the same texts, they must mean the same: so of the mounts of
 * that place those that the paths lead through are put together once more, where nobody sees it.
 */
#pragma once

#include "mount/table.h"

#define OVERLAY_OPTION_MAX 255 /* fsconfig(2) takes no longer texts */

enum overlay_role { OVERLAY_LOWER, OVERLAY_UPPER, OVERLAY_WORK };

struct overlay_layer {
	enum overlay_role role;
	char *path; /* owned */
};

/* the layers that the options name, lowers from the top down; the caller's, overlay_free() */
struct overlay_layer *overlay_layers(const struct mount_sb *sb, size_t *ret_n);
void overlay_free(struct overlay_layer *layers, size_t n);

/* absolute, no empty component, no "." or ".." */
bool overlay_path_valid(const char *path);
/* the kernel has left a mark in its work directory, and mounts it no second time */
bool overlay_is_volatile(const struct mount_sb *sb);

/**
 * overlay_resolve() - find the mounts that the layers' paths lead through
 * @nsfd:	namespace @ns of @t, in which it is mounted
 * @root:	what shows the overlay's root directory
 * Sets sb->through, sb->outside or sb->flattened. -EOPNOTSUPP with mount.overlay when a path leads
 * nowhere, or to something else than the overlay is made of.
 */
int overlay_resolve(struct mount_table *t, size_t ns, int nsfd, size_t sb, int root,
                    struct error *err);
/*
 * Whether the paths lead, in our own mount namespace, to what the overlay is made of. @root: what
 * shows its root directory
 */
bool overlay_is_at_home(const struct mount_sb *sb, int root);
