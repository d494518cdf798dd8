/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cgroup namespaces: which group each hierarchy seems to begin at. cgroup_namespaces(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind cgroup_ns_kind;

/* checkpoint: one that a descriptor of @task or a bind refers to, and that no task need be in */
int cgroup_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd,
                         struct object **ret, struct error *err);
