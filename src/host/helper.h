/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A helper: a short-lived child that shares our descriptor table but nothing else, so that it may
 * enter namespaces (setns(2) wants a single thread and an fs_struct of its own) and hand back what
 * it opens there as plain descriptor numbers.
 */
#pragma once

#include <stddef.h>

#include "util/error.h"

/*
 * What runs in the helper, on a copy of our memory. Descriptors that it leaves open are ours.
 * Returns >= 0, or a negative errno with *err filled.
 */
typedef int helper_fn(void *arg, struct error *err);

/**
 * helper_run() - run fn(arg) in a helper and wait for its end
 * @arg, @size:	what is @arg when fn returns is copied back: results without pointers
 * Returns what fn has returned, *err included; -ECHILD when the helper has died. It is killed when
 * we die. Not while other threads of ours run.
 */
int helper_run(helper_fn *fn, void *arg, size_t size, struct error *err);

/**
 * helper_run_here() - the same in our memory, as after vfork(2): what fn allocates and changes is
 * ours, and pointers in @arg need no care. Other threads may run.
 */
int helper_run_here(helper_fn *fn, void *arg, struct error *err);
