/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kinds mnt_ns, mount and superblock are one thing in three records: all the mount namespaces
 * of a set. What they know together is a struct mounts: the table of src/mount/ and which object
 * stands for which line of it. collect.c and save.c: checkpoint; validate.c, anchors.c and
 * restore.c: restart.
 */
#pragma once

#include <stdbool.h>

#include "core/kept.h"
#include "kind/kind.h"
#include "mount/build.h"
#include "mount/table.h"

/* checkpoint: who has what of a file system that stays outside */
struct outside {
	size_t sb;
	const struct mount_entry *entry; /* of the host's table, or of ours if it has a name */
	const char *name;                /* --external; NULL: the host has it */
	int fd;                          /* a clone of it */
};

/* checkpoint: ghosts.c */
struct ghost {
	size_t sb;
	uint64_t inode;
	uint32_t number; /* from 1 on in each superblock */
	int fd;          /* lent; -1: what is mounted holds it under another name */
};

struct mounts {
	struct mount_table table;                    /* of the namespaces of the set */
	struct object **namespaces, **mounts, **sbs; /* per line of the table */
	size_t n_namespaces, n_mounts, n_sbs;

	/* checkpoint */
	struct mount_table host; /* the coordinator's own namespace */
	bool host_tried;
	bool all_looked;        /* the namespaces of all tasks are in the table */
	int *nsfds;             /* per namespace */
	struct object **owners; /* per namespace: the user namespace; NULL: ours */
	int *reached;           /* per mount, -1: not yet */
	size_t n_reached;
	bool classified;
	struct silence {
		dev_t device;
		bool silent;
	} * asked; /* of file systems that are mounted neither in the set nor where we are */
	size_t n_asked;
	struct outside *anchored; /* found when classified */
	size_t n_anchored;
	struct ghost *ghosts;
	size_t n_ghosts;
	struct map *ghost_lines; /* superblock and inode to the line + 1 */
	bool deleted_found;
	struct mount_table outside; /* every other namespace that there is, our own included; at
	                               restart, too, if it was needed */
	int *roots; /* per superblock: a clone of its root, where something must be read; -1 */

	/* restart */
	struct mount_anchor *anchors;
	size_t n_anchors;
	struct map *anchor_roots; /* anchors.c: superblock and root of those for any mount */
	size_t *bound; /* of the anchors from first_bound on: the line of a mount that shows it */
	size_t first_bound, n_bound;
	struct mount_group *groups; /* of the host */
	size_t n_groups;
	int *key_fds;   /* per superblock, for the builder */
	int *idmap_fds; /* per mount */
	int *owner_fds, *sb_owner_fds;
	char ***sb_options; /* per superblock: as its owner calls the ids in them; NULL: as they are
	                     */
	char **again; /* per superblock: why an overlay could not be mounted again; NULL: it was not
	                 tried, or was */
	struct mount_build *build;
	struct filled {
		size_t sb;
		struct content *content;
	} * filled; /* all parts of superblocks, in order of these */
	size_t n_filled;
	size_t tried; /* r->n_begun + 1 when all that was there by then had been made */
	bool have_mounts, complete, finished, outside_read;
};

void mounts_free(struct mounts *m); /* takes NULL */
extern const struct kept_type mounts_kept_type;
/* those of a checkpoint or restart; NULL: none yet */
static inline struct mounts *mounts_kept(const struct kept *kept)
{
	return kept_find(kept, &mounts_kept_type);
}
/* the pid namespace that must have begun before that mount can be made: an object; 0: none */
uint32_t mount_awaits(const struct mounts *m, size_t line);

/* ---- checkpoint ---- */

struct mounts *mounts_of_checkpoint(struct checkpoint *c); /* made on first use */
/* the line of an object's table; of the right kind */
size_t mounts_index(const struct mounts *m, const struct object *object);
/* the class of every superblock, once; what is outside, and by which name */
int mounts_classify(struct checkpoint *c, struct error *err);
/* mount_reached() of many at once, as far as that goes; @lines ascend, and none has been reached */
void mounts_reach(struct mounts *m, const size_t *lines, size_t n);
/*
 * Which object's namespace a proc, sysfs or mqueue belongs to, into sb->key: 0 is our own.
 * @root: a clone of its root
 */
int mounts_find_key(struct checkpoint *c, struct mount_sb *sb, int root, struct error *err);

/* ---- restart ---- */

/* the table from the objects, checked as a whole; on first use */
int mounts_of_restart(struct restart *r, struct mounts **ret, struct error *err);
/* the same, without keeping anything: for validate() */
int mounts_from_objects(const struct objects *objects, struct mounts **ret, struct error *err);
/* the namespace of an object, the caller's; -1: there is none yet */
int mounts_key_fd(struct restart *r, uint32_t id);
/* opens what the host has to supply; refuses what it has not */
int mounts_find_anchors(struct restart *r, struct mounts *m, struct error *err);
