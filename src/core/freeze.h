/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint, phase freeze: which tasks belong to the set, and their stop. */
#pragma once

#include "core/checkpoint.h"
#include "util/error.h"

/*
 * Fills c->tasks with the root and all its descendants, threads and zombies included, in order:
 * parents before children, leaders before their threads. With a tracer they are all held then, and
 * no further scan would find another one; without (`check PID`) they are only looked at.
 * What stands against it is refuse()d: -EOPNOTSUPP with nothing in @err when no task list could be
 * made because of it. Errors: -ESRCH there is no such process; that of reading /proc.
 */
int freeze_set(struct checkpoint *c, struct error *err);
/* for `check PID`: whether the tasks that were looked at are those that there are */
bool freeze_is_same(struct checkpoint *c);
void freeze_free_tasks(struct checkpoint *c);
