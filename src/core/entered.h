/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has come into the root's pid namespace from outside, setns(2): nsenter(1), or exec of a
 * container engine. It ends with the namespace, so it belongs to the set, though its parent does
 * not; inside that parent is number 0.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "util/error.h"

struct entered {
	pid_t *pids; /* who has entered, in no order */
	size_t n;
	pid_t *unseen; /* in the namespace, too, but we may not look at them */
	size_t n_unseen;
};

/*
 * The living processes in the pid namespace of @root, or below it, whose parent is not, but @root
 * itself. Those that we may not look at are all there that live, children of the set among them.
 * The arrays are the caller's to free, also on failure. None unless @root is the init of a
 * namespace below ours. -EPERM: there are processes that we may not look at, and on this kernel
 * nothing tells whether they are in it.
 */
int entered_find(pid_t root, struct entered *ret, struct error *err);
