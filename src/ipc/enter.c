/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Into an IPC namespace and back. setns(2) takes a thread alone there, and any may do it. */
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "ipc/ipc.h"
#include "util/cleanup.h"

int ipc_enter(struct ipc_visit *visit, int ns, struct error *err)
{
	_cleanup_(close_p) int before = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);

	*visit = IPC_VISIT_INIT;
	if (before < 0)
		return error_raise(err, errno, "open /proc/thread-self/ns/ipc");
	if (setns(ns, CLONE_NEWIPC) < 0)
		return error_raise(err, errno, "enter an IPC namespace");
	visit->before = take_fd(&before);
	return 0;
}

void ipc_leave(struct ipc_visit *visit)
{
	/* what let us in lets us out: it is where we came from. Else all that follows is wrong. */
	if (visit->before >= 0 && setns(visit->before, CLONE_NEWIPC) < 0)
		abort();
	close_p(&visit->before);
}
