/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which task of the set is meant by a number. See checkpoint.h. */
#include <string.h>

#include "core/checkpoint.h"
#include "core/freeze_private.h"
#include "task/task.h"
#include "util/map.h"

/* what the proc of any pid namespace shows of a task; few have it in common */
struct innermost {
	uint64_t start;
	int64_t number; /* without padding, which a key must not have */
};

static struct innermost innermost_of(const struct proc_status *status, const struct proc_stat *stat)
{
	size_t n = status->n_ns_pids;

	return (struct innermost){ stat->starttime, n ? status->ns_pid[n - 1] : 0 };
}

static void add(struct checkpoint *c, struct task *task, struct task *after)
{
	const struct innermost key = innermost_of(&task->status, &task->stat);

	map_put(c->by_group, &task->stat.pgrp, sizeof(task->stat.pgrp), task);
	if (task->recorded.tid)
		map_put(c->by_number, &task->recorded.tid, sizeof(task->recorded.tid), task);
	task->next_alike = map_get(c->by_innermost, &key, sizeof(key));
	map_put(c->by_innermost, &key, sizeof(key), task);
	task->next_thread = after && after->leader == task->leader ? after : NULL;
}

void freeze_index(struct checkpoint *c)
{
	c->by_group = map_new();
	c->by_number = map_new();
	c->by_innermost = map_new();
	for (size_t i = c->n_tasks; i-- > 0;) /* the first of a group is the one that is found */
		add(c, c->tasks[i], i + 1 < c->n_tasks ? c->tasks[i + 1] : NULL);
}

void freeze_index_done(struct checkpoint *c)
{
	map_free(c->by_tid);
	map_free(c->by_group);
	map_free(c->by_number);
	map_free(c->by_innermost);
	c->by_tid = c->by_group = c->by_number = c->by_innermost = NULL;
}

struct task *checkpoint_task(const struct checkpoint *c, pid_t tid)
{
	return map_get(c->by_tid, &tid, sizeof(tid));
}

struct task *checkpoint_process(const struct checkpoint *c, pid_t tgid)
{
	struct task *task = checkpoint_task(c, tgid);

	return task && task->leader == task ? task : NULL;
}

struct task *checkpoint_member(const struct checkpoint *c, pid_t pgrp)
{
	struct task *leader = checkpoint_task(c, pgrp);

	return leader ? leader : map_get(c->by_group, &pgrp, sizeof(pgrp));
}

struct task *checkpoint_numbered(const struct checkpoint *c, pid_t number)
{
	return map_get(c->by_number, &number, sizeof(number));
}

/* whether the numbers that some proc shows of a task end as ours do, and it began when that did */
static bool is_same(const struct task *t, const struct proc_status *status,
                    const struct proc_stat *stat)
{
	size_t n = status->n_ns_pids, own = t->status.n_ns_pids;

	return n && n <= own && t->stat.starttime == stat->starttime &&
	       !memcmp(status->ns_pid, t->status.ns_pid + (own - n), n * sizeof(*status->ns_pid));
}

struct task *checkpoint_shown(const struct checkpoint *c, const struct proc_status *status,
                              const struct proc_stat *stat)
{
	const struct innermost key = innermost_of(status, stat);
	struct task *task = map_get(c->by_innermost, &key, sizeof(key));

	while (task && !is_same(task, status, stat))
		task = task->next_alike;
	return task;
}

pid_t checkpoint_pid(const struct checkpoint *c, pid_t tid)
{
	const struct task *task = checkpoint_task(c, tid);

	return task ? task->recorded.tid : 0;
}

pid_t checkpoint_group(const struct checkpoint *c, pid_t pgrp)
{
	const struct task *task = map_get(c->by_group, &pgrp, sizeof(pgrp));

	return task ? task->recorded.pgid : 0;
}
