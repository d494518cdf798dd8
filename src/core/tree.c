/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain data for the tree planner. See tree.h. */
#include "core/tree.h"

#include <stdlib.h>

#include "kind/kind.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "task/plan.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void note_share(struct plan_task *t, const struct object *object)
{
	for (enum plan_share k = 0; k < PLAN_N_SHARES; k++)
		if (object->kind->clone_flag == plan_share_flag(k))
			t->share[k] = object->id;
}

/* ---- pid namespaces ---- */

/* the pid namespace among a task's objects; 0: none, it is in the coordinator's own */
static uint32_t find_ns(const struct object *const *objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (objects[i]->kind == &pid_ns_kind)
			return objects[i]->id;
	return 0;
}

struct plan_ns *tree_ns(const struct tree_namespaces *t, uint32_t id)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (t->items[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->n && t->items[low].id == id ? &t->items[low] : NULL;
}

/* all but the root's own, @root; the objects' order is that of their ids, so parents come first */
static int list_namespaces(const struct objects *objects, uint32_t root,
                           struct tree_namespaces *ret, struct error *err)
{
	const struct object *own = root ? objects_by_id(objects, root) : NULL;
	uint32_t of_root = own ? pid_ns_owner_id(own) : 0;
	size_t cursor = 0, n = 0;

	while (objects_next(objects, &pid_ns_kind, &cursor))
		n++;
	*ret = (struct tree_namespaces){ .items = xcalloc(n, sizeof(*ret->items)), .root = root };
	cursor = 0;
	for (const struct object *o; (o = objects_next(objects, &pid_ns_kind, &cursor));) {
		uint32_t parent = pid_ns_parent(o);
		if (o->id == root)
			continue;
		if (parent == root)
			parent = 0;
		const struct plan_ns *above = parent ? tree_ns(ret, parent) : NULL;
		if ((parent && !above) || plan_ns_level(above) == PLAN_LEVELS_MAX)
			return error_refuse(err, CODE_image_invalid,
			                    "pid namespace %u is below %u, which %s", o->id, parent,
			                    above ? "is as deep as can be" : "is not there");
		uint32_t owner = pid_ns_owner_id(o);
		ret->items[ret->n++] = (struct plan_ns){ .parent = above,
			                                 .level = plan_ns_level(above) + 1,
			                                 .id = o->id,
			                                 .init = PLAN_NONE,
			                                 .owner = owner == of_root ? 0 : owner };
	}
	return 0;
}

/* in which namespace, and with how many numbers on the levels below the root's */
static int set_ns(const struct tree_namespaces *namespaces, uint32_t index, uint32_t id,
                  const size_t levels[3], struct plan_task *ret, struct error *err)
{
	struct plan_ns *ns = id == namespaces->root ? NULL : tree_ns(namespaces, id);
	size_t level = plan_ns_level(ns);

	if ((!ns && id != namespaces->root) || levels[0] != level || levels[1] != level ||
	    levels[2] != level)
		return error_refuse(err, CODE_image_invalid,
		                    "task %d in pid namespace %u has not as many numbers as that "
		                    "is deep",
		                    ret->tid, id);
	ret->ns = ns;
	if (ns && ret->inner_tids[level - 1] == 1 && ret->tid == ret->tgid)
		ns->init = index;
	return 0;
}

/* ---- checkpoint ---- */

static int from_task(const struct checkpoint *c, const struct tree_namespaces *namespaces,
                     uint32_t index, struct plan_task *ret, struct error *err)
{
	static const enum plan_state states[] = { [TASK_HELD] = PLAN_LIVE,
		                                  [TASK_STOPPED] = PLAN_LIVE,
		                                  [TASK_ZOMBIE] = PLAN_ZOMBIE,
		                                  [TASK_DEAD_LEADER] = PLAN_DEAD_LEADER };

	const struct task *task = c->tasks[index];
	const struct proc_status *s = &task->status;
	size_t above = c->tasks[0]->status.n_ns_pids, levels = s->n_ns_pids - above;

	*ret = (struct plan_task){ .tid = task->recorded.tid,
		                   .tgid = task->recorded.tgid,
		                   .parent = task->parent ? task->parent->recorded.tid : 0,
		                   .pgid = task->recorded.pgid,
		                   .sid = task->recorded.sid,
		                   .exit_signal = task->stat.exit_signal,
		                   .state = states[task->state],
		                   .inner_tids = s->ns_pid + above,
		                   .inner_pgids = s->ns_pgid + above,
		                   .inner_sids = s->ns_sid + above };
	for (size_t i = 0; i < task->n_objects; i++)
		note_share(ret, task->objects[i]);
	uint32_t ns = find_ns((const struct object *const *)task->objects, task->n_objects);
	return set_ns(namespaces, index, ns, (size_t[]){ levels, levels, levels }, ret, err);
}

static const struct task *find_recorded(const struct checkpoint *c, pid_t tid)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (c->tasks[i]->recorded.tid == tid)
			return c->tasks[i];
	return NULL;
}

void tree_judge(struct checkpoint *c)
{
	_cleanup_(free_p) struct plan_task *tasks = xcalloc(c->n_tasks, sizeof(*tasks));
	_cleanup_(plan_freep) struct plan *plan = NULL;
	_cleanup_(tree_namespaces_done) struct tree_namespaces namespaces = { 0 };
	struct error why = ERROR_INIT;
	const struct task *root = c->tasks[0];

	int r = list_namespaces(
		c->objects, find_ns((const struct object *const *)root->objects, root->n_objects),
		&namespaces, &why);
	for (uint32_t i = 0; r == 0 && i < c->n_tasks; i++)
		r = from_task(c, &namespaces, i, &tasks[i], &why);
	if (r == 0)
		r = plan_make(tasks, c->n_tasks, &plan, &why);
	if (r < 0) {
		why.errnum = EOPNOTSUPP;
		if (why.code == CODE_image_invalid || why.code == CODE_NONE)
			why.code = CODE_tree_shape;
		const struct task *task = find_recorded(c, why.pid);
		why.pid = 0;
		refuse(c, task, &why);
	}
}

/* ---- restart ---- */

static uint32_t ns_of_task(const struct objects *objects, const TaskState *t)
{
	for (size_t i = 0; i < t->n_objects; i++)
		if (objects_by_id(objects, t->objects[i])->kind == &pid_ns_kind)
			return t->objects[i];
	return 0;
}

static int from_object(const struct objects *objects, const struct object *object,
                       const struct tree_namespaces *namespaces, uint32_t index,
                       struct plan_task *ret, struct error *err)
{
	const TaskState *t = object_state(object, TaskState);
	const size_t levels[] = { t->n_inner_tids, t->n_inner_pgids, t->n_inner_sids };

	*ret = (struct plan_task){ .tid = (pid_t)t->tid,
		                   .tgid = (pid_t)t->tgid,
		                   .parent = (pid_t)t->parent,
		                   .pgid = (pid_t)t->pgid,
		                   .sid = (pid_t)t->sid,
		                   .exit_signal = (int)t->exit_signal,
		                   .turn = t->turn,
		                   .maker = (pid_t)t->maker,
		                   .stand_ins = t->stand_ins,
		                   .n_stand_ins = t->n_stand_ins,
		                   .inner_tids = t->inner_tids,
		                   .inner_pgids = t->inner_pgids,
		                   .inner_sids = t->inner_sids };
	if (t->state == TASK_STATE__STATE__ZOMBIE)
		ret->state = PLAN_ZOMBIE;
	else if (t->state == TASK_STATE__STATE__DEAD_LEADER)
		ret->state = PLAN_DEAD_LEADER;
	for (size_t i = 0; i < t->n_objects; i++)
		note_share(ret, objects_by_id(objects, t->objects[i]));
	return set_ns(namespaces, index, ns_of_task(objects, t), levels, ret, err);
}

int tree_from_objects(const struct objects *objects, struct object *const *tasks, size_t n,
                      struct plan_task **ret, struct tree_namespaces *ret_ns, struct error *err)
{
	uint32_t root = n ? ns_of_task(objects, object_state(tasks[0], TaskState)) : 0;
	int r = list_namespaces(objects, root, ret_ns, err);

	*ret = xcalloc(n, sizeof(**ret));
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = from_object(objects, tasks[i], ret_ns, i, &(*ret)[i], err);
	return r < 0 ? error_trace(err, r) : 0;
}

void tree_namespaces_done(struct tree_namespaces *namespaces)
{
	free(namespaces->items);
	*namespaces = (struct tree_namespaces){ 0 };
}
