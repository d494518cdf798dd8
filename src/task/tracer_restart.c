/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracer at restart. All stubs descend from the root stub, which is seized with EXITKILL and
 * with automatic attachment of what it clones, so no stub outlives this process before it has been
 * launched. They run freely (they wait in a futex for their lists) until each is launched: stopped,
 * given its final state, and kept stopped until all can go.
 */
#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "task/tracer_private.h"
#include "util/alloc.h"

#define OPTIONS                                                                               \
	(PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
	 PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD)

int trace_adopt(struct trace *t, pid_t root, struct error *err)
{
	struct traced *task = trace_add(t, root);

	t->restart = true;
	if ((!t->may_suspend ||
	     ptrace(PTRACE_SEIZE, root, 0, OPTIONS | PTRACE_O_SUSPEND_SECCOMP) < 0) &&
	    ptrace(PTRACE_SEIZE, root, 0, OPTIONS) < 0) {
		int r = error_raise(err, errno, "PTRACE_SEIZE of the root stub %d", root);
		task->gone = true;
		return r;
	}
	return 0;
}

static void note_death(struct trace *t, pid_t tid, int status)
{
	*array_push(t->deaths, t->n_deaths) = (struct death){ .tid = tid, .status = status };
}

/*
 * A stub at its end (PTRACE_EVENT_EXIT): it is let go now, because a leader that ends while its
 * threads live would stay attached as a zombie, with EXITKILL on the whole process.
 */
static void at_exit_event(struct trace *t, struct traced *task)
{
	unsigned long status = 0;

	ptrace(PTRACE_GETEVENTMSG, task->tid, 0, &status);
	note_death(t, task->tid, (int)status);
	ptrace(PTRACE_DETACH, task->tid, 0, 0);
	trace_forget(task);
}

/* one stop of a stub that is not being launched: it goes on */
void trace_pass_on(struct trace *t, struct traced *task, int status)
{
	int event = status >> 16;

	task->stopped = false;
	if (event == PTRACE_EVENT_EXIT)
		at_exit_event(t, task);
	else if (event || WSTOPSIG(status) == (SIGTRAP | 0x80))
		ptrace(PTRACE_CONT, task->tid, 0, 0);
	else
		ptrace(PTRACE_CONT, task->tid, 0, WSTOPSIG(status));
}

static void one_event(struct trace *t, pid_t pid, int status)
{
	struct traced *task = trace_find(t, pid);

	if (!task || task->gone)
		task = trace_add(t, pid);
	if (!WIFSTOPPED(status)) {
		note_death(t, pid, status);
		trace_forget(task);
		return;
	}
	trace_pass_on(t, task, status);
}

void trace_events(struct trace *t)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0 || (pid < 0 && errno == EINTR))
		if (pid > 0)
			one_event(t, pid, status);
}

void trace_kill_stubs(struct trace *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone)
			kill(t->tasks[i]->tid, SIGKILL);
	trace_await_ends(t, 5000, trace_pass_on);
}
