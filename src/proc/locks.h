/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/locks, proc_locks(5): all locks and leases, and who waits for them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proc/fdinfo.h"
#include "util/error.h"

struct proc_locks_entry {
	struct proc_lock lock;
	bool waits; /* for the last entry before it that does not */
};

/* parses the whole text; the array is the caller's, free() */
int proc_locks_parse(const char *text, struct proc_locks_entry **ret, size_t *ret_n,
                     struct error *err);
/* reads the file itself */
int proc_locks_read(struct proc_locks_entry **ret, size_t *ret_n, struct error *err);
