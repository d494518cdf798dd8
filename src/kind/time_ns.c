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
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
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

struct offset {
	long long s, ns; /* ns from 0 to 1e9 */
};

/* from the clocks of the initial namespace */
struct offsets {
	struct offset monotonic, boottime;
};

/* object->live */
struct time_ns {
	struct ns ns;             /* first: it is one */
	bool outer;               /* checkpoint: our own */
	const struct task *maker; /* checkpoint: it has it for its children only */
	struct offsets *offsets;  /* restart: NULL: not yet known */
};

static struct time_ns *live(struct object *object)
{
	if (!object->live) {
		struct time_ns *t = object->live = xcalloc(1, sizeof(*t));
		t->ns.fd = -1;
		t->ns.type = &type;
	}
	return object->live;
}

struct clocks {
	struct timespec monotonic, boottime;
};

static int read_clocks(struct clocks *c, struct error *err)
{
	if (clock_gettime(CLOCK_MONOTONIC, &c->monotonic) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &c->boottime) < 0)
		return error_raise(err, errno, "read the clocks");
	return 0;
}

/* those of the namespace that a process has for its children */
static int read_offsets(const char *path, struct offsets *ret, struct error *err)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct offset *m = &ret->monotonic, *b = &ret->boottime;
	char text[256];
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size < 0)
		return error_raise(err, errno, "read %s", path);
	text[size] = 0;
	/* "monotonic SECONDS NANOSECONDS", "boottime ..." */
	int n = sscanf(text, "monotonic %lld %lld boottime %lld %lld", &m->s, &m->ns, &b->s,
	               &b->ns);
	return n == 4 ? 0 : error_raise(err, EBADMSG, "parse %s", path);
}

static int write_offsets(const char *path, const struct offsets *o, struct error *err)
{
	return file_write(path, err, "monotonic %lld %lld\nboottime %lld %lld\n", o->monotonic.s,
	                  o->monotonic.ns, o->boottime.s, o->boottime.ns);
}

struct asking {
	int fd;
	const char *path; /* of a process that has it for its children; NULL: none */
	struct offsets offsets;
	bool unfrozen;
};

/* what has been entered is frozen, which makes no difference if nobody can set it any more */
static int ask_in_helper(void *arg, struct error *err)
{
	struct asking *a = arg;

	if (namespace_enter(a->fd, CLONE_NEWTIME) < 0)
		return error_raise(err, errno, "enter a time namespace");
	return read_offsets("/proc/self/timens_offsets", &a->offsets, err);
}

/* our own: before Linux 6.3 unshare(1) without --fork leaves us another one for our children */
static int read_own(struct offsets *ret, struct error *err)
{
	_cleanup_(close_p) int fd = open("/proc/thread-self/ns/time", O_RDONLY | O_CLOEXEC);
	struct asking a = { .fd = fd };
	int r;

	if (namespace_is_own(fd, "time_for_children"))
		return read_offsets("/proc/self/timens_offsets", ret, err);
	r = helper_run(ask_in_helper, &a, sizeof(a), err);
	*ret = a.offsets;
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- checkpoint ---- */

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

static bool is_own(const struct stat *st)
{
	struct stat own;

	return stat("/proc/thread-self/ns/time", &own) == 0 && own.st_dev == st->st_dev &&
	       own.st_ino == st->st_ino;
}

static int add(struct checkpoint *c, const struct task *task, int fd, struct object **ret,
               struct error *err)
{
	struct stat st;
	bool is_new;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "look at a time namespace");
	bool outer = is_own(&st);
	if (!outer)
		r = ns_check_rights(fd, type.what, err);
	if (r < 0)
		return r;
	*ret = objects_get(c->objects, &time_ns_kind, &st.st_ino, sizeof(st.st_ino), &is_new);
	if (!is_new)
		return 0;
	struct time_ns *t = live(*ret);
	t->outer = outer;
	t->ns.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	t->ns.task = (struct task *)task;
	snprintf(t->ns.link, sizeof(t->ns.link), "time:[%llu]", (unsigned long long)st.st_ino);
	r = outer ? 0 : user_ns_collect_owner(c, task, fd, &t->ns.owner, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int time_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                       struct error *err)
{
	return add(c, task, nsfd, ret, err);
}

/* *ret stays NULL on a kernel without time namespaces */
static int find(struct checkpoint *c, struct task *task, const char *name, struct object **ret,
                struct error *err)
{
	char relative[32];

	*ret = NULL;
	snprintf(relative, sizeof(relative), "ns/%s", name);
	_cleanup_(close_p) int fd = task_openat(task, relative, O_RDONLY);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_raise(err, -fd, "open /proc/%d/ns/%s", task->tid, name);
	return add(c, task, fd, ret, err);
}

/* it has unshared CLONE_NEWTIME: its children are, or will be, in another one */
static void note_maker(struct checkpoint *c, const struct task *task, struct object *object)
{
	struct time_ns *t = object->live;

	if (t->outer)
		refuse_time(c, task, t->ns.link,
		            "it is in a time namespace, and its children are in that of stasis");
	else if (t->maker)
		refuse_time(c, task, t->ns.link,
		            "two tasks have one time namespace for their children only");
	else
		t->maker = task;
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

/* NULL: this task can be made in it */
static const char *judge_member(const struct checkpoint *c, const struct object *object,
                                const struct task *task)
{
	const struct time_ns *t = object->live;
	const struct object *mm = task_object(t->maker, &mm_kind);

	if (task->parent != t->maker &&
	    (!task->parent || task_object(task->parent, &time_ns_kind) != object))
		return "it has another time namespace for its children, which one that is not its "
		       "child is in";
	/* CLONE_VM needs both to be in one: such a process could not be made with it */
	if (mm && mm->n_users > 1)
		return "it has another time namespace for its children, and shares its memory";
	return t->ns.owner != user_ns_of_container(c)
	               ? "it is in a user namespace, and has a time namespace for its children"
	               : NULL;
}

/* the first child makes it so in its parent; without one that is left to the end */
static void judge_maker(struct checkpoint *c, const struct object *object)
{
	const struct time_ns *t = object->live;
	const char *why = NULL;
	size_t members = 0;

	for (size_t i = 0; i < c->n_tasks && !why; i++)
		if (c->tasks[i] != t->maker && task_object(c->tasks[i], &time_ns_kind) == object) {
			members++;
			why = judge_member(c, object, c->tasks[i]);
		}
	if (!members && t->ns.owner != user_ns_of(t->maker))
		why = "it has a time namespace for its children that belongs to another user "
		      "namespace";
	if (why)
		refuse_time(c, t->maker, t->ns.link, why);
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct time_ns *t = object->live;

	if (t->outer)
		return 0;
	if (t->maker)
		judge_maker(c, object);
	int r = ns_judge(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* to write what is there already changes nothing */
static int try_in_helper(void *arg, struct error *err)
{
	struct asking *a = arg;
	int r = read_offsets(a->path, &a->offsets, err);

	if (r < 0)
		return error_trace(err, r);
	r = write_offsets(a->path, &a->offsets, err);
	if (r == -EPERM && namespace_enter_owner(a->fd) == 0)
		r = write_offsets(a->path, &a->offsets, err);
	a->unfrozen = r == 0;
	return r == -EACCES ? 0 : r;
}

static uint64_t clock_of(const struct timespec *now, const struct offset *own,
                         const struct offset *its)
{
	return (uint64_t)(timespec_to_ns(now) + (its->s - own->s) * (int64_t)SECOND_NS + its->ns -
	                  own->ns);
}

static int make_state(struct object *object, const struct clocks *now, const struct offsets *own,
                      struct error *err)
{
	const struct time_ns *t = object->live;
	_cleanup_(free_p) char *path = t->maker
	                                       ? xasprintf("/proc/%d/timens_offsets", t->maker->tid)
	                                       : NULL;
	struct asking a = { .fd = t->ns.fd, .path = path, .offsets = *own };
	int r = t->outer ? 0 : helper_run(path ? try_in_helper : ask_in_helper, &a, sizeof(a), err);

	if (r < 0)
		return error_trace(err, r);
	TimeNsState *s = xmalloc(sizeof(*s));
	time_ns_state__init(s);
	object->message = &s->base;
	s->outer = t->outer;
	s->owner = ns_owner(object);
	s->maker = t->maker ? (uint32_t)t->maker->recorded.tid : 0;
	s->unfrozen = a.unfrozen;
	s->monotonic_ns = clock_of(&now->monotonic, &own->monotonic, &a.offsets.monotonic);
	s->boottime_ns = clock_of(&now->boottime, &own->boottime, &a.offsets.boottime);
	return 0;
}

/* all of them in the turn of the first */
static int save(struct checkpoint *c, struct object *object, struct error *err)
{
	struct offsets own;
	struct clocks now;
	size_t cursor = 0;
	int r = read_own(&own, err);

	if (r == 0)
		r = read_clocks(&now, err);
	for (struct object *o; r == 0 && (o = objects_next(c->objects, &time_ns_kind, &cursor));)
		r = make_state(o, &now, &own, err);
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

/* the offset with which a clock that shows @now with @own comes to show @want */
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

/* of all, when the first is needed. Ours tell where we are from the initial namespace. */
static int find_offsets(const struct restart *r, struct error *err)
{
	struct offsets own;
	struct clocks now;
	size_t cursor = 0;
	int e = read_own(&own, err);

	if (e == 0)
		e = read_clocks(&now, err);
	if (e < 0)
		return error_trace(err, e);
	for (struct object *o; (o = objects_next(r->objects, &time_ns_kind, &cursor));) {
		const TimeNsState *s = object_state(o, TimeNsState);
		struct offsets *to = live(o)->offsets = xmalloc(sizeof(*to));
		to->monotonic = offset_to(&own.monotonic, &now.monotonic, s->monotonic_ns);
		to->boottime = offset_to(&own.boottime, &now.boottime, s->boottime_ns);
	}
	return 0;
}

/* @path: timens_offsets of a process with the new namespace for its children */
static int set_offsets(const char *path, const struct object *object, struct error *err)
{
	const struct offsets *offsets = ((const struct time_ns *)object->live)->offsets;

	assert(offsets); /* find_offsets() makes those of all */
	int e = write_offsets(path, offsets, err);
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
	struct time_ns *t = live(object);

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
	if (e == 0 && !live(object)->offsets)
		e = find_offsets(r, err);
	if (e == 0)
		e = set_offsets(offsets, object, err);
	if (e < 0)
		return error_trace(err, e);
	struct ns *ns = &live(object)->ns;
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
	.collect = collect,
	.judge = judge,
	.save = save,
	.validate = validate,
	.preflight = preflight,
	.born_in = born_in,
	.before_clone = before_clone,
	.enter = enter,
	.after_clone = after_clone,
	.release = release,
};
