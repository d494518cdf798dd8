/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroups that are the set's own: at or below the root of a cgroup namespace of its own, or the
 * group that a container's root is in, and with no process in them from outside. They are recorded
 * with their settings, and made again where they are missing. One object for each, with all that is
 * below it.
 */
#pragma once

#include "cgroup.pb-c.h"
#include "kind/kind.h"

extern const struct kind cgroup_tree_kind;

/* ---- checkpoint ---- */

/**
 * cgroup_tree_collect() - record a group with all below it, if it is the set's own
 * @group:	as the coordinator sees it
 * @movable:	no task of the set sees its name
 */
int cgroup_tree_collect(struct checkpoint *c, struct task *task, const CgroupMembership *group,
                        bool movable, struct error *err);
/* the same for those that the root of a container is in, which has no cgroup namespace */
int cgroup_tree_collect_root(struct checkpoint *c, struct task *task, const CgroupState *state,
                             struct error *err);
/* the same for what is below a namespace's root that is others', too: groups that @task is in */
int cgroup_tree_collect_below(struct checkpoint *c, struct task *task, const CgroupState *state,
                              struct error *err);

/* ---- restart ---- */

/* whether a recorded group will be made if it is missing */
bool cgroup_tree_covers(const struct objects *objects, const CgroupMembership *group);
/* the path that a recorded group has here, the caller's: another one where its own was in use */
char *cgroup_tree_here(const struct objects *objects, const CgroupMembership *group);
/*
 * The same for the root of a mount of a cgroup file system, whose type and options tell the
 * hierarchy; NULL: it is of no tree.
 */
char *cgroup_tree_mount_root(const struct objects *objects, const char *type, char *const *options,
                             size_t n_options, const char *root);
/* all groups are there: those that were made get what they need before a task comes; only once */
int cgroup_tree_settle(struct restart *r, struct error *err);
