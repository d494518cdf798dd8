/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that /proc does not show us: it was mounted with hidepid=invisible or ptraceable. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Whether there is a process, or a thread, of that number: /proc may hide it, and shows nothing of
 * it for a moment while one of its threads calls execve(2).
 */
bool proc_exists(pid_t pid);

/*
 * Appends to the array *ret the processes that there are, but that /proc hides. Looks at each
 * number that there may be, which takes up to a second; so only if /proc was mounted to hide any.
 */
void proc_add_hidden(pid_t **ret, size_t *ret_n);
