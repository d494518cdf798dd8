/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A helper: a short-lived child that shares our descriptor table but nothing else, so that it may
 * enter namespaces (setns(2) wants a single thread and an fs_struct of its own) and hand back what
 * it opens there as plain descriptor numbers.
 */
#pragma once

#include "util/error.h"

/*
 * What runs in the helper: a copy of our memory, so results are descriptors, or what lies in shared
 * memory. Descriptors that it leaves open are ours. 0, or a negative errno with *err filled.
 */
typedef int helper_fn(void *arg, struct error *err);

/*
 * Runs fn(arg) in a helper and waits for its end. Returns what it has returned, *err included;
 * -ECHILD when it has died. It is killed when we die. Not while other threads of ours run.
 */
int helper_run(helper_fn *fn, void *arg, struct error *err);
