/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time namespaces at checkpoint: who is in which, and whether that can be made again. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/checkpoint.h"
#include "host/enter.h"
#include "host/helper.h"
#include "kind/mm.h"
#include "kind/time_ns/parts.h"
#include "kind/user_ns.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

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
		r = ns_check_rights(fd, "time", err);
	if (r < 0)
		return r;
	*ret = objects_get(c->objects, &time_ns_kind, &st.st_ino, sizeof(st.st_ino), &is_new);
	if (!is_new)
		return 0;
	struct time_ns *t = time_ns_live(*ret);
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

int time_ns_collect(struct checkpoint *c, struct task *task, struct error *err)
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

int time_ns_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct time_ns *t = object->live;

	if (t->outer)
		return 0;
	if (t->maker)
		judge_maker(c, object);
	int r = ns_judge(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* whether a process can still set the offsets of what it has for its children */
struct trying {
	int fd;
	const char *path;
	struct offsets offsets;
	bool unfrozen;
};

/* to write what is there already changes nothing */
static int try_in_helper(void *arg, struct error *err)
{
	struct trying *t = arg;
	int r = offsets_read(t->path, &t->offsets, err);

	if (r < 0)
		return error_trace(err, r);
	r = offsets_write(t->path, &t->offsets, err);
	if (r == -EPERM && namespace_enter_owner(t->fd) == 0)
		r = offsets_write(t->path, &t->offsets, err);
	t->unfrozen = r == 0;
	return r == -EACCES ? 0 : r;
}

static int make_state(struct object *object, const struct clocks *now, struct error *err)
{
	const struct time_ns *t = object->live;
	_cleanup_(free_p) char *path = t->maker
	                                       ? xasprintf("/proc/%d/timens_offsets", t->maker->tid)
	                                       : NULL;
	struct trying a = { .fd = t->ns.fd, .path = path, .offsets = now->own };
	int r = 0;

	if (path)
		r = helper_run(try_in_helper, &a, sizeof(a), err);
	else if (!t->outer)
		r = offsets_ask(t->ns.fd, &a.offsets, err);
	if (r < 0)
		return error_trace(err, r);
	TimeNsState *s = xmalloc(sizeof(*s));
	time_ns_state__init(s);
	object->message = &s->base;
	s->outer = t->outer;
	s->owner = ns_owner(object);
	s->maker = t->maker ? (uint32_t)t->maker->recorded.tid : 0;
	s->unfrozen = a.unfrozen;
	clocks_there(now, &a.offsets, &s->monotonic_ns, &s->boottime_ns);
	return 0;
}

/* all of them in the turn of the first */
int time_ns_save(struct checkpoint *c, struct object *object, struct error *err)
{
	struct clocks now;
	size_t cursor = 0;
	int r = clocks_read(&now, err);

	for (struct object *o; r == 0 && (o = objects_next(c->objects, &time_ns_kind, &cursor));)
		r = make_state(o, &now, err);
	return r < 0 ? error_trace(err, r) : 0;
}
