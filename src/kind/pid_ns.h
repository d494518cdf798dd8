/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces, pid_namespaces(7): the root task is the init of the one that all tasks are in. It
 * is made by the clone of the root stub (core/root.c).
 */
#pragma once

#include "kind/kind.h"

extern const struct kind pid_ns_kind;

/* restart: whether the root, a kind task's object, is to be the init of a namespace of its own */
bool pid_ns_of_root(const struct object *root, const struct objects *objects);
/* restart: the user namespace that owns the pid namespace of the root; 0: ours, or there is none */
uint32_t pid_ns_root_owner(const struct restart *r);
