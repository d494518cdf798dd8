/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kind task. Which tasks there are, and how they are related, is read by the planner
 * (core/tree.c, task/plan.c); what is left to do for one task is here.
 */
#include "kind/task.h"

#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "kind/mm.h"
#include "task/plan.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define COMM_MAX 15 /* TASK_COMM_LEN less the NUL */

/* signals that end a process by default, signal(7); cores are never dumped again */
static bool signal_kills(int signal)
{
	switch (signal) {
	case SIGCHLD:
	case SIGCONT:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
	case SIGWINCH:
		return false;
	default:
		return signal >= 1 && signal <= 64;
	}
}

static bool exit_code_valid(uint32_t code)
{
	if (code & 0xff)
		return code <= 0x7f && signal_kills((int)code);
	return code <= 0xff00;
}

static bool stop_signal_valid(uint32_t signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static TaskState__State state_of(const struct task *task)
{
	switch (task->state) {
	case TASK_STOPPED:
		return TASK_STATE__STATE__STOPPED;
	case TASK_ZOMBIE:
		return TASK_STATE__STATE__ZOMBIE;
	case TASK_DEAD_LEADER:
		return TASK_STATE__STATE__DEAD_LEADER;
	case TASK_HELD:
		break;
	}
	return TASK_STATE__STATE__LIVE;
}

/* of a pid namespace below the root's */
static bool is_init(const struct checkpoint *c, const struct task *task)
{
	const struct proc_status *s = &task->status;

	return s->n_ns_pids > c->tasks[0]->status.n_ns_pids && s->ns_pid[s->n_ns_pids - 1] == 1;
}

/* what an init can be made to die of, core/spawn.c */
static bool init_dies_of(uint32_t exit_code)
{
	int signal = exit_code & 0x7f;

	return !signal || signal == SIGKILL || signal == SIGHUP || signal == SIGINT;
}

static int task_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct task *task = object->live;
	bool dead = task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER;

	if (dead && is_init(c, task) && !init_dies_of(task->stat.exit_code)) {
		error_refuse(err, CODE_task_init_death,
		             "it is dead, was the init of a pid namespace, and died by signal %d, "
		             "which only a fault of its own can do",
		             task->stat.exit_code & 0x7f);
		error_hint(err, "let its parent (pid %d) wait for it", task->stat.ppid);
		error_task(err, task->tid, task->comm);
		return -EOPNOTSUPP;
	}
	if (!dead || !WCOREDUMP(task->stat.exit_code))
		return 0;
	error_refuse(err, CODE_task_core,
	             "it is dead and has dumped core, which only a real core dump can say");
	error_hint(err, "let its parent (pid %d) wait for it", task->stat.ppid);
	error_task(err, task->tid, task->comm);
	return -EOPNOTSUPP;
}

/* the ids of its objects in the order of kinds.def, which is that of the records */
static void list_objects(const struct task *task, TaskState *s)
{
	for (size_t i = 0; i < n_kinds; i++)
		for (size_t k = 0; k < task->n_objects; k++)
			if (task->objects[k]->kind == kinds[i])
				*array_push(s->objects, s->n_objects) = task->objects[k]->id;
}

/*
 * Whether the parent has taken the status of the stop: until then the process shows it as its exit
 * code. (Its threads do not, do_task_stat() in the kernel's fs/proc/array.c.)
 */
static int stop_waited(const struct task *task, bool *ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	struct proc_stat stat = { 0 };
	int r = task_read(task, "../../stat", &text, NULL, err);

	if (r == 0)
		r = proc_stat_parse(text, &stat, err);
	*ret = r == 0 && !stat.exit_code;
	return r < 0 ? error_trace(err, r) : 0;
}

/* signals that are pending for any thread of the process of @leader */
static uint64_t pending_signals(const struct task *leader)
{
	uint64_t pending = leader->status.shared_pending;

	for (const struct task *task = leader; task; task = task->next_thread)
		pending |= task->status.sig_pending;
	return pending;
}

/*
 * Whether the parent could still be told that the process was continued: only it can ask. Not seen
 * with a SIGCONT that is pending, since to be continued again would add to that or take it away.
 */
static int was_continued(const struct checkpoint *c, const struct task *task, bool *ret,
                         struct error *err)
{
	_Alignas(siginfo_t) char buffer[INJECT_BUFFER_SIZE] = { 0 };
	const struct task *parent = task->parent;
	const struct proc_status *s = &task->status;

	*ret = false;
	if (task != task->leader || task->state != TASK_HELD || !parent ||
	    (parent->state != TASK_HELD && parent->state != TASK_STOPPED))
		return 0;
	struct injection call = { .nr = __NR_waitid,
		                  .arg = { P_PID, (uint64_t)s->ns_pid[parent->status.n_ns_pids - 1],
		                           0, WCONTINUED | WNOHANG | WNOWAIT | __WALL },
		                  .buffer_args = 1 << 2 };
	int r = tracer_inject(c->tracer, parent->tid, &call, 1, buffer, err);
	if (r < 0)
		return error_trace(err, r);
	*ret = call.result == 0 && ((siginfo_t *)buffer)->si_pid &&
	       !(pending_signals(task) & 1ull << (SIGCONT - 1));
	return 0;
}

/* its numbers below the root's pid namespace */
static void save_inner(const struct checkpoint *c, const struct task *task, TaskState *s)
{
	const struct proc_status *status = &task->status;
	size_t above = c->tasks[0]->status.n_ns_pids, n = status->n_ns_pids - above;

	if (!n)
		return;
	s->inner_tids = xmemdup(status->ns_pid + above, n * sizeof(int32_t));
	s->inner_pgids = xmemdup(status->ns_pgid + above, n * sizeof(int32_t));
	s->inner_sids = xmemdup(status->ns_sid + above, n * sizeof(int32_t));
	s->n_inner_tids = s->n_inner_pgids = s->n_inner_sids = n;
}

static void save_descent(const struct task *task, TaskState *s)
{
	const struct mm_descent d = mm_descent(task);

	s->turn = d.turn;
	s->maker = d.maker ? (uint32_t)d.maker->recorded.tid : 0;
	s->n_stand_ins = d.n_stand_ins;
	if (d.n_stand_ins)
		s->stand_ins = xmemdup(d.stand_ins, d.n_stand_ins * sizeof(*d.stand_ins));
}

static int task_save(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct task *task = object->live;
	TaskState *s = xmalloc(sizeof(*s));

	task_state__init(s);
	object->message = &s->base;
	s->tid = (uint32_t)task->recorded.tid;
	s->tgid = (uint32_t)task->recorded.tgid;
	s->parent = task->parent ? (uint32_t)task->parent->recorded.tid : 0;
	s->pgid = (uint32_t)task->recorded.pgid;
	s->sid = (uint32_t)task->recorded.sid;
	save_inner(c, task, s);
	s->state = state_of(task);
	if (task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER) {
		s->exit_code = (uint32_t)task->stat.exit_code;
		s->dead_uid = task->status.uid[0];
		s->dead_gid = task->status.gid[0];
		s->dead_nice = (int32_t)task->stat.nice;
	}
	s->stop_signal = (uint32_t)task->stop_signal;
	if (task == task->leader)
		s->exit_signal = (uint32_t)task->stat.exit_signal;
	save_descent(task, s);
	s->comm.len = strnlen(task->comm, COMM_MAX);
	s->comm.data = xmemdup(task->comm, s->comm.len);
	list_objects(task, s);
	bool continued, waited = false;
	int r = was_continued(c, task, &continued, err);
	if (r == 0 && task->state == TASK_STOPPED)
		r = stop_waited(task, &waited, err);
	s->continued = continued;
	s->stop_waited = waited;
	return r < 0 ? error_trace(err, r) : 0;
}

static int task_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const TaskState *t = object_state(object, TaskState);
	bool dead = t->state == TASK_STATE__STATE__ZOMBIE ||
	            t->state == TASK_STATE__STATE__DEAD_LEADER;

	if (t->tid == 0 || t->tid > INT_MAX || t->tgid == 0 || t->tgid > INT_MAX ||
	    t->parent > INT_MAX || t->pgid > INT_MAX || t->sid > INT_MAX)
		return error_raise(err, EBADMSG, "a pid is out of range");
	if ((uint32_t)t->state > TASK_STATE__STATE__DEAD_LEADER)
		return error_raise(err, EBADMSG, "unknown state %d", (int)t->state);
	if (dead && t->tid != t->tgid)
		return error_raise(err, EBADMSG, "a dead task that is no leader");
	if (!exit_code_valid(t->exit_code) || (!dead && t->exit_code))
		return error_raise(err, EBADMSG, "exit code 0x%x", t->exit_code);
	if (dead && t->n_inner_tids && t->inner_tids[t->n_inner_tids - 1] == 1 &&
	    !init_dies_of(t->exit_code))
		return error_raise(err, EBADMSG, "an init with exit code 0x%x", t->exit_code);
	if (t->state == TASK_STATE__STATE__STOPPED ? !stop_signal_valid(t->stop_signal)
	                                           : t->stop_signal != 0)
		return error_raise(err, EBADMSG, "stop signal %u", t->stop_signal);
	if (dead ? t->dead_uid == UINT32_MAX || t->dead_gid == UINT32_MAX
	         : t->dead_uid || t->dead_gid)
		return error_raise(err, EBADMSG, "user %u, group %u", t->dead_uid, t->dead_gid);
	if (t->dead_nice < -20 || t->dead_nice > 19 || (!dead && t->dead_nice))
		return error_raise(err, EBADMSG, "a dead task's nice value %d", t->dead_nice);
	if (t->stop_waited && !t->stop_signal)
		return error_raise(err, EBADMSG, "a stop that did not happen was waited for");
	if (t->continued && (t->state != TASK_STATE__STATE__LIVE || t->tid != t->tgid))
		return error_raise(err, EBADMSG, "what does not run was continued");
	if (t->n_stand_ins > PLAN_STAND_INS_MAX)
		return error_raise(err, EBADMSG, "%zu placeholders", t->n_stand_ins);
	if (t->exit_signal > 64)
		return error_raise(err, EBADMSG, "exit signal %u", t->exit_signal);
	if (t->comm.len > COMM_MAX || bytes_have_nul(&t->comm))
		return error_raise(err, EBADMSG, "a name of %zu bytes, or with a NUL", t->comm.len);
	for (size_t i = 0; i < t->n_objects; i++) {
		const struct object *o = objects_by_id(objects, t->objects[i]);
		if (!o || o->kind == &task_kind)
			return error_raise(err, EBADMSG, "refers to object %u, which is not there",
			                   t->objects[i]);
		if (dead && !o->kind->collect_dead)
			return error_raise(err, EBADMSG, "a dead task has a %s", o->kind->name);
	}
	return 0;
}

/* what a live task needs for its ids is the kind cred's to say */
static int task_preflight(struct restart *r, struct object *object, struct error *err)
{
	const TaskState *t = object_state(object, TaskState);
	bool dead = t->state == TASK_STATE__STATE__ZOMBIE ||
	            t->state == TASK_STATE__STATE__DEAD_LEADER;
	bool may = features_capability(CAP_SETUID) && features_capability(CAP_SETGID);

	if (dead && t->dead_nice < getpriority(PRIO_PROCESS, 0) &&
	    !features_capability(CAP_SYS_NICE)) {
		error_refuse(err, CODE_sched_privilege,
		             "a dead task has the nice value %d, which needs CAP_SYS_NICE",
		             t->dead_nice);
		error_task(err, (pid_t)t->tid, NULL);
		return -EOPNOTSUPP;
	}
	if (!dead || may || (t->dead_uid == getuid() && t->dead_gid == getgid()))
		return 0;
	error_refuse(err, CODE_cred_capability,
	             "a dead task has the user and group ids %u and %u, which needs %s",
	             t->dead_uid, t->dead_gid,
	             features_capability_name(features_capability(CAP_SETUID) ? CAP_SETGID
	                                                                      : CAP_SETUID));
	error_task(err, (pid_t)t->tid, NULL);
	return -EOPNOTSUPP;
}

static int task_install(struct restart *r, struct object *object, struct stub *stub,
                        struct error *err)
{
	const TaskState *t = object_state(object, TaskState);
	char name[COMM_MAX + 1] = "";

	memcpy(name, t->comm.data, t->comm.len);
	CALL(stub->calls, prctl, PR_SET_NAME, calls_copy(stub->calls, name, sizeof(name)));
	return 0;
}

static int task_commit(struct restart *r, struct object *object, struct stub *stub,
                       struct error *err)
{
	const TaskState *t = object_state(object, TaskState);

	stub->launch.stop_signal = (int)t->stop_signal; /* 0 unless it is STOPPED */
	stub->launch.stop_waited = t->stop_waited;
	stub->launch.continued = t->continued;
	return 0;
}

const struct kind task_kind = {
	.name = "task",
	.number = 1,
	.message = &task_state__descriptor,
	.judge = task_judge,
	.save = task_save,
	.validate = task_validate,
	.preflight = task_preflight,
	.install = task_install,
	.commit = task_commit,
};
