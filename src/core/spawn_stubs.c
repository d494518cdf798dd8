/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stubs of the plan before any of them is a task, and their socket. See spawn.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/restart_parts.h"
#include "core/spawn.h"
#include "kind/cred.h"
#include "kind/mm.h"
#include "kind/mnt_ns.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "task/area.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define FD_MAX      (1 << 30) /* far above what fs.nr_open can be, proc_sys_fs(5) */
#define PATIENCE_MS 2000      /* for the kernel to let go of pids, in all */

/* recorded tid -> whether the stub's death is meant; NULL when the tid is none of ours */
static pid_t casualty(void *arg, int *ret_status)
{
	struct restart *r = arg;
	pid_t pid;

	while (r->tracer && (pid = tracer_casualty(r->tracer, ret_status)) > 0) {
		bool meant = false;
		for (size_t i = 0; i < r->n_stubs && !meant; i++)
			meant = r->stubs[i]->host_tid == pid && calls_left(r->stubs[i]->calls);
		for (size_t i = 0; i < r->n_dismissed && !meant; i++)
			meant = r->dismissed[i] == pid;
		if (!meant)
			return pid;
	}
	return 0;
}

bool spawn_pid_lingers(void *restart, pid_t pid)
{
	struct restart *r = restart;

	if (r->new_pidns || preflight_pid_in_use(pid) || r->waited_for_pids_ms >= PATIENCE_MS)
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	r->waited_for_pids_ms++;
	return true;
}

static void name_stub(struct stub *stub)
{
	char comm[20] = "";

	if (!stub->task)
		return;
	const TaskState *t = object_state(stub->task, TaskState);
	memcpy(comm, t->comm.data, t->comm.len);
	calls_set_comm(stub->calls, comm);
}

/* a midwife goes where the child is to be born, as who that is, if that is there by then */
static bool is_for_midwife(struct restart *r, const struct stub *stub, const struct object *o)
{
	uint32_t bears = r->plan->nodes[stub->node].bears;

	return (o->kind->enter || o->kind->enter_last || o->kind == &cred_kind) &&
	       !(o->kind == &mnt_ns_kind && mnt_ns_waits(r, o, r->plan->nodes[bears - 1].ns->id));
}

static void add_objects(struct restart *r, struct stub *stub, const struct object *task)
{
	const TaskState *t = object_state(task, TaskState);

	for (size_t i = 0; i < t->n_objects; i++) {
		struct object *o = objects_by_id(r->objects, t->objects[i]);
		if (stub->task || is_for_midwife(r, stub, o))
			*array_push(stub->objects, stub->n_objects) = o;
	}
}

static void add_stub(struct restart *r, uint32_t node)
{
	const struct plan_node *n = &r->plan->nodes[node];
	struct stub *stub = *array_push(r->stubs, r->n_stubs) = xcalloc(1, sizeof(*stub));

	stub->node = node;
	stub->tid = n->tid;
	stub->ns = n->ns;
	stub->inner = n->inner;
	stub->calls = calls_new(area_slot(r->area, node), &r->watch, n->tid);
	if (n->is_task) {
		stub->task = r->tasks[node];
		add_objects(r, stub, stub->task);
	} else if (n->bears) {
		add_objects(r, stub, r->tasks[n->bears - 1]);
	}
	name_stub(stub);
}

/* what it, or a thread of it, is to enter last; a midwife, where the new namespace is to belong */
static void find_wanted(const struct restart *r, struct stub *stub)
{
	uint32_t bears = r->plan->nodes[stub->node].bears;

	if (bears) {
		stub->wanted = pid_ns_owner(r, r->plan->nodes[bears - 1].ns);
		return;
	}
	for (size_t i = 0; i < stub->n_objects; i++)
		if (stub->objects[i]->kind->enter_last)
			stub->wanted = stub->objects[i];
	if (!stub->leader->wanted)
		stub->leader->wanted = stub->wanted;
}

static void link_stubs(struct restart *r)
{
	r->by_tid = map_new();
	for (uint32_t i = 0; i < r->n_stubs; i++) {
		const struct plan_node *n = &r->plan->nodes[i];
		struct stub *stub = r->stubs[i];
		stub->leader = r->stubs[n->leader];
		stub->parent = n->creator == PLAN_COORDINATOR ? NULL : r->stubs[n->creator];
		find_wanted(r, stub);
		if (stub->tid)
			map_put(r->by_tid, &stub->tid, sizeof(stub->tid), stub);
	}
}

struct stub *restart_stub_any(const struct restart *r, pid_t tid)
{
	return map_get(r->by_tid, &tid, sizeof(tid));
}

struct stub *restart_stub(const struct restart *r, pid_t tid)
{
	struct stub *stub = restart_stub_any(r, tid);

	return stub && stub->task ? stub : NULL;
}

static bool fd_in_use(const struct restart *r, int fd)
{
	size_t cursor = 0;

	for (const struct object *o; (o = objects_next(r->objects, NULL, &cursor));)
		if (o->kind->uses_fd && o->kind->uses_fd(o, fd))
			return true;
	return false;
}

/*
 * The set uses the highest number that the limit allows: one that is free in all its tables will
 * do, above those at which a batch arrives.
 */
static int find_gap(const struct restart *r, rlim_t limit)
{
	for (int fd = (int)(limit > FD_MAX ? FD_MAX : limit) - 1; fd >= STUB_FDS_MAX; fd--)
		if (!fd_in_use(r, fd))
			return fd;
	return -1;
}

static int refuse_limit(struct restart *r, int highest, rlim_t limit)
{
	struct error refusal;

	error_refuse(&refusal, CODE_files_limit,
	             "restart needs a descriptor that no task has, number %d at most, and the hard "
	             "limit of open files is %llu",
	             highest + 1, (unsigned long long)limit);
	error_hint(&refusal, "restart where it is %d or more (ulimit -Hn)", highest + 2);
	restart_refuse(r, &refusal);
	return 0;
}

/*
 * For the stubs' socket: a descriptor number above all that the set uses, and room below it for a
 * full batch. The stubs inherit our limit; the kind rlimit puts their own back.
 */
int spawn_preflight(struct restart *r, struct error *err)
{
	struct rlimit limit;
	size_t cursor = 0;
	int highest = STUB_FDS_MAX - 1;

	for (struct object *o; (o = objects_next(r->objects, NULL, &cursor));)
		if (o->kind->highest_fd && o->kind->highest_fd(o) > highest)
			highest = o->kind->highest_fd(o);
	if (highest >= FD_MAX)
		return error_refuse(err, CODE_image_invalid, "descriptor %d is too high", highest);
	r->stub_socket = highest + 1;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return error_raise(err, errno, "read the limit of open files");
	limit.rlim_cur = limit.rlim_max;
	if ((rlim_t)r->stub_socket >= limit.rlim_max) {
		const struct rlimit more = { (rlim_t)r->stub_socket + 1,
			                     (rlim_t)r->stub_socket + 1 };
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return 0;
		r->stub_socket = (rlim_t)highest < limit.rlim_max ? find_gap(r, limit.rlim_max)
		                                                  : -1;
		if (r->stub_socket < 0)
			return refuse_limit(r, highest, limit.rlim_max);
	}
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return error_raise(err, errno, "raise the soft limit of open files");
	return 0;
}

static int open_socket(struct restart *r, struct error *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_raise(err, errno, "make a socket pair");
	r->socket = pair[0];
	r->stub_socket_here = pair[1];
	return 0;
}

int spawn_prepare(struct restart *r, struct error *err)
{
	uint64_t start;
	int e;

	r->watch = (struct watch){ casualty, spawn_pid_lingers, r };
	e = open_socket(r, err);
	if (e == 0)
		e = mm_hole(r->objects, area_size(r->plan->n_nodes), &start, err);
	if (e == 0)
		e = area_new(&r->area, r->plan->n_nodes, start, err);
	if (e < 0)
		return error_trace(err, e);
	for (uint32_t i = 0; i < r->plan->n_nodes; i++)
		add_stub(r, i);
	link_stubs(r);
	return 0;
}

void spawn_free(struct restart *r)
{
	mm_share_forget(r);
	for (size_t i = 0; i < r->n_stubs; i++) {
		calls_free(r->stubs[i]->calls);
		free(r->stubs[i]->objects);
		free(r->stubs[i]->chosen);
		free(r->stubs[i]);
	}
	free(r->stubs);
	r->stubs = NULL;
	r->n_stubs = 0;
	area_free(r->area);
	r->area = NULL;
	map_free(r->by_tid);
	free(r->dismissed);
	r->dismissed = NULL;
	r->by_tid = NULL;
	close_p(&r->socket);
	close_p(&r->stub_socket_here);
	close_p(&r->init_socket);
	close_p(&r->pidns_before);
}
