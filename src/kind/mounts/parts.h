/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operations of the three kinds; see kind.h for what each does. */
#pragma once

#include "kind/mounts/mounts.h"

struct SuperblockState; /* superblock.proto */

/* operations of the kinds mnt_ns, mount and superblock, see kind.h */
int mnt_ns_judge(struct checkpoint *c, struct object *object, struct error *err);
int mount_judge(struct checkpoint *c, struct object *object, struct error *err);
int mnt_ns_save(struct checkpoint *c, struct object *object, struct error *err);
int mount_save(struct checkpoint *c, struct object *object, struct error *err);
int superblock_save(struct checkpoint *c, struct object *object, struct error *err);
/* the path of our own mount that it receives from; NULL: none outside the set */
const char *mount_outside_master(const struct mounts *m, const struct mount_entry *e);
/* the same: that it is a peer of */
const char *mount_outside_peer(const struct mounts *m, const struct mount_entry *e);
/* ---- identity.c ---- */
struct identity {
	uint32_t mode; /* st_mode */
	uint64_t inode;
	int handle_type;            /* name_to_handle_at(2) */
	ProtobufCBinaryData handle; /* empty: it has none; then the inode has to do */
};
void identity_read(int fd, struct identity *ret); /* the handle is the caller's */
#define UUID_SIZE 16
/* of the file system that @fd, O_PATH, is of: false when it tells none. Opens it, which asks a
 * server if there is one. */
bool identity_read_uuid(int fd, unsigned char uuid[UUID_SIZE]);
bool identity_is(int fd, const struct identity *identity);

/* collect.c: reads our own namespace, once: what is mounted there, too, is not the set's alone */
int mounts_read_host(struct mounts *m, struct error *err);
/* collect.c: says which mount of the set an error is about, and a task that sees it */
void mounts_blame(const struct checkpoint *c, const struct mounts *m, const struct mount_entry *e,
                  struct error *err);
/* descriptor.c: whether somebody else answers for a file system of that type, who may be held */
bool mounts_type_may_wait(const char *type);

/* ---- outside.c ---- */
/* what --external calls a mount, the caller's: its place, its number where there are others */
char *mount_key(const struct mounts *m, const struct mount_entry *e);
int mounts_find_outside(struct checkpoint *c, struct mounts *m, struct error *err);
/* whether restart can be given what a mount of an external file system shows */
bool mount_is_outside(const struct mounts *m, const struct mount_entry *e);
/* whether it may be a copy of one of the host's that is covered, which comes with a tree: trees.c
 */
bool mount_is_copied(const struct mounts *m, const struct mount_entry *e);
/* what such a one shows, O_PATH, the caller's; -1: it cannot be looked at */
int mount_open_outside(const struct mounts *m, const struct mount_entry *e);
/* whether the user has named a mount of that file system */
bool sb_has_name(const struct mounts *m, size_t sb);

/* whether it shows a terminal of a devpts that is made anew */
bool mount_is_terminal(const struct mount_sb *sb, const struct mount_entry *e);

/* ---- shapes.c: what is locked, and would not come back so ---- */
void mounts_judge_stacks(struct checkpoint *c); /* all that are; notes refusals */
/* what would have to be there before the task that its pid namespace begins with */
int mount_judge_lock(const struct checkpoint *c, size_t line, struct error *err);

/* more operations */
int superblock_judge(struct checkpoint *c, struct object *object, struct error *err);
/* whether a namespace still has the mounts that were recorded: they can arrive from outside */
int mnt_ns_confirm(struct checkpoint *c, struct object *object, struct error *err);
int superblock_save_bulk(struct checkpoint *c, struct object *object, struct error *err);
int superblock_survey(struct checkpoint *c, struct object *object, struct error *err);

/* and those of restart */
int mnt_ns_validate(const struct objects *objects, const struct object *object, struct error *err);
int mount_validate(const struct objects *objects, const struct object *object, struct error *err);
int superblock_validate(const struct objects *objects, const struct object *object,
                        struct error *err);
int superblock_preflight(struct restart *r, struct object *object, struct error *err);
int superblock_restore(struct restart *r, struct object *object, struct error *err);
int mount_preflight(struct restart *r, struct object *object, struct error *err);
int mount_restore(struct restart *r, struct object *object, struct error *err);
/* mnt_ns_fd(), made if it is not there yet: what it waits for is by now */
int mnt_ns_make(struct restart *r, const struct object *object, int *ret_fd, struct error *err);
int mnt_ns_finish(struct restart *r, struct object *object, struct error *err);
int mnt_ns_after_clone(struct restart *r, struct object *object, struct error *err);

/* keys.c: what sort of namespace file systems of its type belong to; NULL: to none */
const struct kind *superblock_key_kind(const struct SuperblockState *s);
/* restart: whether the host has the layers that it should have; what is missing, or NULL */
char *superblock_missing_layer(const struct mount_sb *sb, const struct SuperblockState *s);
/* checkpoint: what they are */
void superblock_save_layers(const struct mounts *m, size_t line, struct SuperblockState *s);
/* finds what an overlay is made of; refuses what cannot be made again */
int superblock_judge_overlay(struct checkpoint *c, struct mounts *m, size_t line,
                             struct error *err);

/* ---- anchors.c: restart ---- */
/* what the host has of a superblock: @root of it is shown by @fd, which is taken; @from: as a mount
 * of that source */
void mounts_add_host(struct mounts *m, size_t sb, const char *root, int fd,
                     const struct mount_entry *from);
bool sb_same_options(const struct mount_sb *a, const struct mount_sb *b);

/* ---- groups.c: restart ---- */
/*
 * Into m->groups; refuses what is not shared here any more, or (--drop-masters) lets mounts receive
 * from nobody. @own: our mount namespace, which m->host is
 */
void mounts_find_groups(struct restart *r, struct mounts *m, int own);

/* ---- again.c: restart ---- */
/*
 * An overlay that the host had mounted and has no more, of its layers: an anchor for it; or into
 * m->again[sb] why not
 */
void mounts_mount_again(struct restart *r, struct mounts *m, int own, size_t sb);

/* ---- nodes.c: what is in every new file system of a type, and who it belongs to ---- */
int superblock_save_nodes(const struct mounts *m, size_t line, struct SuperblockState *s,
                          struct error *err);
bool superblock_nodes_valid(const struct SuperblockState *s); /* pure */
int superblock_restore_nodes(const struct SuperblockState *s, int root, struct error *err);

/* ---- trees.c ---- */
/*
 * Restart without CAP_SYS_ADMIN: a mount of the host's on which others are locked. Anchors for the
 * mounts of the image that are the same, with the same ones locked on them. @fd: it in place; lent
 */
void mounts_add_trees(struct mounts *m, size_t sb, int fd, const struct mount_entry *from);
/*
 * Restart: a file system that a user's checkpoint could not look at, since all its mounts are
 * covered by what is locked, and nobody sees it: the host's one of that device at the same place.
 */
void mounts_add_covered(struct mounts *m, int own, size_t sb);

/* ---- bound.c: restart, namespaces that are bound to files ---- */
void mounts_find_bound(struct mounts *m);
/* those that are there by now; the others must wait for tasks, unless @late */
int mounts_open_bound(struct restart *r, struct mounts *m, bool late, struct error *err);

/* ---- idmap.c: restart ---- */
bool idmap_is_valid(const char *text); /* pure */
int mounts_make_idmaps(struct mounts *m, struct error *err);

/* ---- ghosts.c ---- */
struct byte_source;
struct content_request;
struct content_wanted;
/* numbers what a mount shows that has been deleted */
int mounts_add_deleted(struct checkpoint *c, struct mounts *m, size_t line, struct error *err);
/* and a file (@st, @fd: lent) that it shows, the directory of which is mounted nowhere */
void mounts_add_stray(struct mounts *m, size_t line, const struct stat *st, int fd);
/* those of which another name must be found; the caller's */
size_t ghosts_wanted(const struct mounts *m, size_t sb, struct content_wanted **ret);
int ghosts_save(struct checkpoint *c, struct object *object, uint32_t page_set,
                const struct content_wanted *wanted, size_t n_wanted, struct error *err);
int ghosts_survey(struct checkpoint *c, struct object *object, const struct content_wanted *wanted,
                  size_t n_wanted, const struct content_request *request, struct error *err);
int ghosts_fill(struct mounts *m, size_t sb, const struct byte_source *source, struct error *err);

/* ---- contents.c ---- */
/* the user namespace whose rights open what is in a mount and closed to us; -1: ours do. Lent. */
int mounts_owner_fd(const struct mounts *m, size_t mount);
/* opens all that will be read, as far as it is not covered; the rest comes when it is needed */
void superblocks_reach_contents(struct mounts *m);
/* refuses one with contents that cannot be read as a whole */
int superblock_check_contents(struct checkpoint *c, size_t sb, struct error *err);
int superblock_fill(struct restart *r, struct mounts *m, struct object *object, struct error *err);
/* where content_restore() leaves what it needs later */
struct content **add_filled(struct mounts *m, size_t sb);
/* when nothing is made in the file systems any more */
int superblock_settle(struct restart *r, struct mounts *m, struct error *err);
