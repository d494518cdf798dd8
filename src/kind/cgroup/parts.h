/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of kind cgroup_tree share at restart. */
#pragma once

#include "cgroup.pb-c.h"
#include "core/kept.h"
#include "kind/kind.h"

/* object->live */
struct tree {
	char *here;      /* the path of its root; NULL: not chosen yet */
	char *directory; /* of that */
	int lock;        /* the root, locked: it is ours until there are processes in it */
	bool *made;      /* which groups were missing */
};

struct cgroup_trees {
	struct journal *journal;
	bool settled;
	bool left; /* a group could not be removed */
};
extern const struct kept_type cgroup_trees_kept_type;
/* NULL: none has been made */
static inline struct cgroup_trees *cgroup_trees_kept(const struct restart *r)
{
	return kept_find(r->kept, &cgroup_trees_kept_type);
}

/* ---- check.c: before anything is made; operations of the kind ---- */

int cgroup_tree_validate(const struct objects *objects, const struct object *object,
                         struct error *err);
int cgroup_tree_preflight(struct restart *r, struct object *object, struct error *err);

/* ---- make.c: directories ---- */

/* object->live, made at the first call; for release() */
struct tree *cgroup_tree_of(struct object *object);
/* noted in the journal; *ret_made: false if it was there */
int cgroup_make_directory(struct restart *r, const char *directory, bool *ret_made,
                          struct error *err);
/*
 * False: a group that was left, and hands controllers on: it cannot be entered to make a namespace
 * that begins there, and the tree is made anew.
 */
bool cgroup_is_usable(const char *directory);
/* makes or takes the root of a tree, under another name if that is free to choose */
int cgroup_choose_root(struct restart *r, struct object *object, struct error *err);
