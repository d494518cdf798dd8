/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pid namespaces. See pid_ns.h. */
#include "kind/pid_ns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "core/restart.h"
#include "kind/pid_ns/parts.h"
#include "kind/user_ns.h"
#include "pid_ns.pb-c.h"
#include "task.pb-c.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PID_MAX_LIMIT    (4u << 20) /* the most there can be, proc_sys_kernel(5) */
#define MEMFD_NOEXEC_MAX 2u

const struct ns_type pid_ns_type = { "pid", CLONE_NEWPID, "pid" };

struct pid_ns *pid_ns_live(struct object *object)
{
	if (!object->live) {
		struct pid_ns *ns = object->live = xcalloc(1, sizeof(*ns));
		ns->ns.fd = -1;
		ns->ns.type = &pid_ns_type;
	}
	return object->live;
}

struct object **pid_ns_list_all(const struct objects *objects, const struct object *first,
                                size_t *ret_n)
{
	struct object **all = NULL;
	size_t cursor = 0;

	*ret_n = 0;
	for (struct object *o; (o = objects_next(objects, &pid_ns_kind, &cursor));) {
		if (!all && o != first)
			break;
		*array_push(all, *ret_n) = o;
	}
	return all;
}

/* ---- what an image says ---- */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const PidNsState *s = object_state(object, PidNsState);
	const struct object *parent = objects_by_id(objects, s->parent);

	if (s->parent && (!parent || parent->kind != &pid_ns_kind || s->parent >= object->id))
		return error_raise(err, EBADMSG, "it is below %u, which is none, or comes later",
		                   s->parent);
	if (s->last_pid > INT32_MAX)
		return error_raise(err, EBADMSG, "a last pid of %u", s->last_pid);
	if (s->pid_max > PID_MAX_LIMIT || s->memfd_noexec > MEMFD_NOEXEC_MAX)
		return error_raise(err, EBADMSG, "pid_max %u, memfd_noexec %u", s->pid_max,
		                   s->memfd_noexec);
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

/* ---- restart ---- */

struct object *pid_ns_owner(const struct restart *r, const struct plan_ns *ns)
{
	uint32_t owner = ns && ns->owner ? ns->owner : pid_ns_root_owner(r);

	return owner ? objects_by_id(r->objects, owner) : NULL;
}

/* it has no init any more, not even a dead one */
static bool is_gone(const struct restart *r, const struct object *object)
{
	const struct plan_ns *ns = tree_ns(&r->image.namespaces, object->id);

	return ns && ns->init == PLAN_NONE && object_state(object, PidNsState)->dead;
}

static struct object *above(const struct restart *r, const struct object *object)
{
	uint32_t id = object_state(object, PidNsState)->parent;

	if (!id)
		id = r->image.namespaces.root;
	return id ? objects_by_id(r->objects, id) : NULL;
}

/* @top, and those below it that are gone, too: parents come first */
static size_t list_gone(const struct restart *r, struct object *top, struct object **all,
                        struct pid_ns_dead *list)
{
	size_t n = 0, cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &pid_ns_kind, &cursor));) {
		struct object *up = above(r, o);
		bool is_listed = o != top && up && pid_ns_live(up)->top == top;
		if (o != top && (!is_listed || !is_gone(r, o)))
			continue;
		pid_ns_live(o)->top = top;
		pid_ns_live(o)->place = n;
		list[n].above = is_listed ? pid_ns_live(up)->place : n;
		list[n].owner = user_ns_fd(r, object_state(o, PidNsState)->owner);
		list[n].fd = -1;
		all[n++] = o;
	}
	return n;
}

/* one that is gone, with all above and below it that are; its descriptor */
static int restore_gone(struct restart *r, struct object *object, struct error *err)
{
	struct object *top = object, *up;
	int e = 0, fd = -1;

	while ((up = above(r, top)) && is_gone(r, up))
		top = up;
	if (up)
		e = fd = pid_ns_fd(r, up, err);
	if (e < 0)
		return error_trace(err, e);
	size_t n = objects_count(r->objects);
	_cleanup_(free_p) struct object **all = xcalloc(n, sizeof(struct object *));
	_cleanup_(free_p) struct pid_ns_dead *list = xcalloc(n, sizeof(*list));
	n = list_gone(r, top, all, list);
	e = pid_ns_make_dead(fd, list, n, err);
	for (size_t i = 0; i < n; i++)
		pid_ns_live(all[i])->ns.fd = list[i].fd;
	return e < 0 ? error_trace(err, e) : pid_ns_live(object)->ns.fd;
}

/* they are made by the clones of their inits: by then each can be had */
int pid_ns_fd(struct restart *r, struct object *object, struct error *err)
{
	const struct plan_ns *ns = tree_ns(&r->image.namespaces, object->id);
	pid_t init = !ns ? r->root : ns->init == PLAN_NONE ? 0 : r->stubs[ns->init]->host_tid;
	struct pid_ns *p = pid_ns_live(object);

	if (p->ns.fd >= 0)
		return p->ns.fd;
	if (is_gone(r, object))
		return restore_gone(r, object, err);
	if (!init)
		return error_raise(err, ESRCH, "find the init of pid namespace %u", object->id);
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/pid", init);
	p->ns.fd = open(path, O_RDONLY | O_CLOEXEC);
	return p->ns.fd < 0 ? error_raise(err, errno, "open %s", path) : p->ns.fd;
}

/* the next children of @stub will be in it */
static int set_for_children(struct restart *r, struct object *object, struct stub *stub,
                            bool unborn, struct error *err)
{
	int e = 0;

	if (unborn) {
		CALL(stub->calls, unshare, CLONE_NEWPID);
	} else {
		int fd = pid_ns_fd(r, object, err);
		e = fd < 0 ? fd : stub_send_fds(r, stub, &fd, 1, err);
		if (e == 0) {
			CALL(stub->calls, setns, 0, CLONE_NEWPID);
			CALL(stub->calls, close, 0);
		}
	}
	if (e == 0)
		e = calls_run(stub->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int after_clone(struct restart *r, struct object *object, struct error *err)
{
	const PidNsState *s = object_state(object, PidNsState);
	const struct plan_ns *ns = tree_ns(&r->image.namespaces, object->id);
	bool no_init = ns && ns->init == PLAN_NONE;
	int e = 0;

	for (size_t i = 0; e == 0 && i < s->n_users; i++)
		e = set_for_children(r, object, restart_stub(r, (pid_t)s->users[i]),
		                     no_init && !s->dead, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int write_settings(struct restart *r, struct object *object, struct error *err)
{
	const struct plan_ns *ns = tree_ns(&r->image.namespaces, object->id);
	const PidNsState *s = object_state(object, PidNsState);
	const struct pid_ns_settings settings = { s->last_pid, s->pid_max, s->memfd_noexec };

	if (s->dead || (ns && ns->init == PLAN_NONE))
		return 0;
	int fd = pid_ns_fd(r, object, err);
	if (fd >= 0)
		fd = pid_ns_write_settings(fd, &settings, err);
	return fd < 0 ? error_trace(err, fd) : 0;
}

/*
 * The next pid that each gives is the one it would have given. Who writes that takes a pid in all
 * those above: the deepest come first, all of them in the turn of the first.
 */
static int finish(struct restart *r, struct object *object, struct error *err)
{
	size_t n;
	_cleanup_(free_p) struct object **all = pid_ns_list_all(r->objects, object, &n);
	int e = 0;

	for (size_t i = n; e == 0 && i > 0; i--)
		e = write_settings(r, all[i - 1], err);
	return e < 0 ? error_trace(err, e) : 0;
}

static void release(struct object *object)
{
	struct pid_ns *ns = object->live;

	if (ns)
		free(ns->users);
	ns_release(object);
}

const struct kind pid_ns_kind = {
	.name = "pid_ns",
	.number = 61,
	.message = &pid_ns_state__descriptor,
	.collect = pid_ns_collect,
	.collect_dead = pid_ns_collect_dead,
	.judge = pid_ns_judge,
	.save = pid_ns_save,
	.validate = validate,
	.after_clone = after_clone,
	.finish = finish,
	.release = release,
};
