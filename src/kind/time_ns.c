/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time namespaces. See time_ns.h.
 *
 * The offsets of a namespace are fixed when the first task enters it, so the clocks go on from the
 * moment when it is made: what the restart itself takes from there is added. setns(2) sets both the
 * namespace of a task and that of its children; where those differ, only unshare(2) by the task
 * itself makes it so.
 */
#include "kind/time_ns.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "kind/mm.h"
#include "kind/namespace/ns.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "kind/user_ns.h"
#include "task.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "time_ns.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"

#define CAP_SYS_ADMIN 21
#define CAP_SYS_TIME  25
#define CLOCK_MAX     (INT64_MAX / 2) /* KTIME_SEC_MAX / 2: the most the kernel lets a clock show */

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const struct ns_type type = { "time", CLONE_NEWTIME, "time" };
static const struct ns_type for_children = { "time_for_children", CLONE_NEWTIME, "time" };

/* ---- checkpoint ---- */

struct clocks {
	int fd; /* of the namespace */
	struct timespec monotonic, boottime;
};

static int read_clocks(struct clocks *c, struct error *err)
{
	if (clock_gettime(CLOCK_MONOTONIC, &c->monotonic) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &c->boottime) < 0)
		return error_raise(err, errno, "read the clocks");
	return 0;
}

static int read_in_helper(void *arg, struct error *err)
{
	struct clocks *c = arg;

	if (namespace_enter(c->fd, CLONE_NEWTIME) < 0)
		return error_raise(err, errno, "enter a time namespace");
	return read_clocks(c, err);
}

static void refuse_time(struct checkpoint *c, const struct task *task, const char *link,
                        const char *why)
{
	struct error refusal;

	error_refuse(&refusal, CODE_namespace_time, "%s", why);
	error_object(&refusal, "%s", link);
	error_hint(&refusal,
	           "checkpoint below that task, or run stasis in its namespaces: "
	           "nsenter --target %d --all",
	           task->tid);
	refuse(c, task, &refusal);
}

static int make_state(struct checkpoint *c, const struct task *task, struct object *object,
                      bool outer, struct error *err)
{
	const struct ns *ns = object->live;
	struct clocks clocks = { .fd = ns->fd };
	int r = outer ? read_clocks(&clocks, err)
	              : helper_run(read_in_helper, &clocks, sizeof(clocks), err);

	if (r < 0 && err->errnum == EPERM) {
		refuse_time(c, task, ns->link,
		            "its clocks cannot be read: that takes CAP_SYS_ADMIN");
		r = 0;
	}
	if (r < 0)
		return error_trace(err, r);
	TimeNsState *s = xmalloc(sizeof(*s));
	time_ns_state__init(s);
	object->message = &s->base;
	s->outer = outer;
	s->owner = ns_owner(object);
	s->monotonic_ns = timespec_to_ns(&clocks.monotonic);
	s->boottime_ns = timespec_to_ns(&clocks.boottime);
	return 0;
}

static bool is_own(const struct stat *st)
{
	struct stat own;

	return stat("/proc/thread-self/ns/time", &own) == 0 && own.st_dev == st->st_dev &&
	       own.st_ino == st->st_ino;
}

/* *ret stays NULL on a kernel without time namespaces */
static int find(struct checkpoint *c, struct task *task, const char *name, struct object **ret,
                struct error *err)
{
	char relative[32];
	struct stat st;
	bool is_new;

	*ret = NULL;
	snprintf(relative, sizeof(relative), "ns/%s", name);
	_cleanup_(close_p) int fd = task_openat(task, relative, O_RDONLY);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, fd < 0 ? -fd : errno, "open /proc/%d/ns/%s", task->tid,
		                   name);
	*ret = objects_get(c->objects, &time_ns_kind, &st.st_ino, sizeof(st.st_ino), &is_new);
	if (!is_new)
		return 0;
	struct ns *ns = ns_live(*ret, &type);
	ns->fd = take_fd(&fd);
	ns->task = task;
	snprintf(ns->link, sizeof(ns->link), "time:[%llu]", (unsigned long long)st.st_ino);
	int r = is_own(&st) ? 0 : user_ns_collect_owner(c, task, ns->fd, &ns->owner, err);
	if (r == 0)
		r = make_state(c, task, *ret, is_own(&st), err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* it has unshared CLONE_NEWTIME: its children are, or will be, in another one */
static void note_maker(struct checkpoint *c, const struct task *task, struct object *object)
{
	const struct ns *ns = object->live;
	TimeNsState *s = object_state(object, TimeNsState);

	if (s->owner)
		refuse_time(c, task, ns->link,
		            "it is in a user namespace, and has a time namespace for its children");
	else if (s->outer)
		refuse_time(c, task, ns->link,
		            "it is in a time namespace, and its children are in that of stasis");
	else if (s->maker)
		refuse_time(c, task, ns->link,
		            "two tasks have one time namespace for their children only");
	else
		s->maker = (uint32_t)task->recorded.tid;
}

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *own, *children;

	if (task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER)
		return 0;
	int r = find(c, task, "time", &own, err);
	if (r == 0)
		r = find(c, task, "time_for_children", &children, err);
	if (r < 0)
		return error_trace(err, r);
	if (own)
		task_refer(task, own);
	if (children && children != own) {
		task_refer(task, children);
		note_maker(c, task, children);
	}
	return 0;
}

/* CLONE_VM needs both to be in one: such a process could not be made with it */
static void judge_maker(struct checkpoint *c, const struct ns *ns, uint32_t maker)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		const struct task *task = c->tasks[i];
		const struct object *mm = task_object(task, &mm_kind);
		if (task->recorded.tid == (pid_t)maker && mm && mm->n_users > 1)
			refuse_time(c, task, ns->link,
			            "it has another time namespace for its children, and shares "
			            "its memory");
	}
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const TimeNsState *s = object_state(object, TimeNsState);

	if (s->outer)
		return 0;
	if (s->maker)
		judge_maker(c, object->live, s->maker);
	int r = ns_judge(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
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
	if (!user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "a time namespace of object %u", s->owner);
	return 0;
}

/* what is not made is the coordinator's own */
static bool is_made(const struct restart *r, const struct object *object)
{
	return !object_state(object, TimeNsState)->outer ||
	       r->options->clock == CLOCK_MODE_CONTINUE;
}

static bool any_made(const struct restart *r)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &time_ns_kind, &cursor));)
		if (is_made(r, o))
			return true;
	return false;
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	struct error refusal;

	if (!is_made(r, object))
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

struct offset {
	long long s, ns;
};

/* "monotonic SECONDS NANOSECONDS", "boottime ..." */
static int read_offsets(const char *path, struct offset *monotonic, struct offset *boottime,
                        struct error *err)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[256];
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size < 0)
		return error_raise(err, errno, "read %s", path);
	text[size] = 0;
	int n = sscanf(text, "monotonic %lld %lld boottime %lld %lld", &monotonic->s,
	               &monotonic->ns, &boottime->s, &boottime->ns);
	return n == 4 ? 0 : error_raise(err, EBADMSG, "parse %s", path);
}

/* the offset with which a clock that shows @now with @own comes to show @want; ns from 0 to 1e9 */
static struct offset offset_to(const struct offset *own, const struct timespec *now, uint64_t want)
{
	struct offset o = { own->s + (long long)(want / SECOND_NS) - now->tv_sec,
		            own->ns + (long long)(want % SECOND_NS) - now->tv_nsec };

	while (o.ns < 0) {
		o.ns += SECOND_NS;
		o.s--;
	}
	while (o.ns >= SECOND_NS) {
		o.ns -= SECOND_NS;
		o.s++;
	}
	return o;
}

/*
 * Offsets count from the initial namespace whoever writes them: our own tell where we are from
 * there. @path: timens_offsets of a process with a new namespace for its children.
 */
static int write_offsets(const char *path, const TimeNsState *s, struct error *err)
{
	struct offset monotonic, boottime;
	struct clocks now = { .fd = -1 };
	int e = read_offsets("/proc/self/timens_offsets", &monotonic, &boottime, err);

	if (e == 0)
		e = read_clocks(&now, err);
	if (e < 0)
		return error_trace(err, e);
	monotonic = offset_to(&monotonic, &now.monotonic, s->monotonic_ns);
	boottime = offset_to(&boottime, &now.boottime, s->boottime_ns);
	e = file_write(path, err, "monotonic %lld %lld\nboottime %lld %lld\n", monotonic.s,
	               monotonic.ns, boottime.s, boottime.ns);
	return e < 0 ? error_trace(err, e) : 0;
}

/* in a helper that has just unshared it */
static int fill(const struct object *object, struct error *err)
{
	int e = write_offsets("/proc/self/timens_offsets", object_state(object, TimeNsState), err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	const TimeNsState *s = object_state(object, TimeNsState);
	struct ns *ns = ns_live(object, &type);
	int e = 0;

	if (!any_made(r) || s->maker)
		return 0;
	if (is_made(r, object)) {
		/* one that there was not is of the namespace that all are born in */
		uint32_t owner = s->outer ? pid_ns_root_owner(r) : s->owner;
		e = ns_make(object, &for_children, user_ns_fd(r, owner), fill, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	ns->fd = open("/proc/thread-self/ns/time", O_RDONLY | O_CLOEXEC);
	return ns->fd < 0 ? error_raise(err, errno, "open our own time namespace") : 0;
}

/* a namespace that one stub has for its children only: it makes that itself */
static int make_in_stub(struct object *object, struct stub *stub, struct error *err)
{
	_cleanup_(free_p) char *offsets = xasprintf("/proc/%d/timens_offsets", stub->host_tid);
	_cleanup_(free_p) char *link = xasprintf("/proc/%d/ns/time_for_children", stub->host_tid);

	CALL(stub->calls, unshare, CLONE_NEWTIME);
	int e = calls_run(stub->calls, err);
	if (e == 0)
		e = write_offsets(offsets, object_state(object, TimeNsState), err);
	if (e < 0)
		return error_trace(err, e);
	struct ns *ns = ns_live(object, &type);
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
		e = make_in_stub(made, parent, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int enter(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	/* the root is in ours already */
	if (!any_made(r) || (!is_made(r, object) && !stub->parent))
		return 0;
	if (!is_there(object))
		return error_refuse(err, CODE_image_invalid,
		                    "time_ns: %d is in a namespace that is made later", stub->tid);
	int e = ns_enter(r, object, stub, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* no child is in it */
static int install(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	struct object *made = made_by(stub);
	int e = 0;

	if (made && made == object && !is_there(made))
		e = make_in_stub(object, stub, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind time_ns_kind = {
	.name = "time_ns",
	.number = 63,
	.message = &time_ns_state__descriptor,
	.collect = collect,
	.judge = judge,
	.validate = validate,
	.preflight = preflight,
	.restore = restore,
	.born_in = born_in,
	.before_clone = before_clone,
	.enter = enter,
	.install = install,
	.release = ns_release,
};
