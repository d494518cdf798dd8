/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pids in turn. See next_pid.h. */
#include "core/next_pid.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/helper.h"
#include "kind/object.h"
#include "kind/pid_ns.h"
#include "kind/user_ns.h"
#include "task/area.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define LAST_PID  "/proc/sys/kernel/ns_last_pid"
#define TRIES_MAX 1000

bool next_pid_needed(const struct restart *r, const struct stub *parent)
{
	uint32_t owner = pid_ns_root_owner(r);

	return parent->user_ns && !user_ns_is_below(r->objects, owner, parent->user_ns->id);
}

/* ---- where the kernel goes on ---- */

struct turn {
	int ns; /* the pid namespace; -1: ours */
	pid_t last;
};

static int write_last(void *arg, struct error *err)
{
	const struct turn *t = arg;
	_cleanup_(close_p) int fd = open(LAST_PID, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, "%d", t->last) < 0)
		return error_raise(err, errno, "write " LAST_PID);
	return 0;
}

/* setns(2) of a pid namespace is for children */
static int write_inside(void *arg, struct error *err)
{
	struct turn *t = arg;

	if (setns(t->ns, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter the pid namespace of the tree");
	int e = helper_run(write_last, t, sizeof(*t), err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int set_last(const struct restart *r, pid_t last, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/pid", r->root);
	_cleanup_(close_p) int fd = r->new_pidns ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct turn t = { fd, last };

	if (r->new_pidns && fd < 0)
		return error_raise(err, errno, "open %s", path);
	int e = fd < 0 ? write_last(&t, err) : helper_run(write_inside, &t, sizeof(t), err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- one that got another number ---- */

/* until the thread of that number in the parent's process is no more */
static int await_end(const struct stub *parent, pid_t tid, struct error *err)
{
	struct calls *calls = parent->calls;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned k = calls_add(
			calls,
			&(struct call){ .nr = __NR_tgkill,
		                        .arg = { (uint64_t)parent->leader->tid, (uint64_t)tid, 0 },
		                        .may_fail = true });
		int e = calls_run(calls, err);
		if (e < 0 || calls_result(calls, k) < 0)
			return e;
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	return error_raise(err, ETIMEDOUT, "wait for thread %d to end", tid);
}

static int dismiss(struct restart *r, struct stub *parent, struct stub *child, bool is_thread,
                   pid_t tid, struct error *err)
{
	int e;

	*array_push(r->dismissed, r->n_dismissed) = tid;
	if (is_thread)
		CALL(child->calls, exit, 0);
	else
		CALL(child->calls, exit_group, 0);
	calls_leave(child->calls);
	if (is_thread) {
		e = await_end(parent, tid, err);
	} else {
		CALL(parent->calls, wait4, (uint64_t)tid, 0, __WALL, 0);
		e = calls_run(parent->calls, err);
	}
	calls_renew(child->calls);
	return e < 0 ? error_trace(err, e) : 0;
}

int next_pid_clone(struct restart *r, struct stub *parent, struct stub *child,
                   const struct clone_args *args, struct error *err)
{
	uint64_t slot = area_slot(r->area, child->node);
	int e = calls_run(parent->calls, err);

	if (plan_ns_level(child->ns)) /* each level would have its turn */
		return error_refuse(err, CODE_user_ns_shape,
		                    "it has threads in a pid namespace below the root's, and is in "
		                    "a user namespace of its own");
	for (unsigned i = 0; e == 0 && i < TRIES_MAX; i++) {
		e = set_last(r, child->tid - 1, err);
		if (e < 0)
			break;
		calls_reserve(parent->calls, 1, 256);
		unsigned k = calls_add_clone(parent->calls, args, sizeof(*args), slot);
		e = calls_run(parent->calls, err);
		pid_t tid = e < 0 ? 0 : (pid_t)calls_result(parent->calls, k);
		if (e < 0 || tid == child->tid)
			return e;
		e = dismiss(r, parent, child, args->flags & CLONE_THREAD, tid, err);
	}
	if (e < 0)
		return error_trace(err, e);
	error_refuse(err, CODE_pid_in_use, "pid %d could not be had in turn", child->tid);
	return -EEXIST;
}
