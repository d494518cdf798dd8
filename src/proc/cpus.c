/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of CPUs. See cpus.h. */
#include "proc/cpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc/cgroup.h"
#include "util/alloc.h"
#include "util/cleanup.h"

bool cpus_parse(const char *text, struct cpus *ret)
{
	memset(ret, 0, sizeof(*ret));
	while (*text && *text != '\n') {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;
		if (end == text)
			return false;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (last < first || last >= CPUS_BYTES * 8)
			return false;
		for (unsigned long i = first; i <= last; i++)
			ret->mask[i / 8] |= (uint8_t)(1u << i % 8);
		text = *end == ',' ? end + 1 : end;
		if (text == end && *end && *end != '\n')
			return false;
	}
	return true;
}

static int read_list(const char *path, struct cpus *ret)
{
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	_cleanup_(free_p) char *line = NULL;
	size_t room = 0;

	if (!f)
		return -errno;
	if (getline(&line, &room, f) < 0)
		return -EIO;
	return cpus_parse(line, ret) ? 0 : -EBADMSG;
}

/* asked for every thread, read once */
int cpus_online(struct cpus *ret)
{
	static struct cpus online;
	static bool known;
	int r = known ? 0 : read_list("/sys/devices/system/cpu/online", &online);

	known = r == 0;
	*ret = online;
	return r;
}

int cpus_of_task(pid_t tid, struct cpus *ret)
{
	memset(ret, 0, sizeof(*ret));
	return syscall(SYS_sched_getaffinity, tid, sizeof(ret->mask), ret->mask) < 0 ? -errno : 0;
}

/* "PATH", of cgroup v1 if that has the controller */
static char *cpuset_of(pid_t tid)
{
	_cleanup_(free_p) char *name = xasprintf("/proc/%d/cpuset", tid);
	_cleanup_(fclose_p) FILE *f = fopen(name, "re");
	char *path = NULL;
	size_t room = 0;

	if (!f || getline(&path, &room, f) < 0) {
		free(path);
		return NULL;
	}
	path[strcspn(path, "\n")] = 0;
	return path;
}

/* cgroup v2: a cgroup without the controller is in the cpuset of the next one above */
static int read_v2(const char *path, struct cpus *ret)
{
	_cleanup_(free_p) char *directory = cgroup_directory("", path);

	while (directory) {
		_cleanup_(free_p) char *file = xasprintf("%s/cpuset.cpus.effective", directory);
		char *slash = strrchr(directory, '/');
		if (read_list(file, ret) == 0)
			return 0;
		if (!slash || slash == directory)
			break;
		*slash = 0;
	}
	return -ENOENT;
}

static int cpuset_cpus(pid_t tid, struct cpus *ret)
{
	_cleanup_(free_p) char *path = cpuset_of(tid);
	_cleanup_(free_p) char *v1 = path ? cgroup_directory("cpuset", path) : NULL;

	if (!path)
		return -ENOENT;
	if (v1) {
		_cleanup_(free_p) char *file = xasprintf("%s/cpuset.effective_cpus", v1);
		return read_list(file, ret);
	}
	return read_v2(path, ret);
}

bool cpus_are_all(const struct cpus *cpus, pid_t tid)
{
	struct cpus all;

	if (cpus_online(&all) == 0 && !memcmp(cpus, &all, sizeof(all)))
		return true;
	return cpuset_cpus(tid, &all) == 0 && !memcmp(cpus, &all, sizeof(all));
}
