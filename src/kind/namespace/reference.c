/* SPDX-License-Identifier: GPL-2.0-or-later */
/* References to namespaces. See reference.h. */
#include "kind/namespace/reference.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/cgroup_ns.h"
#include "kind/ipc_ns.h"
#include "kind/mnt_ns.h"
#include "kind/namespace/ns.h"
#include "kind/net_ns.h"
#include "kind/pid_ns.h"
#include "kind/time_ns.h"
#include "kind/user_ns.h"
#include "kind/uts_ns.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

typedef int collect_fd_fn(struct checkpoint *c, const struct task *task, int nsfd,
                          struct object **ret, struct error *err);

static const struct sort {
	uint32_t type;
	const char *link;
	const struct kind *kind;
	collect_fd_fn *collect; /* adds one that no task need be in */
} sorts[] = {
	{ CLONE_NEWUTS, "uts", &uts_ns_kind, uts_ns_collect_fd },
	{ CLONE_NEWIPC, "ipc", &ipc_ns_kind, ipc_ns_collect_fd },
	{ CLONE_NEWNET, "net", &net_ns_kind, net_ns_collect_fd },
	{ CLONE_NEWUSER, "user", &user_ns_kind, user_ns_collect },
	{ CLONE_NEWNS, "mnt", &mnt_ns_kind, mnt_ns_collect_fd },
	{ CLONE_NEWPID, "pid", &pid_ns_kind, pid_ns_collect_fd },
	{ CLONE_NEWTIME, "time", &time_ns_kind, time_ns_collect_fd },
	{ CLONE_NEWCGROUP, "cgroup", &cgroup_ns_kind, cgroup_ns_collect_fd },
};

static const struct sort *find_sort(uint32_t type)
{
	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++)
		if (sorts[i].type == type)
			return &sorts[i];
	return NULL;
}

bool ns_reference_parse(const char *text, struct ns_reference *ret)
{
	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++) {
		size_t size = strlen(sorts[i].link);
		char *end;
		if (strncmp(text, sorts[i].link, size) != 0 || strncmp(text + size, ":[", 2) != 0)
			continue;
		ret->type = sorts[i].type;
		ret->inode = strtoull(text + size + 2, &end, 10);
		return end > text + size + 2 && !strcmp(end, "]");
	}
	return false;
}

/* ---- checkpoint ---- */

static bool is_own(const struct sort *sort, uint64_t inode)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/thread-self/ns/%s", sort->link);
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == inode;
}

int ns_reference_collect(struct checkpoint *c, const struct task *task, int fd,
                         struct ns_reference *ret, struct error *err)
{
	int type = ioctl(fd, NS_GET_NSTYPE);
	const struct sort *sort = type < 0 ? NULL : find_sort((uint32_t)type);
	struct object *object;
	struct stat st;

	if (!sort || fstat(fd, &st) < 0) {
		error_refuse(err, CODE_namespace_unknown, "a namespace of type %x is not known",
		             (unsigned)type);
		return -EOPNOTSUPP;
	}
	*ret = (struct ns_reference){ sort->type, st.st_ino };
	if (is_own(sort, st.st_ino) ||
	    objects_find(c->objects, sort->kind, &ret->inode, sizeof(ret->inode)))
		return 0;
	int r = sort->collect(c, task, fd, &object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int refuse_outside(const struct sort *sort, uint64_t inode, const char *why,
                          struct error *err)
{
	error_refuse(err, CODE_namespace_reference, "it refers to a %s namespace %s", sort->link,
	             why);
	error_object(err, "%s:[%llu]", sort->link, (unsigned long long)inode);
	return -EOPNOTSUPP;
}

const struct object *ns_reference_find(const struct checkpoint *c, const struct ns_reference *ref)
{
	const struct sort *sort = find_sort(ref->type);

	return ref->type != CLONE_NEWNET /* those stay outside */
	               ? objects_find(c->objects, sort->kind, &ref->inode, sizeof(ref->inode))
	               : NULL;
}

int ns_reference_judge(struct checkpoint *c, const struct ns_reference *ref, uint32_t *ret_id,
                       struct error *err)
{
	const struct sort *sort = find_sort(ref->type);
	const struct object *o = objects_find(c->objects, sort->kind, &ref->inode,
	                                      sizeof(ref->inode));

	*ret_id = o ? o->id : 0;
	if (o)
		return 0;
	if (!is_own(sort, ref->inode))
		return refuse_outside(sort, ref->inode, "that is not of the set", err);
	/* what the container shares with the host is nothing that it could not name otherwise */
	if (checkpoint_is_container(c) && task_object(c->tasks[0], sort->kind))
		return refuse_outside(sort, ref->inode, "outside of the container", err);
	return 0;
}

/* ---- restart ---- */

bool ns_reference_valid(const struct objects *objects, uint32_t type, uint32_t id)
{
	const struct sort *sort = find_sort(type);
	const struct object *o = id ? objects_by_id(objects, id) : NULL;

	return sort && (!id || (o && o->kind == sort->kind));
}

static int open_again(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int ns_reference_open(struct restart *r, uint32_t type, uint32_t id)
{
	const struct sort *sort = find_sort(type);
	struct object *o = id ? objects_by_id(r->objects, id) : NULL;
	_cleanup_(free_p) char *path = xasprintf("/proc/thread-self/ns/%s", sort->link);
	struct error later = ERROR_INIT;
	int fd = -1;

	/* without --clock continue everybody stays in ours */
	if (!o || (type == CLONE_NEWTIME && !time_ns_is_made(r, o)))
		return open(path, O_RDONLY | O_CLOEXEC);
	if (type == CLONE_NEWPID)
		fd = pid_ns_fd(r, o, &later); /* as soon as its init is there */
	else if (type == CLONE_NEWNS)
		fd = mnt_ns_fd(r, o);
	else if (type == CLONE_NEWUSER)
		fd = user_ns_fd(r, id);
	else if (o->live)
		fd = ((const struct ns *)o->live)->fd;
	if (fd < 0)
		errno = ENOENT;
	return fd < 0 ? -1 : open_again(fd);
}
