/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes in the set's pid namespaces that we may not look at. See unseen.h. */
#include "core/unseen.h"

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
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/map.h"

static int stat_pid_ns(const char *pid, struct stat *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.20s/ns/pid", pid);
	return stat(path, ret);
}

/* of each pid namespace of the set but ours a process that is in it, by inode */
static struct map *namespaces_of(const pid_t *set, size_t n)
{
	struct map *found = map_new();
	struct stat own, st;

	if (stat_pid_ns("self", &own) < 0)
		return found;
	for (size_t i = 0; i < n; i++) {
		char pid[16];
		snprintf(pid, sizeof(pid), "%d", set[i]);
		if (stat_pid_ns(pid, &st) == 0 && st.st_ino != own.st_ino &&
		    !map_get(found, &st.st_ino, sizeof(st.st_ino)))
			map_put(found, &st.st_ino, sizeof(st.st_ino), (void *)&set[i]);
	}
	return found;
}

/* who is below one of these is in that, too; so it is enough to ask for what has none above */
static bool has_one_above(int nsfd, const struct map *namespaces)
{
	_cleanup_(close_p) int above = ioctl(nsfd, NS_GET_PARENT);
	struct stat st;

	return above >= 0 && fstat(above, &st) == 0 &&
	       map_get(namespaces, &st.st_ino, sizeof(st.st_ino));
}

/* whose namespaces we may not look at */
static int find_candidates(pid_t **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = opendir("/proc");
	struct stat st;

	if (!dir)
		return error_raise(err, errno, "read /proc");
	errno = 0;
	for (const struct dirent *entry; (entry = readdir(dir)); errno = 0) {
		pid_t pid = atoi(entry->d_name);
		if (pid > 0 && stat_pid_ns(entry->d_name, &st) < 0 &&
		    (errno == EACCES || errno == EPERM))
			*array_push(*ret, *ret_n) = pid;
	}
	return errno ? error_raise(err, errno, "read /proc") : 0;
}

/* as far as we can see: the state of what a mount of /proc with hidepid hides cannot be read */
static bool is_dead(pid_t pid)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/stat", pid), *text = NULL;
	struct proc_stat s;
	struct error ignored;

	return file_read(AT_FDCWD, path, &text) > 0 && proc_stat_parse(text, &s, &ignored) == 0 &&
	       s.num_threads <= 1 && strchr("ZXx", s.state);
}

static int ask(int nsfd, const pid_t *pids, size_t n, pid_t **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(free_p) bool *inside = xcalloc(n, sizeof(*inside));
	int r = n ? pids_in_ns(nsfd, pids, n, inside, err) : 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (inside[i] && !is_dead(pids[i]))
			*array_push(*ret, *ret_n) = pids[i];
	return r < 0 ? error_trace(err, r) : 0;
}

/* what is in the namespace, and /proc does not even list */
static int ask_hidden(int nsfd, pid_t **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(free_p) pid_t *pids = NULL;
	size_t n = 0;
	int r = ns_list_pids(nsfd, &pids, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++) {
		char path[32];
		struct stat st;
		snprintf(path, sizeof(path), "/proc/%d", pids[i]);
		if (stat(path, &st) < 0 && proc_exists(pids[i]))
			*array_push(*ret, *ret_n) = pids[i];
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int unseen_find(const pid_t *set, size_t n, pid_t **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(map_freep) struct map *namespaces = NULL;
	_cleanup_(free_p) pid_t *candidates = NULL;
	size_t n_candidates = 0, cursor = 0;
	bool hides;
	int r = 0;

	if (features_initial_user_namespace() && features_capability(CAP_SYS_PTRACE))
		return 0;
	namespaces = namespaces_of(set, n);
	hides = map_size(namespaces) > 0 && proc_hides();
	if (map_size(namespaces) > 0)
		r = find_candidates(&candidates, &n_candidates, err);
	for (const pid_t *pid; r == 0 && (pid = map_next(namespaces, &cursor));) {
		_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/pid", *pid);
		_cleanup_(close_p) int nsfd = open(path, O_RDONLY | O_CLOEXEC);
		if (nsfd < 0 && errno != ENOENT && errno != ESRCH)
			return error_raise(err, errno, "open %s", path);
		if (nsfd < 0 || has_one_above(nsfd, namespaces))
			continue;
		r = ask(nsfd, candidates, n_candidates, ret, ret_n, err);
		if (r == 0 && hides)
			r = ask_hidden(nsfd, ret, ret_n, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}
