/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kind task. Which tasks there are, and how they are related, is read by the planner
 * (core/tree.c, task/plan.c); what is left to do for one task is here.
 */
#include "kind/task.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "task/stub.h"

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
	if (dead && (t->tid != t->tgid || t->n_objects))
		return error_raise(err, EBADMSG, "a dead task that is no leader, or has objects");
	if (!exit_code_valid(t->exit_code) || (!dead && t->exit_code))
		return error_raise(err, EBADMSG, "exit code 0x%x", t->exit_code);
	if (t->state == TASK_STATE__STATE__STOPPED ? !stop_signal_valid(t->stop_signal)
	                                           : t->stop_signal != 0)
		return error_raise(err, EBADMSG, "stop signal %u", t->stop_signal);
	if (t->exit_signal > 64)
		return error_raise(err, EBADMSG, "exit signal %u", t->exit_signal);
	if (t->comm.len > COMM_MAX || memchr(t->comm.data, 0, t->comm.len))
		return error_raise(err, EBADMSG, "a name of %zu bytes, or with a NUL", t->comm.len);
	for (size_t i = 0; i < t->n_objects; i++) {
		const struct object *o = objects_by_id(objects, t->objects[i]);
		if (!o || o->kind == &task_kind)
			return error_raise(err, EBADMSG, "refers to object %u, which is not there",
			                   t->objects[i]);
	}
	return 0;
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

	stub->launch.stop = t->state == TASK_STATE__STATE__STOPPED;
	return 0;
}

const struct kind task_kind = {
	.name = "task",
	.number = 1,
	.message = &task_state__descriptor,
	.validate = task_validate,
	.install = task_install,
	.commit = task_commit,
};
