/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pids in turn. See next_pid.h. */
#include "core/next_pid.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/spawn.h"
#include "host/enter.h"
#include "host/helper.h"
#include "kind/object.h"
#include "kind/pid_ns.h"
#include "kind/user_ns.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

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
	int e = file_write(LAST_PID, err, "%d", t->last);

	return e < 0 ? error_trace(err, e) : 0;
}

/* setns(2) of a pid namespace is for children */
static int write_inside(void *arg, struct error *err)
{
	struct turn *t = arg;

	if (namespace_enter(t->ns, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter the pid namespace of the tree");
	int e = helper_run_here(write_last, t, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* @fd: of the pid namespace; -1: ours */
static int set_last(int fd, pid_t last, struct error *err)
{
	struct turn t = { fd, last };
	int e = fd < 0 ? write_last(&t, err) : helper_run_here(write_inside, &t, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int set_last_of_root(struct restart *r, pid_t last, struct error *err)
{
	struct object *own = r->image.namespaces.root
	                             ? objects_by_id(r->objects, r->image.namespaces.root)
	                             : NULL;
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/pid", r->root);
	_cleanup_(close_p) int fd = -1;

	if (own || !r->new_pidns) {
		int lent = own ? pid_ns_fd(r, own, err) : -1;
		return own && lent < 0 ? error_trace(err, lent) : set_last(lent, last, err);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open %s", path) : set_last(fd, last, err);
}

/* on all levels but the @chosen innermost ones; who goes into one takes a number in those above */
static int set_turns(struct restart *r, const struct stub *child, size_t chosen, struct error *err)
{
	const struct plan_ns *ns = child->ns;
	int e = 0;

	for (; ns && chosen; chosen--)
		ns = ns->parent;
	for (; e == 0 && ns; ns = ns->parent) {
		int fd = pid_ns_fd(r, objects_by_id(r->objects, ns->id), err);
		e = fd < 0 ? fd : set_last(fd, child->inner[ns->level - 1] - 1, err);
	}
	if (e == 0 && !chosen)
		e = set_last_of_root(r, child->tid - 1, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* on how many levels, from the child's own up, the parent may choose its numbers */
static size_t count_chosen(const struct restart *r, const struct stub *parent,
                           const struct stub *child)
{
	size_t n = 0;

	for (const struct plan_ns *ns = child->ns;; ns = ns->parent, n++) {
		const struct object *owner = pid_ns_owner(r, ns);
		if (!user_ns_is_below(r->objects, owner ? owner->id : 0, parent->user_ns->id))
			return n;
		if (!ns)
			return n + 1;
	}
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
		                        .arg = { (uint64_t)stub_number(parent->leader, parent),
		                                 (uint64_t)tid, 0 },
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

/* whether it has its numbers on all levels that we can see; @tid: on that of the parent */
static bool is_right(const struct restart *r, const struct stub *parent, const struct stub *child,
                     pid_t tid)
{
	char path[40], line[512] = "";

	if (tid != stub_number(child, parent))
		return false;
	if (r->new_pidns || !parent->ns) /* nobody else gets numbers in a namespace of the tree */
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", child->tid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && strncmp(line, "NSpid:", 6))
		;
	const char *last = strrchr(line, '\t');
	return last && atoi(last + 1) == stub_number(child, child);
}

int next_pid_clone(struct restart *r, struct stub *parent, struct stub *child,
                   const struct clone_args *args, struct error *err)
{
	size_t chosen = count_chosen(r, parent, child);
	int e = calls_run(parent->calls, err);

	for (unsigned i = 0; e == 0 && i < TRIES_MAX; i++) {
		e = set_turns(r, child, chosen, err);
		if (e < 0)
			break;
		unsigned k = spawn_add_clone(r, parent, child, args, chosen);
		e = calls_run(parent->calls, err);
		pid_t tid = e < 0 ? 0 : (pid_t)calls_result(parent->calls, k);
		if (e < 0 || is_right(r, parent, child, tid))
			return e;
		if (child->ns) /* its number where we are is not known */
			break;
		e = dismiss(r, parent, child, args->flags & CLONE_THREAD, tid, err);
		/* nobody has it, and it is not given: the kernel is about to let go of it */
		spawn_pid_lingers(r, child->tid);
	}
	if (e < 0)
		return error_trace(err, e);
	error_refuse(err, CODE_pid_in_use, "pid %d could not be had in turn", child->tid);
	return -EEXIST;
}
