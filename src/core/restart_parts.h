/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The phases of a restart, as core/restart.c calls them. */
#pragma once

#include "core/restart.h"
#include "util/error.h"

/* read: all metadata up to the first page block or the trailer; objects, tasks, all validated */
int restart_read(struct restart *r, int fd, struct error *err);
/* bytes of page blocks that are still to come, 0 = not known: for progress */
uint64_t restart_blocks_left(const struct restart *r);
/* preflight: host, privileges, pids, kinds; -EOPNOTSUPP with r->refusals; nothing is made */
int restart_preflight(struct restart *r, struct error *err);
/* whether the kernel would refuse to give this pid: a task, or a group that still has members */
bool preflight_pid_in_use(pid_t pid);
/* whether the plan has a task or placeholder of this pid */
bool preflight_needs_pid(const struct restart *r, pid_t pid);
/* fill: the page blocks that are left, in several threads; then the trailer has been verified */
int restart_fill(struct restart *r, struct error *err);
