/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the builder know of each other. All but build.c runs in helpers. */
#pragma once

#include "mount/build.h"

/* what mounts are cloned from: a superblock's root, or what an anchor shows of it */
struct mount_origin {
	size_t sb;
	const struct mount_anchor *anchor; /* NULL: made anew */
	const char *source;                /* made anew: what mountinfo shows */
};

/* of a superblock; mount/ghosts.h */
struct ghosts {
	char *name; /* of their directory, at the root; NULL: none */
	int fd;
};

/* of a flattened overlay */
struct layers {
	int root; /* the file system that they are on, detached */
	int top;  /* the one that has the contents */
};

struct mount_build {
	struct layers *layers; /* per superblock */
	struct ghosts *ghosts; /* per superblock */
	struct mount_input in;
	const struct mount_table *t;
	struct anchor_index *anchors;
	struct mount_origin *origins;
	size_t n_origins;
	size_t *origin_of; /* per mount */
	bool *tree;        /* per mount: it comes with a tree, mount_anchor_tree() */
	bool *late;        /* per mount: it, or what it is on, has to wait for another namespace */
	/* per namespace: what is locked in it has to wait; it is there; it is made by this step */
	bool *waits, *made, *turn;
	/*
	 * Descriptors, in memory that helpers share; each is open here, too, as they share our
	 * table. -1: not made yet.
	 */
	int *fds;
	size_t n_fds;
	int cpu;     /* on which namespaces are made */
	int *yard;   /* the yard's namespace */
	int *ns;     /* per namespace */
	int *origin; /* per origin */
	int *mount;  /* per mount */
	int *place;  /* per mount: where it is to be attached, while that is ahead */
	int home;    /* our own mount namespace */
	int proc;    /* /proc of the host: namespaces may have none */
};

int build_yard(void *build, struct error *err);    /* P0, P2, P3 */
int build_origins(void *build, struct error *err); /* P4: those whose namespace is known; anchors */
int build_overlays(void *build, struct error *err); /* P4: made of what is there */
/* attaches what has been made of an origin in the yard */
int build_attach_origin(const struct mount_build *b, size_t origin, struct error *err);
/* what a mount shows, as a private detached clone without its attributes */
int build_clone_plain(const struct mount_build *b, size_t mount, int *ret_fd, struct error *err);
/* the same with its attributes: the mount itself */
int build_clone(const struct mount_build *b, size_t mount, struct error *err);
/* whether it, or what it is on, has to wait, as of now */
bool build_is_late(const struct mount_build *b, size_t mount);
/* P6: the mounts of namespaces whose turn it is, but late ones; roots are attached */
int build_attach_roots(void *build, struct error *err);
int build_attach(void *build, struct error *err); /* P6: the late ones; P7, P8: all */
int build_groups(void *build, struct error *err); /* P9 */
int build_seal(void *build, struct error *err);   /* P11 */

/* P7: the descriptor of the place that a mount is to be attached at */
int build_open_place(const struct mount_build *b, size_t mount, struct error *err);
/* there, in the namespace that it is in */
int build_attach_one(const struct mount_build *b, size_t mount, struct error *err);
int build_attach_root(const struct mount_build *b, size_t ns, struct error *err);

/* ---- namespaces of other user namespaces ---- */
/* opens what comes with the trees that have been cloned */
void build_find_trees(const struct mount_build *b);
bool build_is_owned(const struct mount_build *b, size_t ns);
/* whether it has locks that only a copy of its namespace gives it */
bool build_is_copied(const struct mount_build *b, size_t mount);
/* whether it has to come by way of such a copy: then the namespace waits for what it waits for */
bool build_is_inherited(const struct mount_build *b, size_t mount);
/* whether it comes at the end, when all tasks are there */
bool build_comes_last(const struct mount_build *b, size_t mount);
/* what a mount is given when it is cloned */
uint64_t build_early_attributes(const struct mount_build *b, size_t mount);
bool build_early_unbindable(const struct mount_build *b, size_t mount);
/* makes it, with what is locked in it and its root, when all that is not late has been cloned */
int build_owned(struct mount_build *b, size_t ns, struct error *err);
/* in the namespace, when all is attached: only the top of a detached tree takes attributes */
int build_finish_owned(const struct mount_build *b, size_t ns, struct error *err);

/*
 * Ids of namespaces come in batches per CPU, and a namespace can only be bound in an older one: for
 * the helpers that make some, always the same.
 */
void build_stay_on_one_cpu(const struct mount_build *b);
/* the namespaces in the order in which they are made for that; the caller's */
size_t *build_order(const struct mount_build *b);
/* for a helper: enters one that is still empty, in its place in that order */
int build_enter_new(struct mount_build *b, size_t ns, struct error *err);
/* enters a namespace of the build, or the yard */
int build_enter(int nsfd, struct error *err);
/* adds which mount it is */
int build_context(const struct mount_build *b, size_t mount, struct error *err, int r);
/* what is at @path below @fd, never following a symlink or leaving the mount; -1 with errno */
int build_open_below(int fd, const char *path);
