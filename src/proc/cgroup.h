/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where cgroups lie in the file system here: cgroups(7), mountinfo in proc_pid_mountinfo(5). */
#pragma once

/**
 * cgroup_directory() - find a cgroup's directory
 * @hierarchy:	as in /proc/PID/cgroup: "" is cgroup v2, else controllers ("cpu,cpuacct") or
 *		"name=systemd"
 * @path:	of the cgroup, as in /proc/PID/cgroup
 * Returns its directory through some mount that shows it, whether it exists or not, on the heap;
 * NULL when no mount in this mount namespace does.
 */
char *cgroup_directory(const char *hierarchy, const char *path);
