/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain data for the tree planner. See tree.h. */
#include "core/tree.h"

#include <stdlib.h>

#include "kind/kind.h"
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

static void from_task(const struct task *task, struct plan_task *ret)
{
	static const enum plan_state states[] = { [TASK_HELD] = PLAN_LIVE,
		                                  [TASK_STOPPED] = PLAN_LIVE,
		                                  [TASK_ZOMBIE] = PLAN_ZOMBIE,
		                                  [TASK_DEAD_LEADER] = PLAN_DEAD_LEADER };

	*ret = (struct plan_task){ .tid = task->recorded.tid,
		                   .tgid = task->recorded.tgid,
		                   .parent = task->parent ? task->parent->recorded.tid : 0,
		                   .pgid = task->recorded.pgid,
		                   .sid = task->recorded.sid,
		                   .exit_signal = task->stat.exit_signal,
		                   .state = states[task->state] };
	for (size_t i = 0; i < task->n_objects; i++)
		note_share(ret, task->objects[i]);
}

static const struct task *find_recorded(const struct checkpoint *c, pid_t tid)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (c->tasks[i]->recorded.tid == tid)
			return c->tasks[i];
	return NULL;
}

int tree_judge(struct checkpoint *c, struct error *err)
{
	_cleanup_(free_p) struct plan_task *tasks = xcalloc(c->n_tasks, sizeof(*tasks));
	_cleanup_(plan_freep) struct plan *plan = NULL;
	struct error why = ERROR_INIT;

	for (size_t i = 0; i < c->n_tasks; i++)
		from_task(c->tasks[i], &tasks[i]);
	int r = plan_make(tasks, c->n_tasks, &plan, &why);
	if (r < 0) {
		why.errnum = EOPNOTSUPP;
		if (why.code == CODE_image_invalid || why.code == CODE_NONE)
			why.code = CODE_tree_shape;
		const struct task *task = find_recorded(c, why.pid);
		why.pid = 0;
		refuse(c, task, &why);
	}
	return 0;
}

static void from_object(const struct objects *objects, const struct object *object,
                        struct plan_task *ret)
{
	const TaskState *t = object_state(object, TaskState);

	*ret = (struct plan_task){ .tid = (pid_t)t->tid,
		                   .tgid = (pid_t)t->tgid,
		                   .parent = (pid_t)t->parent,
		                   .pgid = (pid_t)t->pgid,
		                   .sid = (pid_t)t->sid,
		                   .exit_signal = (int)t->exit_signal };
	if (t->state == TASK_STATE__STATE__ZOMBIE)
		ret->state = PLAN_ZOMBIE;
	else if (t->state == TASK_STATE__STATE__DEAD_LEADER)
		ret->state = PLAN_DEAD_LEADER;
	for (size_t i = 0; i < t->n_objects; i++)
		note_share(ret, objects_by_id(objects, t->objects[i]));
}

void tree_from_objects(const struct objects *objects, struct object *const *tasks, size_t n,
                       struct plan_task **ret)
{
	*ret = xcalloc(n, sizeof(**ret));
	for (size_t i = 0; i < n; i++)
		from_object(objects, tasks[i], &(*ret)[i]);
}
