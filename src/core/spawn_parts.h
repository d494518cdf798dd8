/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of core/spawn.c: stubs before they are tasks (spawn_stubs.c), and tasks that end. */
#pragma once

#include "core/restart.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/error.h"

/* runs the list of @stub; afterwards it is known where those are that it has cloned */
int spawn_run_list(struct restart *r, struct stub *stub, struct error *err);

/*
 * PLAN_EXIT: a placeholder ends and is reaped by its parent. What it leaves behind goes to the next
 * subreaper above (prctl(2)): for that moment the reaper is one; the kind prctl has the last word.
 */
int spawn_exit(struct restart *r, const struct plan_step *step, struct error *err);
/* PLAN_DIE: a task that is dead in the image ends as it did; its last list is not waited for */
int spawn_die(struct restart *r, const struct plan_step *step, struct error *err);
/* waits until all the dead are dead, and are seen by their parents as they were */
int spawn_await_dead(struct restart *r, struct error *err);
