/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Choosing the pid of a new task without set_tid (clone(2)): a stub that has gone into a user
 * namespace of its own may not any more. The kernel gives the numbers in turn, and the coordinator
 * says where it goes on (/proc/sys/kernel/ns_last_pid); if another process comes in between, the
 * task ends and it is tried again.
 */
#pragma once

#include <linux/sched.h>

#include "core/restart.h"

/* whether @parent may choose no pids */
bool next_pid_needed(const struct restart *r, const struct stub *parent);
/* clones @child at once; nothing is queued for the parent */
int next_pid_clone(struct restart *r, struct stub *parent, struct stub *child,
                   const struct clone_args *args, struct error *err);
