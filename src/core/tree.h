/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the object table and the tree planner (task/plan.h). */
#pragma once

#include <stddef.h>

#include "core/checkpoint.h"
#include "util/error.h"

struct object;
struct objects;
struct plan_task;

/*
 * checkpoint, end of judge: refuse()s what could not be built again (sharing.gap, tree.shape).
 * Errors are only those of the examination itself.
 */
int tree_judge(struct checkpoint *c, struct error *err);
/* restart: what the planner needs, from validated objects of kind task; the caller frees *ret */
void tree_from_objects(const struct objects *objects, struct object *const *tasks, size_t n,
                       struct plan_task **ret);
