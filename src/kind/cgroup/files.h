/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interface files of a cgroup, v1 and v2: which are settings, how they are read and written.
 * The kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

enum cgroup_phase {
	CGROUP_EARLY,  /* before a task is in it: what it can be given, and where it may run */
	CGROUP_LATE,   /* when all tasks are there: limits, that the restart itself could hit */
	CGROUP_STATE,  /* nothing to keep: counters that can be reset, actions, what is derived */
	CGROUP_FREEZER /* it must be thawed */
};

struct cgroup_file;

/* NULL: none of that name is known */
const struct cgroup_file *cgroup_file_find(const char *name);
enum cgroup_phase cgroup_file_phase(const struct cgroup_file *file);
/* the order in which files are written */
int cgroup_file_compare(const struct cgroup_file *a, const struct cgroup_file *b);
/**
 * cgroup_file_read() - the setting as it is to be recorded
 * @dir:	the cgroup's directory
 * @ret:	the caller's; NULL when there is nothing that a new group would not have
 */
int cgroup_file_read(int dir, const char *name, char **ret, struct error *err);
/*
 * makes the file say @value, if it does not already; what the kernel makes of it must be the same
 */
int cgroup_file_write(int dir, const char *name, const char *value, struct error *err);
