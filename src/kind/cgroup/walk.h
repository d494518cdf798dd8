/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking over a cgroup and all below it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"

/*
 * What is called for each, parents first. @dir: its directory, open; @path: below the first: "",
 * "/a/b". > 0 or a negative errno ends the walk.
 */
typedef int cgroup_visit(int dir, const char *path, void *arg, struct error *err);

/* returns what ended it, or 0 */
int cgroup_walk(const char *directory, cgroup_visit *visit, void *arg, struct error *err);
/* the processes, or threads where only those can be told: 0 is one of another pid namespace */
int cgroup_members(int dir, pid_t **ret, size_t *ret_n, struct error *err);
/* whether a process is in it or below it */
bool cgroup_populated(const char *directory);
