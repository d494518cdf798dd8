/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of tasks: what the last scan has found, each with what /proc tells of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/freeze.h"
#include "core/freeze_private.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/map.h"

/* what the root's pid namespace calls it; what is outside of that has no number there */
static void number_task(const struct checkpoint *c, struct task *task)
{
	const struct proc_status *s = &task->status, *root = &c->tasks[0]->status;
	size_t level = root->n_ns_pids - 1;

	if (level >= s->n_ns_pids)
		return;
	task->recorded = (struct task_numbers){ .tid = s->ns_pid[level],
		                                .tgid = s->ns_tgid[level],
		                                .pgid = s->ns_pgid[level],
		                                .sid = s->ns_sid[level] };
}

static int read_task(struct freezer *f, struct task *task, struct error *err)
{
	_cleanup_(free_p) char *stat = NULL, *status = NULL;
	struct error refusal = ERROR_INIT;
	char unknown[64] = "";
	int r = task_read(task, "stat", &stat, NULL, err);

	if (r == 0)
		r = proc_stat_parse(stat, &task->stat, err);
	if (r == 0)
		r = task_read(task, "status", &status, NULL, err);
	if (r == 0)
		r = proc_status_parse(status, &task->status, unknown, err);
	if (r < 0)
		return error_trace(err, r);
	number_task(f->c, task);
	snprintf(task->comm, sizeof(task->comm), "%.19s", task->stat.comm);
	if (unknown[0]) {
		error_refuse(&refusal, CODE_unknown_state,
		             "/proc/PID/status shows \"%s\", which this version does not know",
		             unknown);
		refuse(f->c, task, &refusal);
	}
	if (!f->c->tracer && task->status.tracer_pid) {
		error_refuse(&refusal, CODE_task_ptraced, "it is being traced by pid %d",
		             task->status.tracer_pid);
		error_hint(&refusal, "end the debugger or strace that is attached to it");
		refuse(f->c, task, &refusal);
	}
	return 0;
}

static enum task_state state_of(const struct freezer *f, const struct task *task)
{
	const struct hold *hold = freeze_hold(f, task->tid);

	if (freeze_is_dead(task->stat.state))
		return TASK_ZOMBIE;
	if (f->c->tracer)
		return hold && hold->state == HOLD_STOPPED ? TASK_STOPPED : TASK_HELD;
	return task->stat.state == 'T' ? TASK_STOPPED : TASK_HELD;
}

/*
 * A thread called execve(2) before it was held, and has the number of the leader, which was, since:
 * 1, it is to be held in its place; 0 when there is no time left, or more stands against it.
 */
static int take_successor(struct freezer *f, const struct task *task)
{
	struct hold *hold = freeze_hold(f, task->tid);
	struct error refusal = ERROR_INIT;

	if (!f->c->refusals.n && now_ms() < f->end_ms) {
		if (hold)
			hold->state = HOLD_GONE;
		return 1;
	}
	error_refuse(&refusal, CODE_task_changed,
	             "one of its threads called execve(2) while it was being frozen");
	error_hint(&refusal, "try again");
	refuse(f->c, task, &refusal);
	return 0;
}

static int add_task(struct freezer *f, const struct found *item, struct error *err)
{
	struct checkpoint *c = f->c;
	struct task *task = xcalloc(1, sizeof(*task));
	const struct hold *hold = freeze_hold(f, item->tid);

	*array_push(c->tasks, c->n_tasks) = task;
	map_put(c->by_tid, &item->tid, sizeof(item->tid), task);
	task->tid = item->tid;
	task->tgid = item->tgid;
	task->leader = checkpoint_task(c, item->tgid);
	task->parent = item->parent ? checkpoint_task(c, item->parent) : NULL;
	int r = read_task(f, task, err);
	if (r < 0) {
		error_task(err, item->tid, NULL);
		return error_trace(err, r);
	}
	task->state = state_of(f, task);
	task->stop_signal = hold && task->state == TASK_STOPPED ? hold->stop_signal : 0;
	if (task->stat.state == 'D')
		check_unexamined(c, task, "whether it wakes from uninterruptible sleep",
		                 CODE_task_state);
	if (c->tracer && !freeze_is_dead(task->stat.state) && task->stat.state != 't')
		return take_successor(f, task);
	return 0;
}

/* who is asked for the process: the leader, or while it is dead the first thread that lives */
static void choose_speakers(struct checkpoint *c)
{
	const struct task *spoken_for = NULL;

	for (size_t i = 0; i < c->n_tasks; i++) {
		struct task *task = c->tasks[i];
		if (task->state == TASK_ZOMBIE) {
			if (task->leader == task && i + 1 < c->n_tasks &&
			    c->tasks[i + 1]->leader == task)
				task->state = TASK_DEAD_LEADER;
			continue;
		}
		task->speaks = task->leader != spoken_for;
		spoken_for = task->leader;
	}
}

/*
 * What its parent will be told is the process' exit code, which is another than that of its leader
 * if that ended alone, or by reboot(2) as the init of a pid namespace.
 */
static int read_wait_statuses(struct freezer *f, struct error *err)
{
	for (size_t i = 0; i < f->c->n_tasks; i++) {
		struct task *task = f->c->tasks[i];
		_cleanup_(free_p) char *text = NULL;
		struct proc_stat stat = { 0 };
		int r = task->state == TASK_ZOMBIE ? task_read(task, "../../stat", &text, NULL, err)
		                                   : 1;
		if (r == 0)
			r = proc_stat_parse(text, &stat, err);
		if (r < 0)
			return error_trace(err, r);
		if (r == 0)
			task->stat.exit_code = stat.exit_code;
	}
	return 0;
}

int freeze_list(struct freezer *f, struct error *err)
{
	for (size_t i = 0; i < f->scan.n; i++) {
		/* a thread that is on its way out has left nothing behind */
		if (f->scan.items[i].dead && f->scan.items[i].tid != f->scan.items[i].tgid)
			continue;
		int r = add_task(f, &f->scan.items[i], err);
		if (r != 0)
			return r < 0 ? error_trace(err, r) : r;
	}
	freeze_index(f->c);
	choose_speakers(f->c);
	return read_wait_statuses(f, err);
}

void freeze_free_tasks(struct checkpoint *c)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		free(c->tasks[i]->objects);
		map_free(c->tasks[i]->refers);
		free(c->tasks[i]);
	}
	free(c->tasks);
	c->tasks = NULL;
	c->n_tasks = 0;
	freeze_index_done(c);
}
