/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which user namespaces there are, and which of them could not be built again. */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/kept.h"
#include "kind/pid_ns.h"
#include "kind/user_ns/parts.h"
#include "task/task.h"
#include "user_ns.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

static bool is_own(int fd, struct stat *st)
{
	struct stat own;

	return fstat(fd, st) == 0 && stat("/proc/thread-self/ns/user", &own) == 0 &&
	       own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

static int refuse_outside(const struct stat *st, struct error *err)
{
	error_refuse(err, CODE_namespace_other,
	             "it uses a user namespace that is not below that of stasis");
	error_object(err, "user:[%llu]", (unsigned long long)st->st_ino);
	error_hint(err, "run stasis in the initial user namespace");
	return -EOPNOTSUPP;
}

static bool is_identity(const struct id_map *map)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (map->ranges[i].inside != map->ranges[i].outside)
			return false;
	return true;
}

static void note_used(struct map *used, int fd)
{
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0)
		map_put(used, &st.st_ino, sizeof(st.st_ino), used);
}

/* those that tasks are in, and those that namespaces of theirs belong to */
static struct map *find_used(const struct checkpoint *c)
{
	static const char *const links[] = { "ns/mnt", "ns/pid",  "ns/uts",
		                             "ns/ipc", "ns/time", "ns/cgroup" };
	struct map *used = map_new();

	for (size_t i = 0; i < c->n_tasks; i++) {
		_cleanup_(close_p) int own = task_openat(c->tasks[i], "ns/user", O_RDONLY);
		note_used(used, own);
		for (size_t k = 0; k < sizeof(links) / sizeof(links[0]); k++) {
			_cleanup_(close_p) int ns = task_openat(c->tasks[i], links[k], O_RDONLY);
			_cleanup_(close_p) int owner = ns < 0 ? -1 : ioctl(ns, NS_GET_USERNS);
			note_used(used, owner);
		}
	}
	return used;
}

static const struct kept_type used_type = { .done = kept_free_map };

static bool is_used(struct checkpoint *c, const struct stat *st)
{
	struct map *used = kept_find(c->kept, &used_type);

	if (!used)
		used = kept_add(&c->kept, &used_type, find_used(c));
	return map_get(used, &st->st_ino, sizeof(st->st_ino));
}

/*
 * One in between that changes no id, limits nothing, and that nobody is in or has anything of,
 * makes no difference to what is below, and is passed over: a user's restart leaves one behind each
 * time, core/own_user.h.
 */
static bool is_transparent(struct checkpoint *c, int fd, const struct stat *st)
{
	struct error ignored = ERROR_INIT;
	struct user_ns_data data;

	return !objects_find(c->objects, &user_ns_kind, &st->st_ino, sizeof(st->st_ino)) &&
	       user_ns_read(fd, &data, &ignored) == 0 && is_identity(&data.uid) &&
	       is_identity(&data.gid) && is_identity(&data.projid) && data.limits.n == 0 &&
	       !is_used(c, st);
}

/* returns the descriptor of the one above; -1 with errno */
static int open_above(struct checkpoint *c, int nsfd, ino_t *ret_passed)
{
	int above = ioctl(nsfd, NS_GET_PARENT);
	struct stat st;

	while (above >= 0 && !is_own(above, &st) && is_transparent(c, above, &st)) {
		int next = ioctl(above, NS_GET_PARENT);
		if (next < 0)
			break;
		*ret_passed = st.st_ino;
		close_p(&above);
		above = next;
	}
	return above;
}

static int collect_new(struct checkpoint *c, const struct task *task, int nsfd,
                       const struct stat *st, struct object **ret, struct error *err)
{
	ino_t passed = 0;
	_cleanup_(close_p) int above = open_above(c, nsfd, &passed);
	struct object *parent = NULL;
	struct user_ns_data data;
	int r;

	if (above < 0)
		return errno == EPERM ? refuse_outside(st, err)
		                      : error_raise(err, errno,
		                                    "ask for the parent of a user "
		                                    "namespace");
	r = user_ns_collect(c, task, above, &parent, err);
	if (r == 0)
		r = user_ns_read(nsfd, &data, err);
	if (r < 0)
		return error_trace(err, r);
	*ret = objects_get(c->objects, &user_ns_kind, &st->st_ino, sizeof(st->st_ino), NULL);
	struct user_ns *live = user_ns_live(*ret);
	live->ns.fd = fcntl(nsfd, F_DUPFD_CLOEXEC, 3);
	live->ns.task = (struct task *)task;
	live->parent = parent;
	live->passed = passed;
	live->data = data;
	snprintf(live->ns.link, sizeof(live->ns.link), "user:[%llu]",
	         (unsigned long long)st->st_ino);
	return 0;
}

int user_ns_collect(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                    struct error *err)
{
	struct stat st;

	*ret = NULL;
	if (is_own(nsfd, &st))
		return 0;
	*ret = objects_find(c->objects, &user_ns_kind, &st.st_ino, sizeof(st.st_ino));
	if (*ret)
		return 0;
	int r = collect_new(c, task, nsfd, &st, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int user_ns_collect_owner(struct checkpoint *c, const struct task *task, int nsfd,
                          struct object **ret, struct error *err)
{
	_cleanup_(close_p) int owner = ioctl(nsfd, NS_GET_USERNS);
	struct stat st = { 0 };

	*ret = NULL;
	if (owner < 0 && errno == EPERM)
		return fstat(nsfd, &st) == 0 ? refuse_outside(&st, err) : -errno;
	if (owner < 0)
		return error_raise(err, errno, "ask which user namespace owns a namespace");
	int r = user_ns_collect(c, task, owner, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int user_ns_collect_task(struct checkpoint *c, struct task *task, struct error *err)
{
	_cleanup_(close_p) int fd = task_openat(task, "ns/user", O_RDONLY);
	struct object *object;

	if (fd < 0)
		return error_raise(err, -fd, "open /proc/%d/ns/user", task->tid);
	int r = user_ns_collect(c, task, fd, &object, err);
	if (r < 0)
		return error_trace(err, r);
	if (object)
		task_refer(task, object);
	return 0;
}

struct object *user_ns_of(const struct task *task)
{
	return task_object(task, &user_ns_kind);
}

const struct object *user_ns_of_container(const struct checkpoint *c)
{
	const struct object *pid_ns = task_object(c->tasks[0], &pid_ns_kind);

	return pid_ns ? ((const struct ns *)pid_ns->live)->owner : NULL;
}

bool user_ns_is_above(const struct object *ns, const struct object *below)
{
	while (below && below != ns)
		below = ((const struct user_ns *)below->live)->parent;
	return below == ns;
}

bool user_ns_out_of_reach(const struct checkpoint *c, const struct object *ns)
{
	const struct object *top = user_ns_of_container(c);

	while (top && ns && ns != top)
		ns = ((const struct user_ns *)ns->live)->parent;
	return top && !ns;
}

/* in one that it can only enter when it has been made, and must before it makes threads */
static bool enters_early(const struct checkpoint *c, const struct task *task)
{
	const struct object *ns = user_ns_of(task);

	return ns && ns != user_ns_of_container(c) && task->status.threads > 1;
}

/* NULL: it can be made where it is */
static const char *why_not(const struct checkpoint *c, const struct task *task)
{
	const struct task *maker = task->leader == task && task->parent ? task->parent->leader
	                                                                : NULL;

	if (user_ns_out_of_reach(c, user_ns_of(task)))
		return "it is not in the user namespace that its pid namespace belongs to";
	if (maker && enters_early(c, maker) &&
	    !user_ns_is_above(user_ns_of(maker), user_ns_of(task)))
		return "its parent has threads, and is in a user namespace that it is not in";
	return NULL;
}

/* one that nobody has waited for yet is made like the others */
static void judge_dead(struct checkpoint *c, const struct task *task)
{
	const struct object *top = user_ns_of_container(c);
	const struct proc_status *s = &task->status, *had = &c->tasks[0]->status;
	struct error refusal;

	if (!top || ((s->uid[0] == had->uid[0] ||
	              id_map_inside(&user_ns_data(top)->uid, s->uid[0]) != ID_NONE) &&
	             (s->gid[0] == had->gid[0] ||
	              id_map_inside(&user_ns_data(top)->gid, s->gid[0]) != ID_NONE)))
		return;
	error_refuse(&refusal, CODE_user_ns_ids,
	             "it is dead, and has ids that its user namespace has no name for");
	refuse(c, task, &refusal);
}

static void judge_task(struct checkpoint *c, const struct task *task)
{
	const char *why = why_not(c, task);
	struct error refusal;

	if (!why)
		return;
	error_refuse(&refusal, CODE_user_ns_shape, "%s", why);
	refuse(c, task, &refusal);
}

/* a namespace, or a descriptor, that refers to it may have been found later */
static void judge_passed(struct checkpoint *c, const struct object *object)
{
	const struct user_ns *live = object->live;
	struct error refusal;

	if (!live->passed ||
	    !objects_find(c->objects, &user_ns_kind, &live->passed, sizeof(live->passed)))
		return;
	error_refuse(&refusal, CODE_user_ns_shape,
	             "it is below user:[%llu], which no task is in, but which something refers to",
	             (unsigned long long)live->passed);
	error_object(&refusal, "%s", live->ns.link);
	refuse(c, live->ns.task, &refusal);
}

int user_ns_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	size_t cursor = 0;

	judge_passed(c, object);

	/* once for all tasks */
	bool is_first = objects_next(c->objects, &user_ns_kind, &cursor) == object;
	for (size_t i = 0; is_first && i < c->n_tasks; i++)
		if (c->tasks[i]->state == TASK_ZOMBIE)
			judge_dead(c, c->tasks[i]);
		else if (c->tasks[i]->state != TASK_DEAD_LEADER)
			judge_task(c, c->tasks[i]);
	int r = ns_judge(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

const struct object *user_ns_above(const struct object *ns)
{
	return ((const struct user_ns *)ns->live)->parent;
}

const struct user_ns_data *user_ns_data(const struct object *object)
{
	return &((const struct user_ns *)object->live)->data;
}

static UserNsRange **new_ranges(const struct id_map *map, size_t *ret_n)
{
	UserNsRange **list = xcalloc(map->n + 1, sizeof(*list));

	for (uint32_t i = 0; i < map->n; i++) {
		list[i] = xmalloc(sizeof(**list));
		user_ns_range__init(list[i]);
		list[i]->inside = map->ranges[i].inside;
		list[i]->outside = map->ranges[i].outside;
		list[i]->count = map->ranges[i].count;
	}
	*ret_n = map->n;
	return list;
}

static void save_limits(const struct user_limits *limits, UserNsState *s)
{
	for (uint32_t i = 0; i < limits->n; i++) {
		UserNsState__Limit *limit = xmalloc(sizeof(*limit));
		user_ns_state__limit__init(limit);
		limit->name = xstrdup(limits->list[i].name);
		limit->value = limits->list[i].value;
		*array_push(s->limits, s->n_limits) = limit;
	}
}

int user_ns_save(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct user_ns *live = object->live;
	UserNsState *s = xmalloc(sizeof(*s));

	user_ns_state__init(s);
	object->message = &s->base;
	s->parent = live->parent ? live->parent->id : 0;
	s->owner = live->data.owner;
	s->setgroups_denied = live->data.setgroups_denied;
	s->uid_map = new_ranges(&live->data.uid, &s->n_uid_map);
	s->gid_map = new_ranges(&live->data.gid, &s->n_gid_map);
	s->projid_map = new_ranges(&live->data.projid, &s->n_projid_map);
	save_limits(&live->data.limits, s);
	return 0;
}
