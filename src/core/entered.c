/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that have entered a pid namespace. See entered.h. */
#include "core/entered.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/features.h"
#include "host/pid_in_ns.h"
#include "proc/hidden.h"
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

/* as far as we can see: the state of what a mount of /proc with hidepid hides cannot be read */
static bool is_dead(pid_t pid)
{
	struct proc_stat s;

	return read_stat(pid, &s) == 0 && s.num_threads <= 1 && strchr("ZXx", s.state);
}

/* keeps of @pids those that are in the namespace */
static int keep_inside(pid_t root, pid_t *pids, size_t *n, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/pid", root);
	_cleanup_(free_p) bool *inside = xcalloc(*n, sizeof(*inside));
	_cleanup_(close_p) int nsfd = open(path, O_RDONLY | O_CLOEXEC);
	size_t kept = 0;

	if (nsfd < 0)
		return error_raise(err, errno, "open %s", path);
	int r = pids_in_ns(nsfd, pids, *n, inside, err);
	for (size_t i = 0; r == 0 && i < *n; i++)
		if (inside[i] && !is_dead(pids[i]))
			pids[kept++] = pids[i];
	*n = kept;
	return r < 0 ? error_trace(err, r) : 0;
}

int entered_find(pid_t root, struct entered *ret, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = opendir("/proc");
	struct stat own, ns, st;
	struct proc_stat s;

	if (!dir || stat_pid_ns(getpid(), &own) < 0)
		return error_raise(err, errno, "read /proc");
	if (!is_init(root) || stat_pid_ns(root, &ns) < 0 || same(&ns, &own))
		return 0;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		pid_t pid = atoi(entry->d_name);
		if (pid <= 0 || pid == root)
			continue;
		if (stat_pid_ns(pid, &st) < 0 && (errno == EACCES || errno == EPERM))
			*array_push(ret->unseen, ret->n_unseen) = pid;
		else if (is_within(pid, &ns, &own) && read_stat(pid, &s) == 0 &&
		         (s.num_threads > 1 || !strchr("ZXx", s.state)) &&
		         !is_within(s.ppid, &ns, &own))
			*array_push(ret->pids, ret->n) = pid;
	}
	if (!features_initial_user_namespace() || !features_capability(CAP_SYS_PTRACE))
		proc_add_hidden(&ret->unseen, &ret->n_unseen); /* not from who may look at all */
	int r = ret->n_unseen ? keep_inside(root, ret->unseen, &ret->n_unseen, err) : 0;
	return r < 0 ? error_trace(err, r) : 0;
}
