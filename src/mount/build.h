/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces built from a table (mount/table.h), without ever walking a path in them: every
 * mount is made detached, of a superblock that is attached in a yard, a mount namespace of our own
 * that nobody sees; and then attached by descriptors. Nothing is propagated anywhere, since all is
 * private until the very end.
 *
 *	b = mount_build_new(&input);
 *	mount_build_superblocks(b, &err);   the yard, the namespaces (empty), the superblocks
 *	... fill those of class content through mount_build_sb(b, sb)
 *	mount_build_mounts(b, &err);        overlays of what has been filled; the mounts
 *	... set input's key_fds that were not known before: the pid namespaces of tasks
 *	mount_build_more(b, &any, &err);    namespaces in which something is locked that had to wait
 *	mount_build_late(b, &err);          all that had to wait; all attached; propagation
 *	... the last changes to what is in the superblocks
 *	mount_build_finish(b, &err);        what is read-only; verification
 *	mount_build_free(b);                takes the yard down; the namespaces stay where in use
 *
 * Each step forks helpers (host/helper.h): not while other threads of ours run.
 */
#pragma once

#include "mount/table.h"

/*
 * Where the host has an external superblock or singleton: @fd is a detached private clone
 * (mount_reach, mount_clone) that shows its @root; the builder attaches it, so it serves once.
 */
/* of nsfs, the file of a namespace; fd can be -1 until mount_build_mounts() */
struct mount_anchor {
	size_t sb;
	char *root;
	int fd;
	const char *source; /* as mountinfo shows it, which a clone inherits; lent, NULL: unknown */
	bool late;          /* fd is -1, and not there before mount_build_late() */
	bool again;         /* an overlay that was mounted again: with other numbers, perhaps */
	bool supplied;      /* by the user: another file system may be in its place */
	char *name;         /* for the mounts of that name; NULL: for all below @root */
	/*
	 * for this mount only, which has other mounts locked on it: @fd has clones of these on it,
	 * which cannot be had one by one without CAP_SYS_ADMIN; NULL: for any
	 */
	const struct mount_entry *tree_of;
};

/* anchors by what they are looked up by; they stay the caller's, and may not move */
struct anchor_index;
struct anchor_index *anchor_index_new(const struct mount_anchor *anchors, size_t n);
void anchor_index_free(struct anchor_index *index); /* takes NULL */
static inline void anchor_index_freep(struct anchor_index **index)
{
	anchor_index_free(*index);
}
/*
 * The one that a mount is cloned from, NULL: none. What was supplied for it; else of the host's one
 * with the same source, or any; else what was supplied for others and shows it, too. Of equal ones
 * that with the longest root.
 */
const struct mount_anchor *mount_anchor_of(const struct anchor_index *index,
                                           const struct mount_entry *m);

/* whether what is mounted of it can be the host's */
bool mount_may_be_hosts(const struct mount_sb *sb);
/*
 * The line of the mount with whose tree it comes, locked there; MOUNT_NONE: by itself, as what is
 * of the set and has been mounted on such a tree, before another user namespace locked both.
 */
size_t mount_anchor_tree(const struct anchor_index *index, const struct mount_table *t,
                         size_t mount);

/* a peer group of the host that mounts of the table receive from: @fd is a detached member */
struct mount_group {
	uint64_t id;
	int fd;
};

struct mount_input {
	const struct mount_table *table;
	const struct mount_anchor *anchors; /* a mount takes the one with the longest root */
	size_t n_anchors;
	const struct mount_group *groups;
	size_t n_groups;
	const int *idmap_fds; /* per mount: a user namespace with its map; -1 none. May be NULL */
	const int *key_fds;   /* per superblock: the namespace that it belongs to; -1 none, or
	                         not yet */
	const int *owner_fds; /* per namespace: the user namespace that owns it; -1: ours */
	const int *sb_owner_fds;  /* the same per superblock */
	char **const *sb_options; /* per superblock: options as its owner takes them; NULL: as
	                                   they are in the table */
};

struct mount_build;

/* @input and all it refers to stay the caller's and must outlive what is made */
struct mount_build *mount_build_new(const struct mount_input *input);
int mount_build_superblocks(struct mount_build *b, struct error *err);
int mount_build_mounts(struct mount_build *b, struct error *err);
/* a late one, unless what it shows is not there yet: for who has to open something on it now */
int mount_build_early(struct mount_build *b, size_t mount, struct error *err);
/* namespaces that need not wait any more; *ret_any: there were some */
int mount_build_more(struct mount_build *b, bool *ret_any, struct error *err);
int mount_build_late(struct mount_build *b, struct error *err);
int mount_build_finish(struct mount_build *b, struct error *err);
/*
 * New layers for an overlay that is flattened, empty: what it shows goes into the directory
 * *ret_fd, lent, before mount_build_mounts().
 */
int mount_build_layers(struct mount_build *b, size_t sb, int *ret_fd, struct error *err);
/* descriptors, the builder's own; -1: not made (yet) */
int mount_build_sb(const struct mount_build *b, size_t sb);       /* the superblock's root */
int mount_build_mount(const struct mount_build *b, size_t mount); /* O_PATH, the mount's root */
int mount_build_ns(const struct mount_build *b, size_t ns); /* -1, too, while it has to wait */
/* whether what a mount shows has other inodes than it had: made anew, or supplied by the user */
bool mount_build_is_new(const struct mount_build *b, size_t mount);
void mount_build_free(struct mount_build *b); /* closes them; takes NULL */

/* what is at @path below the directory @fd, never following a symlink or leaving the mount; "":
 * that itself. @flags of open(2). A descriptor, the caller's; -1 with errno. */
int mount_open_below(int fd, const char *path, uint32_t flags);
