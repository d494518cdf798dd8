/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that /proc does not show us: it was mounted with hidepid=invisible or ptraceable. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether there is a process, or a thread, of that number: /proc may hide it, and shows nothing of
 * it for a moment while one of its threads calls execve(2).
 */
bool proc_exists(pid_t pid);

/* whether that mount of /proc may hide any */
bool proc_hides(void);
