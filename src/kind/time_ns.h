/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time namespaces: CLOCK_MONOTONIC and CLOCK_BOOTTIME go on where they were. The one that the
 * checkpoint runs in is recorded, too: restart --clock continue makes a new one in its place.
 * time_namespaces(7).
 */
#pragma once

#include "kind/kind.h"

extern const struct kind time_ns_kind;

/* checkpoint: one that a descriptor of @task or a bind refers to, and that no task need be in */
int time_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                       struct error *err);
/* restart: whether it is made; what is not is the coordinator's own */
bool time_ns_is_made(const struct restart *r, const struct object *object);
/*
 * restart: its descriptor, the object's own; made when it is asked for the first time, which is to
 * be as late as can be. -ESRCH: the task that has it for its children is not there yet.
 */
int time_ns_fd(struct restart *r, struct object *object, struct error *err);
