/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that have entered a pid namespace. See entered.h. */
#include "core/entered.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/stat.h"
#include "proc/status.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int stat_pid_ns(pid_t pid, struct stat *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return stat(path, ret);
}

/* whether it is in @ns or below it; who may not be looked at is not known to be */
static bool is_within(pid_t pid, const struct stat *ns, const struct stat *own)
{
	struct stat st;
	char path[64];

	if (stat_pid_ns(pid, &st) < 0 || same(&st, own))
		return false;
	if (same(&st, ns))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	for (int fd = open(path, O_RDONLY | O_CLOEXEC); fd >= 0;) {
		_cleanup_(close_p) int at = fd;
		if (fstat(at, &st) == 0 && same(&st, ns))
			return true;
		fd = ioctl(at, NS_GET_PARENT);
	}
	return false;
}

static bool is_init(pid_t pid)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/status", pid), *text = NULL;
	struct proc_status s;
	struct error ignored;
	char unknown[64];

	return file_read(AT_FDCWD, path, &text) >= 0 &&
	       proc_status_parse(text, &s, unknown, &ignored) == 0 && s.n_ns_pids > 1 &&
	       s.ns_pid[s.n_ns_pids - 1] == 1;
}

static int read_stat(pid_t pid, struct proc_stat *ret)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/stat", pid), *text = NULL;
	struct error ignored;

	return file_read(AT_FDCWD, path, &text) < 0 ? -1 : proc_stat_parse(text, ret, &ignored);
}

int entered_find(pid_t root, pid_t **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = opendir("/proc");
	struct stat own, ns;
	struct proc_stat s;

	if (!dir || stat_pid_ns(getpid(), &own) < 0)
		return error_raise(err, errno, "read /proc");
	if (!is_init(root) || stat_pid_ns(root, &ns) < 0 || same(&ns, &own))
		return 0;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		pid_t pid = atoi(entry->d_name);
		if (pid > 0 && pid != root && is_within(pid, &ns, &own) &&
		    read_stat(pid, &s) == 0 && (s.num_threads > 1 || !strchr("ZXx", s.state)) &&
		    !is_within(s.ppid, &ns, &own))
			*array_push(*ret, *ret_n) = pid;
	}
	return 0;
}
