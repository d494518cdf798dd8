/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking over cgroups. See walk.h. */
#include "kind/cgroup/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "util/alloc.h"
#include "util/cleanup.h"

static int walk_below(int dir, const char *path, cgroup_visit *visit, void *arg, struct error *err)
{
	_cleanup_(closedir_p) DIR *d = NULL;
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = visit(dir, path, arg, err);

	d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		close_p(&copy);
		return error_raise(err, errno, "read a cgroup's directory");
	}
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		_cleanup_(free_p) char *below = xasprintf("%s/%s", path, e->d_name);
		_cleanup_(close_p) int fd = openat(dir, e->d_name,
		                                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0) /* else it has been removed meanwhile */
			r = walk_below(fd, below, visit, arg, err);
	}
	return r;
}

int cgroup_walk(const char *directory, cgroup_visit *visit, void *arg, struct error *err)
{
	_cleanup_(close_p) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_raise(err, errno, "open the cgroup %s", directory);
	return walk_below(fd, "", visit, arg, err);
}

static int read_ids(int dir, const char *name, pid_t **ret, size_t *ret_n)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	_cleanup_(fclose_p) FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	pid_t pid;

	if (!f) {
		int e = -errno;
		close_p(&fd);
		return e;
	}
	errno = 0;
	while (fscanf(f, "%d", &pid) == 1)
		*array_push(*ret, *ret_n) = pid;
	return ferror(f) ? -errno : 0;
}

int cgroup_members(int dir, pid_t **ret, size_t *ret_n, struct error *err)
{
	*ret = NULL;
	*ret_n = 0;
	int r = read_ids(dir, "cgroup.procs", ret, ret_n);
	if (r == -EOPNOTSUPP) /* a threaded group, cgroups(7) */
		r = read_ids(dir, "cgroup.threads", ret, ret_n);
	return r < 0 ? error_raise(err, -r, "read who is in a cgroup") : 0;
}

static int has_member(int dir, const char *path, void *arg, struct error *err)
{
	_cleanup_(free_p) pid_t *pids = NULL;
	size_t n;
	int r = cgroup_members(dir, &pids, &n, err);

	return r < 0 ? error_trace(err, r) : n > 0;
}

bool cgroup_populated(const char *directory)
{
	struct error ignored = ERROR_INIT;

	return cgroup_walk(directory, has_member, NULL, &ignored) != 0;
}
