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

/*
 * The living processes in the pid namespace of @root, or below it, whose parent is not, but @root
 * itself; *ret is the caller's to free. None unless @root is the init of a namespace below ours.
 * Those that we may not look at are not among them: unseen.h.
 */
int entered_find(pid_t root, pid_t **ret, size_t *ret_n, struct error *err);
