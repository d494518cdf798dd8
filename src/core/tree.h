/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the object table and the tree planner (task/plan.h). */
#pragma once

#include <stddef.h>

#include "core/checkpoint.h"
#include "util/error.h"

struct object;
struct objects;
struct plan_ns;
struct plan_task;

/* checkpoint, end of judge: refuse()s what could not be built again (sharing.gap, tree.shape). */
void tree_judge(struct checkpoint *c);
/* pid namespaces below the root's own, in order of ids */
struct tree_namespaces {
	struct plan_ns *items;
	size_t n;
	uint32_t root; /* the object of the root's own; 0: it is in the coordinator's */
};
struct plan_ns *tree_ns(const struct tree_namespaces *t, uint32_t id); /* NULL: none of them */
void tree_namespaces_done(struct tree_namespaces *namespaces);

/*
 * restart: what the planner needs, from validated objects of kind task; the caller frees *ret and
 * calls tree_namespaces_done(), on failure too; both must outlive the plan
 */
int tree_from_objects(const struct objects *objects, struct object *const *tasks, size_t n,
                      struct plan_task **ret, struct tree_namespaces *ret_ns, struct error *err);
