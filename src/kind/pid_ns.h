/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces, pid_namespaces(7): that of the root task, if it is an init, and any below it.
 * Each is made by the clone of its init (core/root.c, core/spawn.c); where the next children of a
 * task go that is elsewhere itself is set when all tasks are there.
 */
#pragma once

#include "kind/kind.h"

struct contents;

extern const struct kind pid_ns_kind;

/* the object of the one above, as recorded or as an image says; 0: the root task's */
uint32_t pid_ns_parent(const struct object *object);
/* the same of the user namespace that owns it; 0: ours */
uint32_t pid_ns_owner_id(const struct object *object);
/* checkpoint: one that a descriptor of @task or a bind refers to; if nobody is in it, it is dead */
int pid_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err);
/* checkpoint, when all is collected: whether @of has a number where @viewer is */
bool pid_ns_sees(const struct task *viewer, const struct task *of);
/* the same for a namespace instead of @viewer: NULL is the one above all */
bool pid_ns_contains(const struct object *ns, const struct task *of);
/* what validate() cannot see alone: namespaces and the tasks that are in them or will make some in
 * them; when c->plan is made */
int pid_ns_check(const struct contents *c, struct error *err);

/* restart: whether the root, a kind task's object, is to be the init of a namespace of its own */
bool pid_ns_of_root(const struct object *root, const struct objects *objects);
/* restart: the user namespace that owns the pid namespace of the root; 0: ours, or there is none */
uint32_t pid_ns_root_owner(const struct restart *r);
struct plan_ns;
/* restart: the user namespace that owns one below the root's, or the root's (NULL); NULL: ours */
struct object *pid_ns_owner(const struct restart *r, const struct plan_ns *ns);
/* a descriptor of the namespace, the object's own; -ESRCH while its init is not there yet */
int pid_ns_fd(struct restart *r, struct object *object, struct error *err);
