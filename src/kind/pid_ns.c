/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pid namespaces. See pid_ns.h. */
#include "kind/pid_ns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/helper.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "pid_ns.pb-c.h"
#include "task.pb-c.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define LAST_PID "/proc/sys/kernel/ns_last_pid"

static const struct ns_type type = { "pid", CLONE_NEWPID, "pid" };

/* ---- checkpoint ---- */

static void refuse_pid_ns(struct checkpoint *c, const struct task *task, const char *why)
{
	struct error refusal;

	error_refuse(&refusal, CODE_namespace_other, "%s", why);
	error_hint(&refusal,
	           "checkpoint a whole container by its init, or run stasis inside: "
	           "nsenter --target %d --all",
	           c->tasks[0]->tid);
	refuse(c, task, &refusal);
}

/* where its children will be: only where it is itself */
static int check_for_children(struct checkpoint *c, const struct task *task, struct error *err)
{
	_cleanup_(free_p) char *own = NULL, *children = NULL;
	int r = task_readlink(task, "ns/pid", &own, err);

	if (r == 0)
		r = task_readlink(task, "ns/pid_for_children", &children, err);
	if (r < 0 && r != -ENOENT)
		return error_trace(err, r);
	if (!own || !children || strcmp(own, children))
		refuse_pid_ns(c, task, "its children will be in another pid namespace than it is");
	return 0;
}

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	int r = ns_collect(c, task, &pid_ns_kind, &type, &object, err);

	if (r == 0 && task->state != TASK_ZOMBIE && task->state != TASK_DEAD_LEADER)
		r = check_for_children(c, task, err);
	if (r < 0)
		return error_trace(err, r);
	if (task == c->tasks[0] && object && task->recorded.tid != 1)
		refuse_pid_ns(c, task,
		              "it is in another pid namespace than stasis, and not its init");
	else if (task->status.n_ns_pids != c->tasks[0]->status.n_ns_pids)
		refuse_pid_ns(c, task, "it is in a pid namespace below that of the root");
	return 0;
}

/* runs in the namespace */
static int read_last_pid(void *arg, struct error *err)
{
	_cleanup_(close_p) int fd = open(LAST_PID, O_RDONLY | O_CLOEXEC);
	char text[24] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return error_raise(err, errno, "read " LAST_PID);
	*(uint32_t *)arg = (uint32_t)strtoul(text, NULL, 10);
	return 0;
}

static int write_last_pid(void *arg, struct error *err)
{
	_cleanup_(close_p) int fd = open(LAST_PID, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, "%u", *(uint32_t *)arg) < 0)
		return error_raise(err, errno, "write " LAST_PID);
	return 0;
}

struct visit {
	int fd; /* of the namespace */
	helper_fn *fn;
	uint32_t last_pid;
};

/* setns(2) of a pid namespace is for children: the child of this helper is in it */
static int visit(void *arg, struct error *err)
{
	struct visit *v = arg;

	if (setns(v->fd, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter a pid namespace");
	return helper_run(v->fn, &v->last_pid, sizeof(v->last_pid), err);
}

static int save(struct checkpoint *c, struct object *object, struct error *err)
{
	struct visit v = { .fd = ((struct ns *)object->live)->fd, .fn = read_last_pid };
	int r = helper_run(visit, &v, sizeof(v), err);

	if (r < 0)
		return error_trace(err, r);
	PidNsState *s = xmalloc(sizeof(*s));
	pid_ns_state__init(s);
	object->message = &s->base;
	s->last_pid = v.last_pid;
	s->owner = ns_owner(object);
	return 0;
}

/* ---- restart ---- */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const PidNsState *s = object_state(object, PidNsState);
	size_t cursor = 0;

	if (objects_next(objects, &pid_ns_kind, &cursor) != object)
		return error_raise(err, EBADMSG, "a second pid namespace");
	if (s->last_pid > INT32_MAX)
		return error_raise(err, EBADMSG, "a last pid of %u", s->last_pid);
	if (!user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "a pid namespace of object %u", s->owner);
	return 0;
}

static const struct object *find_of_root(const struct object *root, const struct objects *objects)
{
	const TaskState *t = object_state(root, TaskState);

	for (size_t i = 0; i < t->n_objects; i++) {
		const struct object *o = objects_by_id(objects, t->objects[i]);
		if (o->kind == &pid_ns_kind)
			return o;
	}
	return NULL;
}

bool pid_ns_of_root(const struct object *root, const struct objects *objects)
{
	return find_of_root(root, objects) != NULL;
}

uint32_t pid_ns_root_owner(const struct restart *r)
{
	const struct object *o = find_of_root(r->tasks[0], r->objects);

	return o ? object_state(o, PidNsState)->owner : 0;
}

/* the next pid that the container gives is the one it would have given */
static int finish(struct restart *r, struct object *object, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/pid", r->root);
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct visit v = { .fd = fd,
		           .fn = write_last_pid,
		           .last_pid = object_state(object, PidNsState)->last_pid };

	if (fd < 0)
		return error_raise(err, errno, "open %s", path);
	int e = helper_run(visit, &v, sizeof(v), err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind pid_ns_kind = {
	.name = "pid_ns",
	.number = 61,
	.message = &pid_ns_state__descriptor,
	.collect = collect,
	.judge = ns_judge,
	.save = save,
	.validate = validate,
	.finish = finish,
	.release = ns_release,
};
