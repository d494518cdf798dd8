/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time namespaces. See time_ns.h.
 *
 * The offsets of a namespace are fixed when the first task enters it, so the clocks go on from the
 * moment when the first is made: what the restart itself takes from there is added. All are read,
 * and set, for one moment: what their clocks differ by stays exact. setns(2) sets both the
 * namespace of a task and that of its children; where those differ, only unshare(2) by the task
 * itself makes it so.
 */
#include "kind/time_ns.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/restart.h"
#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "kind/time_ns/parts.h"
#include "kind/user_ns.h"
#include "task.pb-c.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define CAP_SYS_ADMIN 21
#define CAP_SYS_TIME  25
#define CLOCK_MAX     (INT64_MAX / 2) /* KTIME_SEC_MAX / 2: the most the kernel lets a clock show */

static const struct ns_type type = { "time", CLONE_NEWTIME, "time" };
static const struct ns_type for_children = { "time_for_children", CLONE_NEWTIME, "time" };

struct time_ns *time_ns_live(struct object *object)
{
	if (!object->live) {
		struct time_ns *t = object->live = xcalloc(1, sizeof(*t));
		t->ns.fd = -1;
		t->ns.type = &type;
	}
	return object->live;
}

/* ---- restart: what is made ---- */

static bool refers(const TaskState *t, uint32_t id)
{
	for (size_t i = 0; i < t->n_objects; i++)
		if (t->objects[i] == id)
			return true;
	return false;
}

static bool has_maker(const struct objects *objects, const struct object *object, uint32_t maker)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(objects, &task_kind, &cursor));) {
		const TaskState *t = object_state(o, TaskState);
		if (t->tid == maker)
			return t->state == TASK_STATE__STATE__LIVE ||
			                       t->state == TASK_STATE__STATE__STOPPED
			               ? refers(t, object->id)
			               : false;
	}
	return false;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const TimeNsState *s = object_state(object, TimeNsState);
	size_t cursor = 0;

	if (s->monotonic_ns > CLOCK_MAX || s->boottime_ns > CLOCK_MAX)
		return error_raise(err, EBADMSG, "clocks of %" PRIu64 " and %" PRIu64 " ns",
		                   s->monotonic_ns, s->boottime_ns);
	for (struct object *o; (o = objects_next(objects, &time_ns_kind, &cursor));)
		if (o != object && s->outer && object_state(o, TimeNsState)->outer)
			return error_raise(err, EBADMSG, "two time namespaces of the checkpoint");
	if (s->maker && (s->outer || !has_maker(objects, object, s->maker)))
		return error_raise(err, EBADMSG, "a namespace for the children of %u", s->maker);
	if (s->unfrozen && !s->maker)
		return error_raise(err, EBADMSG, "offsets that nobody can set");
	if (!user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "a time namespace of object %u", s->owner);
	return 0;
}

bool time_ns_is_made(const struct restart *r, const struct object *object)
{
	return !object_state(object, TimeNsState)->outer ||
	       r->options->clock == CLOCK_MODE_CONTINUE;
}

static bool any_made(const struct restart *r)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &time_ns_kind, &cursor));)
		if (time_ns_is_made(r, o))
			return true;
	return false;
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	struct error refusal;

	if (!time_ns_is_made(r, object))
		return 0;
	if (access("/proc/self/ns/time", F_OK) < 0)
		error_refuse(&refusal, CODE_namespace_time,
		             "this kernel has no time namespaces (CONFIG_TIME_NS)");
	else if (!(r->new_pidns && !features_capability(CAP_SYS_ADMIN)) &&
	         !(features_capability(CAP_SYS_ADMIN) && features_capability(CAP_SYS_TIME)))
		error_refuse(&refusal, CODE_capability,
		             "CAP_SYS_ADMIN and CAP_SYS_TIME are needed to make a time namespace");
	else
		return 0;
	if (object_state(object, TimeNsState)->outer)
		error_hint(&refusal, "restart as root, or without --clock continue");
	else
		error_hint(&refusal, "restart as root, where there are time namespaces");
	restart_refuse(r, &refusal);
	return 0;
}

/* of all, when the first is needed. Ours tell where we are from the initial namespace. */
static int find_offsets(const struct restart *r, struct error *err)
{
	struct clocks now;
	size_t cursor = 0;
	int e = clocks_read(&now, err);

	if (e < 0)
		return error_trace(err, e);
	for (struct object *o; (o = objects_next(r->objects, &time_ns_kind, &cursor));) {
		const TimeNsState *s = object_state(o, TimeNsState);
		struct offsets *to = time_ns_live(o)->offsets = xmalloc(sizeof(*to));
		*to = clocks_offsets(&now, s->monotonic_ns, s->boottime_ns);
	}
	return 0;
}

/* @path: timens_offsets of a process with the new namespace for its children */
static int set_offsets(const char *path, const struct object *object, struct error *err)
{
	const struct offsets *offsets = ((const struct time_ns *)object->live)->offsets;

	assert(offsets); /* find_offsets() makes those of all */
	int e = offsets_write(path, offsets, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* in a helper that has just unshared it */
static int fill(const struct object *object, struct error *err)
{
	return set_offsets("/proc/self/timens_offsets", object, err);
}

int time_ns_fd(struct restart *r, struct object *object, struct error *err)
{
	const TimeNsState *s = object_state(object, TimeNsState);
	struct time_ns *t = time_ns_live(object);

	if (t->ns.fd >= 0)
		return t->ns.fd;
	if (s->maker)
		return error_raise(err, ESRCH, "find the time namespace of the children of %u",
		                   s->maker);
	if (!time_ns_is_made(r, object)) {
		t->ns.fd = open("/proc/thread-self/ns/time", O_RDONLY | O_CLOEXEC);
		return t->ns.fd < 0 ? error_raise(err, errno, "open our own time namespace")
		                    : t->ns.fd;
	}
	int e = t->offsets ? 0 : find_offsets(r, err);
	/* one that there was not is of the namespace that all are born in */
	if (e == 0)
		e = ns_make(object, &for_children,
		            user_ns_fd(r, s->outer ? pid_ns_root_owner(r) : s->owner), fill, err);
	return e < 0 ? error_trace(err, e) : t->ns.fd;
}

/* a namespace that one stub has for its children only: it makes that itself */
static int make_in_stub(struct restart *r, struct object *object, struct stub *stub,
                        struct error *err)
{
	_cleanup_(free_p) char *offsets = xasprintf("/proc/%d/timens_offsets", stub->host_tid);
	_cleanup_(free_p) char *link = xasprintf("/proc/%d/ns/time_for_children", stub->host_tid);

	CALL(stub->calls, unshare, CLONE_NEWTIME);
	int e = calls_run(stub->calls, err);
	if (e == 0 && !time_ns_live(object)->offsets)
		e = find_offsets(r, err);
	if (e == 0)
		e = set_offsets(offsets, object, err);
	if (e < 0)
		return error_trace(err, e);
	struct ns *ns = &time_ns_live(object)->ns;
	ns->fd = open(link, O_RDONLY | O_CLOEXEC);
	return ns->fd < 0 ? error_raise(err, errno, "open %s", link) : 0;
}

/* the one that @stub has for its children only, NULL if none */
static struct object *made_by(const struct stub *stub)
{
	for (size_t i = 0; i < stub->n_objects; i++) {
		struct object *o = stub->objects[i];
		if (o->kind == &time_ns_kind &&
		    object_state(o, TimeNsState)->maker == (uint32_t)stub->tid)
			return o;
	}
	return NULL;
}

static bool is_there(const struct object *object)
{
	const struct ns *ns = object->live;

	return ns && ns->fd >= 0;
}

static struct object *born_in(const struct stub *maker)
{
	struct object *made = made_by(maker);

	return made && is_there(made) ? made : stub_object(maker, &time_ns_kind);
}

/* the first child that is in it is about to be made; earlier ones were not */
static int before_clone(struct restart *r, struct stub *parent, struct stub *child,
                        struct error *err)
{
	struct object *made = made_by(parent);
	int e = 0;

	if (made && !is_there(made) && stub_object(child, &time_ns_kind) == made)
		e = make_in_stub(r, made, parent, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int enter(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	/* the root is in ours already */
	if (!any_made(r) || (!time_ns_is_made(r, object) && !stub->parent))
		return 0;
	int e = time_ns_fd(r, object, err);
	if (e >= 0)
		e = ns_enter(r, object, stub, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int freeze_in_helper(void *arg, struct error *err)
{
	const struct ns *ns = arg;

	if (namespace_enter(ns->fd, CLONE_NEWTIME) < 0)
		return error_raise(err, errno, "enter a time namespace");
	return 0;
}

/* one that nobody has entered: no child is in it, or only descriptors and binds are of it */
static int after_clone(struct restart *r, struct object *object, struct error *err)
{
	const TimeNsState *s = object_state(object, TimeNsState);
	int e = 0;

	if (!time_ns_is_made(r, object) || is_there(object))
		return 0;
	if (!s->maker)
		e = time_ns_fd(r, object, err);
	else
		e = make_in_stub(r, object, restart_stub(r, (pid_t)s->maker), err);
	if (e == 0 && s->maker && !s->unfrozen)
		e = helper_run(freeze_in_helper, object->live, 0, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static void release(struct object *object)
{
	struct time_ns *t = object->live;

	if (t)
		free(t->offsets);
	ns_release(object);
}

const struct kind time_ns_kind = {
	.name = "time_ns",
	.number = 63,
	.message = &time_ns_state__descriptor,
	.collect = time_ns_collect,
	.judge = time_ns_judge,
	.save = time_ns_save,
	.validate = validate,
	.preflight = preflight,
	.born_in = born_in,
	.before_clone = before_clone,
	.enter = enter,
	.after_clone = after_clone,
	.release = release,
};
