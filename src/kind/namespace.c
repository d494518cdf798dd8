/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces other than the coordinator's that no kind of their own is for are refused. Threads may
 * differ in them: each is looked at. The table names every link in /proc/PID/ns of Linux 6.1
 * to 6.18; one that it lacks is unknown state.
 */
#include "kind/namespace.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/cgroup_ns.h"
#include "kind/ipc_ns.h"
#include "kind/mnt_ns.h"
#include "kind/net_ns.h"
#include "kind/pid_ns.h"
#include "kind/time_ns.h"
#include "kind/user_ns.h"
#include "kind/uts_ns.h"
#include "task/task.h"
#include "util/cleanup.h"

static const struct link {
	const char *name;
	const char *what;
	const struct kind *kind; /* whose business it is, if others than ours are supported */
} links[] = {
	{ "cgroup", "cgroup", &cgroup_ns_kind },
	{ "ipc", "IPC", &ipc_ns_kind },
	{ "mnt", "mount", &mnt_ns_kind },
	{ "net", "network", &net_ns_kind },
	{ "pid", "pid", &pid_ns_kind },
	{ "pid_for_children", "pid", &pid_ns_kind },
	{ "time", "time", &time_ns_kind },
	{ "time_for_children", "time", &time_ns_kind },
	{ "user", "user", &user_ns_kind },
	{ "uts", "UTS", &uts_ns_kind },
};

static const struct link *find_link(const char *name)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (!strcmp(links[i].name, name))
			return &links[i];
	return NULL;
}

static void refuse_unknown(struct checkpoint *c, const struct task *task, const char *name)
{
	struct error refusal;

	error_refuse(&refusal, CODE_unknown_state, "namespaces called '%s' are not known", name);
	refuse(c, task, &refusal);
}

static void refuse_other(struct checkpoint *c, const struct task *task, const struct link *link,
                         const char *text)
{
	const char *suffix = strchr(link->name, '_') ? ", for its children" : "";
	struct error refusal;

	error_refuse(&refusal, CODE_namespace_other, "it has another %s namespace than stasis%s",
	             link->what, suffix);
	error_object(&refusal, "%s", text);
	error_hint(&refusal, "run stasis in that namespace: nsenter --target %d --all", task->tid);
	refuse(c, task, &refusal);
}

static int compare_link(struct checkpoint *c, const struct task *task, int dir, const char *name,
                        struct error *err)
{
	const struct link *link = find_link(name);
	char theirs[64], own[64];

	if (!link) {
		refuse_unknown(c, task, name);
		return 0;
	}
	if (link->kind)
		return 0;
	ssize_t n = readlinkat(dir, name, theirs, sizeof(theirs) - 1);
	if (n < 0 && errno == ENOENT) {
		/* CLONE_NEWPID was unshared, and no child made yet: there is no namespace */
		refuse_other(c, task, link, name);
		return 0;
	}
	if (n < 0)
		return error_raise(err, errno, "read /proc/%d/ns/%s", task->tid, name);
	theirs[n] = 0;
	char own_path[64];
	snprintf(own_path, sizeof(own_path), "/proc/thread-self/ns/%s", name);
	n = readlink(own_path, own, sizeof(own) - 1);
	if (n < 0)
		return error_raise(err, errno, "read %s", own_path);
	own[n] = 0;
	if (strcmp(theirs, own) != 0)
		refuse_other(c, task, link, theirs);
	return 0;
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
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		int r = compare_link(c, task, fd, e->d_name, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

const struct kind namespace_kind = {
	.name = "namespace",
	.number = 38,
	.collect = namespace_collect,
};
