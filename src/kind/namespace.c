/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every sort of namespace has a kind of its own. Here is what has none: a link in /proc/PID/ns that
 * Linux 6.1 to 6.18 do not have is unknown state. Threads may differ in their namespaces: each is
 * looked at.
 */
#include "kind/namespace.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "core/checkpoint.h"
#include "task/task.h"
#include "util/cleanup.h"

static const char *const links[] = {
	"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children",
	"user",   "uts",
};

static bool is_known(const char *name)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (!strcmp(links[i], name))
			return true;
	return false;
}

static void refuse_unknown(struct checkpoint *c, const struct task *task, const char *name)
{
	struct error refusal;

	error_refuse(&refusal, CODE_namespace_unknown, "namespaces called '%s' are not known",
	             name);
	refuse(c, task, &refusal);
}

static int namespace_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = NULL;
	int fd = task_openat(task, "ns", O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return error_raise(err, -fd, "open /proc/%d/ns", task->tid);
	dir = fdopendir(fd);
	if (!dir) {
		close_p(&fd);
		return error_raise(err, errno, "open /proc/%d/ns", task->tid);
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] != '.' && !is_known(e->d_name))
			refuse_unknown(c, task, e->d_name);
	return 0;
}

const struct kind namespace_kind = {
	.name = "namespace",
	.number = 38,
	.collect = namespace_collect,
};
