/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks on files: POSIX, BSD (flock) and open file description locks, and leases. Who waits for a
 * lock inside the set asks for it again by itself: its system call is restarted.
 */
#pragma once

#include "kind/kind.h"

struct proc_fdinfo;

extern const struct kind lock_kind;

/**
 * lock_collect() - note the locks that a descriptor's fdinfo shows
 * @task:	in whose table the descriptor @fd is
 * @file:	its object of kind file
 * POSIX locks belong to the table, the others to the open file description: those are noted where
 * it is seen first.
 */
void lock_collect(struct checkpoint *c, const struct task *task, int fd, const struct object *file,
                  const struct proc_fdinfo *info);
