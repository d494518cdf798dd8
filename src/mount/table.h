/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces as plain data: namespaces, their mounts, and the superblocks of these. Read from
 * the kernel at checkpoint (mount_table_add), made from an image at restart; mount/build.h makes
 * namespaces of it, mount/verify.h compares two.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct map; /* util/map.h */

#define MOUNT_NONE SIZE_MAX /* no index */

/* how a superblock comes back at restart */
enum mount_class {
	MOUNT_EXTERNAL,  /* is there: the host's mount of it is cloned */
	MOUNT_CONTENT,   /* tmpfs, ramfs: made anew and filled */
	MOUNT_INSTANCE,  /* made anew, empty: devpts, proc of a pid namespace, bpf, hugetlbfs */
	MOUNT_KEYED,     /* belongs to a namespace: sysfs, mqueue */
	MOUNT_SINGLETON, /* the kernel has one: cgroup, debugfs... */
	MOUNT_COMPOSITE, /* overlay: made of other mounts */
	MOUNT_NSFS,      /* a namespace bound to a file */
	MOUNT_REFUSED,   /* not known how */
	N_MOUNT_CLASSES
};

struct mount_option {
	char *text; /* "size=4k"; owned */
};

struct mount_sb {
	uint32_t major, minor; /* identity while it lives; never compared across checkpoint and
	                          restart */
	uint64_t magic;
	uint32_t flags; /* MOUNT_SB_FLAGS of mount(2): SB_RDONLY, SB_SYNCHRONOUS... */
	char *type;     /* without subtype; owned, as all strings here */
	char *subtype;  /* NULL: none */
	char **options; /* as the file system shows them, not escaped */
	size_t n_options;
	enum mount_class class;
	uint64_t key; /* inode of the namespace that it belongs to (proc, sysfs, mqueue); 0 none */
	uint64_t owner; /* object of the user namespace that it belongs to; 0: ours, or that of key
	                 */
	bool dead;      /* nothing of it can be reached; never made */
	uint32_t n_ghosts; /* mount/ghosts.h */
	/*
	 * overlay whose layers nobody can see: made of new ones, with what it shows in the top one
	 */
	bool flattened;
	bool outside; /* overlay whose layers are the host's, under the same paths */
	uint64_t free_bytes, free_inodes; /* what is left then; UINT64_MAX: no limit */
	/* overlay: the mounts that the paths of its layers lead through, parents first; owned */
	size_t *through, n_through;
	size_t first_mount, last_mount; /* for mount_of_sb(): index + 1 */
};
#define MOUNT_SB_RDONLY      0x1u
#define MOUNT_SB_SYNCHRONOUS 0x10u
#define MOUNT_SB_DIRSYNC     0x80u
#define MOUNT_SB_LAZYTIME    0x2000000u
#define MOUNT_SB_FLAGS \
	(MOUNT_SB_RDONLY | MOUNT_SB_SYNCHRONOUS | MOUNT_SB_DIRSYNC | MOUNT_SB_LAZYTIME)

/* MOUNT_ATTR_* that a mount can have and be given; access time is a field, not bits */
#define MOUNT_ATTRIBUTES    0x2000ffull
#define MOUNT_ATTR_IDMAPPED 0x100000ull

struct mount_entry {
	uint64_t id;     /* unique; orders mountinfo; on old kernels the reusable one */
	uint32_t old_id; /* of mountinfo and fdinfo */
	uint64_t parent_id;
	size_t namespace; /* indices into the table */
	size_t parent;    /* MOUNT_NONE: the root of the namespace */
	size_t sb;
	char *point;  /* in the namespace, absolute */
	char *rel;    /* the same below the parent's root, without leading '/'; "": on that root */
	char *root;   /* what of the superblock it shows, absolute */
	bool deleted; /* that has been deleted; root is its last name */
	uint32_t ghost; /* its number among its superblock's inodes without a mounted name; 0: it
	                   has one */
	uint64_t attributes;
	/* in namespaces of another user namespace: it stays where it is; what of the attributes
	 * stays as it is, MOUNT_ATTR__ATIME for how access times are kept */
	bool locked;
	bool holds; /* something is locked to it */
	uint64_t locked_attributes;
	bool unbindable;
	uint64_t peer_group,
		master;          /* 0: none; the same number, the same group, in all namespaces */
	uint64_t dropped_master; /* checkpoint: what it is a slave of, when master is what it shall
	                            be of; else 0 */
	uint32_t bound, bound_type; /* of nsfs: for kind/mounts, which namespace it is */
	size_t target; /* a mount namespace that it is the file of: line + 1; 0: it is none */
	char *source;
	char *external;          /* the name that the user has given to it; NULL: none */
	char *uid_map, *gid_map; /* "inner outer count\n"...; NULL: not idmapped */
	size_t next_of_sb;       /* for mount_of_sb(): index + 1 */
	size_t next_at;          /* another one on the same place: index + 1 */
};

struct mount_ns {
	uint64_t device, inode; /* of its nsfs file */
	uint64_t id;            /* the kernel's, 0 if it gives none */
	pid_t member;           /* a task in it; 0: none known */
	bool by_member;         /* mountinfo: it was read from the root directory of that task */
	uint64_t owner;         /* inode of the user namespace that owns it */
	size_t first, n;        /* its mounts: adjacent, ascending ids */
	size_t root;            /* the mount that everything is below */
};

struct mount_table {
	struct mount_ns *namespaces;
	size_t n_namespaces;
	struct mount_entry *mounts;
	size_t n_mounts;
	struct mount_sb *sbs;
	size_t n_sbs;
	struct map *by_id, *by_device, *by_group,
		*by_place; /* line + 1; NULL while there is none */
	/*
	 * mountinfo: a namespace whose root directory hides mounts is refused (mount/below.h). That
	 * costs a copy of each; statmount counts mounts anyway
	 */
	bool whole;
};

/**
 * mount_table_add() - read the namespace that @nsfd refers to; nothing if it is in the table
 * @member:	a task in it, for kernels that tell nothing about other namespaces; 0 = none
 * @ret:	its index; may be NULL
 * Refuses what it cannot see completely (mount.hidden); by mountinfo it knows only if t->whole.
 */
int mount_table_add(struct mount_table *t, int nsfd, pid_t member, size_t *ret, struct error *err);
/* parents by id, paths below them, what is looked up by: all that follows from the rest. For a
 * table made by hand. */
int mount_table_relate(struct mount_table *t, size_t ns, struct error *err);
size_t mount_table_ns(const struct mount_table *t, uint64_t inode); /* MOUNT_NONE: not there */
/* the mount of that unique (or, without unique ids, old) id; MOUNT_NONE: not there */
size_t mount_table_find(const struct mount_table *t, uint64_t id);
/* what is mounted on its root; MOUNT_NONE: nothing */
size_t mount_table_cover(const struct mount_table *t, size_t mount);
/* the last of those that are stacked there; itself if there is none */
size_t mount_table_top(const struct mount_table *t, size_t mount);
/* the id by which mount_table_find() knows the mount that @fd is on, 0 if the kernel gives none */
uint64_t mount_id_of(int fd);
size_t mount_table_sb(struct mount_table *t, uint32_t major, uint32_t minor); /* found or added */
/* only found; MOUNT_NONE: not there */
size_t mount_table_find_sb(const struct mount_table *t, uint32_t major, uint32_t minor);
/* whether more of it is locked than how access times are kept, which the kernel locks of any proc
 * that a user mounts */
bool mount_is_locked(const struct mount_entry *m);
/* whether the way to its place leads into another locked mount, on a directory above it */
bool mount_is_hidden(const struct mount_table *t, const struct mount_entry *m);
/* a member of a peer group; MOUNT_NONE: it has none here */
size_t mount_table_find_peer(const struct mount_table *t, uint64_t group);
/* the mounts of a superblock, one after the other: MOUNT_NONE comes before the first, after the
 * last */
size_t mount_of_sb(const struct mount_table *t, size_t sb, size_t previous);
/* says which one an error is about: namespace, number, place, type and root of its file system,
 * device */
void mount_error(struct error *err, const struct mount_table *t, const struct mount_entry *m);
void mount_table_done(struct mount_table *t); /* takes an empty one */
/* @path below @root, both absolute, without leading '/'; NULL: it is not below */
const char *mount_below(const char *path, const char *root);
/* whether something is mounted on @path of the mount @line, absolute or without leading '/', or
 * above it; not what is mounted on its root */
bool mount_table_covers(const struct mount_table *t, size_t line, const char *path);
/* an option's value; "" for one without; NULL when it is not there */
const char *mount_sb_option(const struct mount_sb *sb, const char *name);
