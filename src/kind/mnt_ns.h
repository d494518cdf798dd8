/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mount namespaces. kind/mounts/mounts.h has the whole of mounts. */
#pragma once

#include "kind/kind.h"

extern const struct kind mnt_ns_kind;

/*
 * The mount namespace of a task, with all its mounts and their superblocks. *ret is NULL when it is
 * the coordinator's own, which is not recorded: a restart inherits its own.
 */
int mnt_ns_collect(struct checkpoint *c, struct task *task, struct object **ret, struct error *err);
/* the same of one that a descriptor or bind mount of @task refers to */
int mnt_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err);
/* restart: whether it is made after that pid namespace has begun, whose /proc is locked in it */
bool mnt_ns_waits(struct restart *r, const struct object *object, uint32_t pid_ns);
/* restart, after restore(): the namespace, lent; -1 while it has to wait */
int mnt_ns_fd(struct restart *r, const struct object *object);
