/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files and directories of file systems in which the kernel shows itself: proc, sysfs, cgroup,
 * the directories of some others. Nothing of them is saved but their path: they are opened again
 * when all tasks are there (kind->open is called then), each as the task that holds it would find
 * it, in its namespaces. Which files have nothing behind the descriptor but that: pseudo/plain.c.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind pseudo_kind;

/* kind->collect_descriptor: also for a kind that knows what stands behind the file */
int pseudo_collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err);
