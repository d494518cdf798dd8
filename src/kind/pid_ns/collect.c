/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which pid namespaces there are, and which of them could not be made again. */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/checkpoint.h"
#include "kind/pid_ns/parts.h"
#include "kind/user_ns.h"
#include "pid_ns.pb-c.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

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

static bool is_own(const struct stat *st)
{
	struct stat own;

	return stat("/proc/self/ns/pid", &own) == 0 && own.st_dev == st->st_dev &&
	       own.st_ino == st->st_ino;
}

/*
 * The object of a namespace, those above it first; *ret NULL for the coordinator's own. What is
 * above the root's is nobody's business. Takes @fd.
 */
static int find_ns(struct checkpoint *c, const struct task *task, int fd, struct object **ret,
                   struct error *err)
{
	_cleanup_(close_p) int own = fd;
	const struct object *of_root = task_object(c->tasks[0], &pid_ns_kind);
	struct object *parent = NULL;
	struct stat st;
	bool is_new;

	*ret = NULL;
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "look at a pid namespace");
	if (is_own(&st))
		return 0;
	*ret = objects_find(c->objects, &pid_ns_kind, &st.st_ino, sizeof(st.st_ino));
	if (*ret)
		return 0;
	if (of_root || task != c->tasks[0] || c->tasks[0]->recorded.tid != 1) {
		int above = ioctl(fd, NS_GET_PARENT);
		if (above < 0)
			return error_raise(err, errno, "find the pid namespace above pid:[%llu]",
			                   (unsigned long long)st.st_ino);
		int e = find_ns(c, task, above, &parent, err);
		if (e < 0)
			return error_trace(err, e);
	}
	int r = ns_check_rights(fd, "pid", err);
	if (r < 0)
		return r;
	*ret = objects_get(c->objects, &pid_ns_kind, &st.st_ino, sizeof(st.st_ino), &is_new);
	struct pid_ns *ns = pid_ns_live(*ret);
	ns->parent = parent;
	ns->ns.fd = take_fd(&own);
	r = user_ns_collect_owner(c, task, ns->ns.fd, &ns->ns.owner, err);
	if (r < 0)
		return error_trace(err, r);
	snprintf(ns->ns.link, sizeof(ns->ns.link), "pid:[%llu]", (unsigned long long)st.st_ino);
	return 0;
}

static void add_user(struct object *object, struct task *task)
{
	struct pid_ns *ns = object->live;

	*array_push(ns->users, ns->n_users) = task;
	if (!ns->ns.task)
		ns->ns.task = task;
}

/* CLONE_NEWPID was unshared, and no child made yet: the kernel shows nothing of it */
static void add_unborn(struct checkpoint *c, struct task *task)
{
	struct object *object = objects_get(c->objects, &pid_ns_kind, &task->tid, sizeof(task->tid),
	                                    NULL);

	pid_ns_live(object)->unborn = true;
	pid_ns_live(object)->parent = task_object(task, &pid_ns_kind);
	add_user(object, task);
}

/* where its children will be */
static int collect_for_children(struct checkpoint *c, struct task *task, struct error *err)
{
	_cleanup_(free_p) char *own = NULL, *children = NULL;
	struct object *object;
	int r = task_readlink(task, "ns/pid", &own, err);

	if (r == 0)
		r = task_readlink(task, "ns/pid_for_children", &children, err);
	if (r == -ENOENT && own) {
		*err = ERROR_INIT;
		add_unborn(c, task);
		return 0;
	}
	if (r < 0)
		return error_trace(err, r);
	if (!own || !children || !strcmp(own, children))
		return 0;
	int fd = task_openat(task, "ns/pid_for_children", O_RDONLY);
	if (fd < 0)
		return error_raise(err, -fd, "open /proc/%d/ns/pid_for_children", task->tid);
	r = find_ns(c, task, fd, &object, err);
	if (r == 0 && object)
		add_user(object, task);
	return r < 0 ? error_trace(err, r) : 0;
}

static bool is_below_root(struct checkpoint *c, const struct object *object)
{
	const struct object *of_root = task_object(c->tasks[0], &pid_ns_kind);

	while (object && object != of_root)
		object = ((const struct pid_ns *)object->live)->parent;
	return object == of_root;
}

int pid_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err)
{
	int r = find_ns(c, task, fcntl(nsfd, F_DUPFD_CLOEXEC, 3), ret, err);

	if (r == -EPERM || (r == 0 && !is_below_root(c, *ret)))
		return error_refuse(err, CODE_namespace_reference,
		                    "it refers to a pid namespace that is not below that of the "
		                    "root task");
	if (r < 0 || !*ret)
		return r < 0 ? error_trace(err, r) : 0;
	struct pid_ns *ns = (*ret)->live;
	if (!ns->ns.task)
		ns->ns.task = checkpoint_task(c, task->tid);
	return 0;
}

static void refuse_owner(struct checkpoint *c, const struct task *task, const char *why)
{
	struct error refusal;

	error_refuse(&refusal, CODE_user_ns_shape, "%s", why);
	refuse(c, task, &refusal);
}

/*
 * Who makes children in another pid namespace than its own must have rights over that. It goes into
 * its own user namespace at the very end, unless it has threads, which must be made inside.
 */
static void judge_maker(struct checkpoint *c, const struct task *maker, const struct object *object)
{
	const struct pid_ns *ns = object->live;

	if (maker->leader->status.threads > 1 && !user_ns_is_above(user_ns_of(maker), ns->ns.owner))
		refuse_owner(c, maker,
		             "it has threads, and a child in a pid namespace over which its user "
		             "namespace has no rights");
}

static int collect_own(struct checkpoint *c, struct task *task, struct error *err)
{
	const struct proc_status *s = &task->status;
	struct object *object;
	int fd = task_openat(task, "ns/pid", O_RDONLY);

	if (fd < 0)
		return error_raise(err, -fd, "open /proc/%d/ns/pid", task->tid);
	int r = find_ns(c, task, fd, &object, err);
	if (r < 0)
		return error_trace(err, r);
	if (!object)
		return 0;
	struct pid_ns *ns = object->live;
	if (s->ns_pid[s->n_ns_pids - 1] == 1 && task == task->leader)
		ns->init = task;
	if (!ns->ns.task || task_object(ns->ns.task, &pid_ns_kind) != object)
		ns->ns.task = task;
	task_refer(task, object);
	if (task->parent && task_object(task->parent, &pid_ns_kind) != object)
		judge_maker(c, task->parent, object);
	return 0;
}

int pid_ns_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	int r = collect_own(c, task, err);

	if (r < 0)
		return error_trace(err, r);
	if (task == c->tasks[0] && task_object(task, &pid_ns_kind) && task->recorded.tid != 1) {
		refuse_pid_ns(c, task,
		              "it is in another pid namespace than stasis, and not its init");
		return 0;
	}
	r = collect_for_children(c, task, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* who may not look at the dead knows all the same where a child is that has as many numbers */
int pid_ns_collect_dead(struct checkpoint *c, struct task *task, struct error *err)
{
	const struct task *parent = task->parent;
	int r = collect_own(c, task, err);

	if (r != -EACCES && r != -EPERM)
		return r < 0 ? error_trace(err, r) : 0;
	*err = ERROR_INIT;
	if (!parent || parent->status.n_ns_pids != task->status.n_ns_pids)
		refuse_pid_ns(c, task, "it is dead, and in which pid namespace may not be seen");
	else if (task_object(parent, &pid_ns_kind))
		task_refer(task, task_object(parent, &pid_ns_kind));
	return 0;
}

static bool is_dead(const struct pid_ns *ns)
{
	return !ns->unborn && (!ns->init || ns->init->state == TASK_ZOMBIE);
}

/* where its children will be is set when it is in its own user namespace */
static void judge_users(struct checkpoint *c, const struct object *object)
{
	const struct pid_ns *ns = object->live;

	for (size_t i = 0; i < ns->n_users; i++)
		if (!user_ns_is_above(user_ns_of(ns->users[i]), ns->ns.owner))
			refuse_owner(c, ns->users[i],
			             "its children will be in a pid namespace over which its user "
			             "namespace has no rights");
}

int pid_ns_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct pid_ns *ns = object->live;
	const struct task *first = ns->ns.task;

	if (ns->unborn)
		return 0;
	judge_users(c, object);
	if (!ns->init && first && task_object(first, &pid_ns_kind) == object) {
		refuse_pid_ns(c, first, "the init of its pid namespace is outside the set");
		return 0;
	}
	const struct pid_ns *up = ns->parent ? ns->parent->live : NULL;
	if (!ns->init && up && up->init && is_dead(up))
		refuse_pid_ns(c, first,
		              "a pid namespace that is dead is below one whose init nobody has "
		              "waited for yet");
	int r = ns_judge(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static bool has_counter(const struct pid_ns *ns)
{
	return !ns->unborn && !is_dead(ns);
}

/*
 * Who looks takes a pid there and in all those above, which is undone: so all are read from above
 * and then set back from below, in the turn of the first.
 */
static int read_counters(struct checkpoint *c, const struct object *first, struct error *err)
{
	struct error ignored = ERROR_INIT;
	size_t n;
	_cleanup_(free_p) struct object **all = pid_ns_list_all(c->objects, first, &n);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct pid_ns *ns = all[i]->live;
		if (has_counter(ns))
			r = pid_ns_read_settings(ns->ns.fd, &ns->settings, err);
	}
	for (size_t i = n; r == 0 && i > 0; i--) {
		struct pid_ns *ns = all[i - 1]->live;
		if (has_counter(ns)) /* if we may */
			pid_ns_write_last_pid(ns->ns.fd, ns->settings.last_pid, &ignored);
	}
	return r;
}

int pid_ns_save(struct checkpoint *c, struct object *object, struct error *err)
{
	struct pid_ns *ns = object->live;
	int r = read_counters(c, object, err);

	if (r < 0)
		return error_trace(err, r);
	PidNsState *s = xmalloc(sizeof(*s));
	pid_ns_state__init(s);
	object->message = &s->base;
	s->last_pid = ns->settings.last_pid;
	s->pid_max = ns->settings.pid_max;
	s->memfd_noexec = ns->settings.memfd_noexec;
	if (ns->parent && ns->parent != task_object(c->tasks[0], &pid_ns_kind))
		s->parent = ns->parent->id;
	s->owner = ns_owner(object);
	s->dead = is_dead(ns);
	s->n_users = ns->n_users;
	s->users = xcalloc(ns->n_users, sizeof(*s->users));
	for (size_t i = 0; i < ns->n_users; i++)
		s->users[i] = (uint32_t)ns->users[i]->recorded.tid;
	return 0;
}

uint32_t pid_ns_parent(const struct object *object)
{
	const struct pid_ns *ns = object->live;

	if (object->message)
		return object_state(object, PidNsState)->parent;
	return ns->parent ? ns->parent->id : 0;
}

uint32_t pid_ns_owner_id(const struct object *object)
{
	return object->message ? object_state(object, PidNsState)->owner : ns_owner(object);
}

bool pid_ns_contains(const struct object *ns, const struct task *of)
{
	const struct object *at = task_object(of, &pid_ns_kind);

	while (at && at != ns)
		at = ((const struct pid_ns *)at->live)->parent;
	return at == ns;
}

bool pid_ns_sees(const struct task *viewer, const struct task *of)
{
	return pid_ns_contains(task_object(viewer, &pid_ns_kind), of);
}
