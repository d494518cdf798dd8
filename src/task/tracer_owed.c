/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is owed: a process that must have ended, and calls that a task must have made, before any
 * task is let go. The coordinator says so before it changes what they put right, so that they do
 * that even if it goes in between.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "util/cleanup.h"

static void forget(struct owed *owed)
{
	close_p(&owed->after);
	free(owed->body);
	*owed = OWED_NONE;
}

int trace_owe(struct trace *t, const struct owed *owed, pid_t after, struct error *err)
{
	int pidfd = (int)syscall(SYS_pidfd_open, after, 0);

	if (pidfd < 0)
		return error_raise(err, errno, "pidfd_open of process %d", after);
	forget(&t->owed);
	t->owed = *owed;
	t->owed.after = pidfd;
	return 0;
}

/* no signal can interrupt it */
static void await_end(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	poll(&p, 1, -1);
}

int trace_pay(struct trace *t, void **ret, struct error *err)
{
	struct owed owed = t->owed;
	int r = 0;

	if (owed.after < 0)
		return 0;
	t->owed = OWED_NONE; /* it is tried once */
	await_end(owed.after);
	struct traced *task = owed.n ? trace_find(t, owed.tid) : NULL;
	if (task && task->gone)
		r = error_raise(err, ESRCH, "task %d is not held", owed.tid);
	else if (task)
		r = trace_inject(t, task, owed.body, owed.n,
		                 (char *)owed.body + owed.n * sizeof(struct injection), err);
	if (ret)
		*ret = take_ptr(owed.body);
	forget(&owed);
	return r < 0 ? error_trace(err, r) : 0;
}
