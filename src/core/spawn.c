/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executing the plan. See spawn.h. Steps of one actor in a row go into one list; before another
 * actor's step the list is run, so the steps take effect in the plan's order.
 */
#include "core/spawn.h"

#include <dirent.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "core/next_pid.h"
#include "core/pidns.h"
#include "core/restart_parts.h"
#include "core/root.h"
#include "kind/cred.h"
#include "kind/mm.h"
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

/* ---- preparing ---- */

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

static void add_objects(struct restart *r, struct stub *stub, const struct object *task)
{
	const TaskState *t = object_state(task, TaskState);

	for (size_t i = 0; i < t->n_objects; i++) {
		struct object *o = objects_by_id(r->objects, t->objects[i]);
		/* a midwife goes where the child is to be born, as who that is */
		if (stub->task || o->kind->enter || o->kind->enter_last || o->kind == &cred_kind)
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

/* a descriptor number above all that the set uses, and room below it for a full batch */
static int choose_socket(struct restart *r, struct error *err)
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
	/* the stubs inherit this; the kind rlimit puts their own back */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return error_raise(err, errno, "read the limit of open files");
	limit.rlim_cur = limit.rlim_max;
	if ((rlim_t)r->stub_socket >= limit.rlim_max) {
		const struct rlimit more = { (rlim_t)r->stub_socket + 1,
			                     (rlim_t)r->stub_socket + 1 };
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return 0;
		int errnum = errno;
		r->stub_socket = (rlim_t)highest < limit.rlim_max ? find_gap(r, limit.rlim_max)
		                                                  : -1;
		if (r->stub_socket < 0)
			return error_raise(err, errnum, "raise the limit of open files to %d",
			                   highest + 2);
	}
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return error_raise(err, errno, "raise the soft limit of open files");
	return 0;
}

static int open_socket(struct restart *r, struct error *err)
{
	int pair[2], e = choose_socket(r, err);

	if (e < 0)
		return e;
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

/* ---- steps ---- */

struct execution {
	struct restart *r;
	struct stub *last; /* whose list is being built */
	pid_t next_free;
	struct map *inner; /* numbers in namespaces below the root's that the set needs */
};

static void note_inner(struct execution *x)
{
	static char yes;

	x->inner = map_new();
	for (size_t i = 0; i < x->r->plan->n_nodes; i++) {
		const struct plan_node *n = &x->r->plan->nodes[i];
		for (size_t k = 0; n->inner && k < plan_ns_level(n->ns); k++)
			map_put(x->inner, &n->inner[k], sizeof(n->inner[k]), &yes);
	}
}

/* a pid for a placeholder that nobody looks at: free now, and not one that the set needs */
static int free_tid(struct execution *x, pid_t *ret, struct error *err)
{
	for (; x->next_free > 300; --x->next_free) {
		pid_t next = x->next_free;
		if (restart_stub_any(x->r, next) || map_get(x->inner, &next, sizeof(next)) ||
		    kill(next, 0) == 0 || errno != ESRCH || kill(-next, 0) == 0)
			continue;
		*ret = x->next_free--;
		return 0;
	}
	return error_raise(err, EAGAIN, "find a free pid for a placeholder");
}

static int pid_max(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	int n;

	return f && fscanf(f, "%d", &n) == 1 ? n : 32768;
}

static int run_list(struct restart *r, struct stub *stub, struct error *err)
{
	int e = calls_run(stub->calls, err);

	if (e == -EEXIST && err->code == CODE_NONE)
		err->code = CODE_pid_in_use;
	if (e == 0 && r->new_pidns && !calls_left(stub->calls))
		e = pidns_resolve(r, stub, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int flush(struct execution *x, struct stub *next, struct error *err)
{
	struct stub *last = x->last;

	x->last = next;
	return last && last != next ? run_list(x->r, last, err) : 0;
}

static int before_clone(struct restart *r, struct stub *parent, struct stub *child,
                        struct error *err)
{
	for (size_t i = 0; i < n_kinds; i++) {
		if (!kinds[i]->before_clone)
			continue;
		int e = kinds[i]->before_clone(r, parent, child, err);
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}

/* the namespace of a kind that a new child of @maker is in; NULL if it is not known */
static const struct object *born_in(const struct stub *maker, const struct kind *kind)
{
	return kind->born_in ? kind->born_in(maker) : stub_object(maker, kind);
}

/* a root that was born in its user namespace was so in what is outside of that, too; see root.c */
static bool is_inside(const struct stub *stub, const struct kind *kind, const struct object *o)
{
	return stub->parent ? born_in(stub->parent, kind) == o
	                    : kind->enter_outside && stub->user_ns;
}

/*
 * A stub is in the namespaces of the one that cloned it, and enters those that are others. Dead
 * tasks have no objects: they stay where they were made.
 */
int spawn_enter(struct restart *r, struct stub *stub, struct error *err)
{
	for (size_t i = 0; i < n_kinds; i++) {
		struct object *o = kinds[i]->enter ? stub_object(stub, kinds[i]) : NULL;
		if (!o || is_inside(stub, kinds[i], o))
			continue;
		int e = kinds[i]->enter(r, o, stub, err);
		if (e < 0) {
			error_object(err, "%s %u", kinds[i]->name, o->id);
			return error_trace(err, e);
		}
	}
	return 0;
}

/*
 * What is entered last. A dead leader has no objects, and must be where its threads are to be: they
 * are never in another one.
 */
static int enter_last(struct restart *r, struct stub *stub, struct error *err)
{
	for (size_t i = 0; i < n_kinds; i++) {
		struct object *o = kinds[i]->enter_last ? stub->wanted : NULL;
		if (!o || stub->user_ns == o)
			continue;
		int e = kinds[i]->enter_last(r, o, stub, err);
		if (e < 0) {
			error_task(err, stub->tid, NULL);
			error_object(err, "%s %u", kinds[i]->name, o->id);
			return error_trace(err, e);
		}
		stub->user_ns = o;
	}
	return 0;
}

static int enter_last_all(struct restart *r, struct error *err)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		if (r->plan_tasks[i].state == PLAN_LIVE)
			e = enter_last(r, r->stubs[i], err);
	return e < 0 ? error_trace(err, e) : 0;
}

static bool enters(const struct stub *stub)
{
	for (size_t i = 0; i < n_kinds; i++) {
		const struct object *o = kinds[i]->enter ? stub_object(stub, kinds[i]) : NULL;
		if (o && !is_inside(stub, kinds[i], o))
			return true;
	}
	return false;
}

static int name_placeholder(struct execution *x, struct stub *stub, struct error *err)
{
	size_t levels = plan_ns_level(stub->ns);
	int e = free_tid(x, &stub->tid, err);

	if (e < 0)
		return e;
	stub->inner = stub->chosen = xcalloc(levels, sizeof(*stub->chosen));
	for (size_t i = 0; i < levels; i++)
		stub->chosen[i] = stub->tid;
	map_put(x->r->by_tid, &stub->tid, sizeof(stub->tid), stub);
	return 0;
}

static void add_setns(struct stub *stub, const struct stub *member)
{
	struct calls *calls = stub->calls;

	unsigned fd = CALL(calls, pidfd_open, (uint64_t)stub_number(member, stub), 0);
	calls_add(calls, &(struct call){ .nr = __NR_setns,
	                                 .arg = { fd, CLONE_NEWPID },
	                                 .result_args = 1,
	                                 .what = "setns" });
	calls_add(calls,
	          &(struct call){
			  .nr = __NR_close, .arg = { fd }, .result_args = 1, .what = "close" });
}

/* the number on the @chosen innermost levels, the innermost first, clone(2) */
static unsigned add_clone(struct restart *r, struct stub *parent, struct stub *child,
                          struct clone_args *args, size_t chosen)
{
	pid_t numbers[PLAN_LEVELS_MAX + 1];
	size_t levels = plan_ns_level(child->ns);

	for (size_t i = 0; i < levels; i++)
		numbers[i] = child->inner[levels - 1 - i];
	numbers[levels] = child->tid;
	if (chosen)
		args->set_tid = calls_copy(parent->calls, numbers, chosen * sizeof(*numbers));
	args->set_tid_size = chosen;
	return calls_add_clone(parent->calls, args, sizeof(*args), area_slot(r->area, child->node));
}

/*
 * A child that is in another pid namespace than its maker begins it, or comes to where its init is
 * already: then the maker makes children there for a moment.
 */
unsigned spawn_add_clone(struct restart *r, struct stub *parent, struct stub *child,
                         const struct clone_args *args, size_t chosen)
{
	bool elsewhere = child->ns != parent->ns;
	bool is_init = elsewhere && child->ns->init == child->node;
	struct clone_args own = *args;

	calls_reserve(parent->calls, 8, 512);
	if (is_init)
		own.flags |= CLONE_NEWPID;
	else if (elsewhere)
		add_setns(parent, r->stubs[child->ns->init]);
	unsigned i = add_clone(r, parent, child, &own, chosen);
	if (elsewhere && !is_init)
		add_setns(parent, parent->leader);
	return i;
}

static int do_clone(struct execution *x, const struct plan_step *step, struct error *err)
{
	struct restart *r = x->r;
	const struct plan_node *node = &r->plan->nodes[step->node];
	struct stub *child = r->stubs[step->node], *parent = child->parent;
	struct clone_args args = { .flags = node->flags,
		                   .exit_signal = (uint64_t)node->exit_signal };
	int e = 0;

	if (child->tid == 0)
		e = name_placeholder(x, child, err);
	if (e == 0)
		e = before_clone(r, parent, child, err);
	/* setns(2): not with threads, nor with others that share the fs_struct */
	if (e == 0 && node->flags & (CLONE_THREAD | CLONE_FS))
		e = enter_last(r, parent, err);
	if (e < 0)
		return error_trace(err, e);
	child->user_ns = parent->user_ns;
	child->assumed = parent->assumed;
	if (!r->new_pidns)
		child->host_tid = child->tid;
	if (next_pid_needed(r, parent))
		e = next_pid_clone(r, parent, child, &args, err);
	else
		spawn_add_clone(r, parent, child, &args, plan_ns_level(child->ns) + 1);
	if (e < 0 || (!enters(child) && !node->bears))
		return e < 0 ? error_trace(err, e) : 0;
	x->last = NULL;
	e = run_list(r, parent, err);
	if (e == 0)
		e = spawn_enter(r, child, err);
	if (e == 0 && node->bears)
		e = enter_last(r, child, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* the restart's own process group, as the stubs see it */
static pid_t own_group(const struct restart *r)
{
	return getpgrp();
}

static int set_reaper(struct stub *reaper, bool on, struct error *err)
{
	CALL(reaper->calls, prctl, PR_SET_CHILD_SUBREAPER, on);
	return calls_run(reaper->calls, err);
}

struct stub *spawn_real_parent(const struct restart *r, const struct stub *stub)
{
	while (r->plan->nodes[stub->node].flags & CLONE_PARENT)
		stub = stub->parent;
	return stub->parent;
}

/*
 * A placeholder ends and is reaped by its parent. What it leaves behind goes to the next
 * subreaper above (prctl(2)): for that moment the reaper is one; the kind prctl has the last word.
 */
static int do_exit(struct execution *x, const struct plan_step *step, struct error *err)
{
	struct stub *stub = x->r->stubs[step->actor];
	struct stub *reaper = step->node == PLAN_NONE ? NULL : x->r->stubs[step->node];
	struct stub *parent = spawn_real_parent(x->r, stub);
	int e = run_list(x->r, stub, err);

	if (e == 0 && reaper)
		e = set_reaper(reaper, true, err);
	if (e < 0)
		return error_trace(err, e);
	CALL(stub->calls, exit_group, 0);
	calls_leave(stub->calls);
	stub->n_objects = 0; /* a midwife's are those of the child */
	CALL(parent->calls, wait4, (uint64_t)stub_number(stub, parent), 0, __WALL, 0);
	e = calls_run(parent->calls, err);
	if (e == 0 && reaper)
		e = set_reaper(reaper, false, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static void add_signal_death(struct stub *stub, int signal)
{
	static const uint64_t default_action[4];
	struct calls *calls = stub->calls;
	uint64_t set = calls_copy(calls, &(uint64_t){ 1ull << (signal - 1) }, 8);

	/* no core: not dumpable, core(5) */
	CALL(calls, prctl, PR_SET_DUMPABLE, 0);
	if (signal != SIGKILL)
		CALL(calls, rt_sigaction, signal,
		     calls_copy(calls, default_action, sizeof(default_action)), 0, 8);
	CALL(calls, tgkill, (uint64_t)stub_number(stub, stub), (uint64_t)stub_number(stub, stub),
	     signal);
	CALL(calls, rt_sigprocmask, SIG_UNBLOCK, set, 0, 8);
}

/*
 * An init does not die of signals from its own namespace, nor of any from outside but SIGKILL; by
 * reboot(2) it ends as if by SIGHUP or SIGINT, pid_namespaces(7).
 */
static int kill_init(struct restart *r, struct stub *stub, int signal, struct error *err)
{
	struct stub *parent = spawn_real_parent(r, stub);
	int e;

	if (signal != SIGKILL) {
		CALL(stub->calls, reboot, (uint32_t)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		     signal == SIGHUP ? LINUX_REBOOT_CMD_RESTART : LINUX_REBOOT_CMD_POWER_OFF, 0);
		calls_leave(stub->calls);
		return 0;
	}
	e = calls_run(stub->calls, err);
	if (e < 0)
		return error_trace(err, e);
	calls_leave(stub->calls);
	CALL(parent->calls, kill, (uint64_t)stub_number(stub, parent), SIGKILL);
	e = calls_run(parent->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int do_die(struct execution *x, const struct plan_step *step, struct error *err)
{
	struct stub *stub = x->r->stubs[step->actor];
	const TaskState *t = object_state(stub->task, TaskState);
	bool is_init = stub->ns && stub->ns->init == stub->node;
	int e = task_kind.install(x->r, stub->task, stub, err);

	if (e < 0)
		return e;
	/* one in a user namespace may not make it higher than ours is */
	if (t->dead_nice != getpriority(PRIO_PROCESS, 0) && stub->user_ns && stub->host_tid > 0) {
		if (setpriority(PRIO_PROCESS, (id_t)stub->host_tid, t->dead_nice) < 0)
			return error_raise(err, errno, "setpriority of %d", stub->tid);
	} else if (t->dead_nice != getpriority(PRIO_PROCESS, 0))
		CALL(stub->calls, setpriority, PRIO_PROCESS, 0, t->dead_nice);
	if (is_init && t->exit_code & 0x7f) /* reboot(2) wants the capability that goes with 0 */
		CALL(stub->calls, prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
	e = cred_of_dead(x->r, stub, t->dead_uid, t->dead_gid, err);
	if (e < 0) {
		error_task(err, stub->tid, NULL);
		return error_trace(err, e);
	}
	if (is_init && t->exit_code & 0x7f)
		return kill_init(x->r, stub, (int)(t->exit_code & 0x7f), err);
	if (t->exit_code & 0x7f)
		add_signal_death(stub, (int)(t->exit_code & 0x7f));
	else if (t->state == TASK_STATE__STATE__ZOMBIE)
		CALL(stub->calls, exit_group, t->exit_code >> 8);
	else
		CALL(stub->calls, exit, t->exit_code >> 8);
	calls_leave(stub->calls);
	return 0;
}

static void add_setpgid(const struct restart *r, struct stub *actor, const struct stub *stub,
                        pid_t pgid)
{
	pid_t group = pgid ? stub_number_of(r, pgid, actor) : own_group(r);

	CALL(actor->calls, setpgid, stub == actor ? 0 : (uint64_t)stub_number(stub, actor),
	     (uint64_t)group);
}

static int do_step(struct execution *x, const struct plan_step *step, struct error *err)
{
	struct stub *actor = x->r->stubs[step->actor];

	switch (step->action) {
	case PLAN_CLONE:
		return do_clone(x, step, err);
	case PLAN_SETSID:
		CALL(actor->calls, setsid);
		return 0;
	case PLAN_SETPGID:
		add_setpgid(x->r, actor, x->r->stubs[step->node], step->pgid);
		return 0;
	case PLAN_EXIT:
		return do_exit(x, step, err);
	case PLAN_DIE:
		return do_die(x, step, err);
	}
	return error_raise(err, EINVAL, "execute step %d", (int)step->action);
}

static int run_steps(struct restart *r, struct error *err)
{
	struct execution x = { .r = r, .next_free = pid_max() - 1 };
	int e = 0;

	note_inner(&x);
	for (size_t i = 0; e == 0 && i < r->plan->n_steps; i++) {
		const struct plan_step *step = &r->plan->steps[i];
		if (step->actor == PLAN_COORDINATOR)
			e = spawn_enter(r, r->stubs[step->node], err);
		else
			e = flush(&x, r->stubs[step->actor], err);
		if (e == 0 && step->actor != PLAN_COORDINATOR)
			e = do_step(&x, step, err);
		if (e == 0 && (step->action == PLAN_EXIT || step->action == PLAN_DIE))
			x.last = NULL;
	}
	map_free(x.inner);
	if (e == 0)
		e = flush(&x, NULL, err);
	if (e == 0)
		e = enter_last_all(r, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- the dead ---- */

/*
 * The parent sees the zombie, and leaves it; WNOWAIT needs the exit, not the reaping. It does not
 * block there: the one that is to end may have come back from its last list with an error.
 */
static int look_for_zombie(struct stub *parent, struct stub *stub, siginfo_t *ret,
                           struct error *err)
{
	int e = 0;

	*ret = (siginfo_t){ 0 };
	for (unsigned i = 0; e == 0 && !ret->si_pid; i++) {
		uint64_t addr;
		siginfo_t *info = calls_data(parent->calls, sizeof(*info), &addr);
		CALL(parent->calls, waitid, P_PID, (uint64_t)stub_number(stub, parent), addr,
		     WEXITED | WNOWAIT | WNOHANG | __WALL, 0);
		e = calls_run(parent->calls, err);
		if (e == 0)
			*ret = *info;
		if (e == 0 && !ret->si_pid)
			e = calls_came_back(stub->calls, err);
		if (e == 0 && !ret->si_pid)
			nanosleep(&(struct timespec){ .tv_nsec = i < 100 ? 20000 : 500000 }, NULL);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

static int await_zombie(struct restart *r, struct stub *stub, struct error *err)
{
	const TaskState *t = object_state(stub->task, TaskState);
	siginfo_t info;
	int e = look_for_zombie(restart_stub(r, (pid_t)t->parent), stub, &info, err);

	if (e < 0)
		return error_trace(err, e);
	int want = t->exit_code & 0x7f ? (int)(t->exit_code & 0x7f) : (int)(t->exit_code >> 8);
	if (info.si_status != want ||
	    info.si_code != (t->exit_code & 0x7f ? CLD_KILLED : CLD_EXITED))
		return error_raise(err, EPROTO, "zombie %d got status %d instead of %d", stub->tid,
		                   info.si_status, want);
	return 0;
}

/* the signal that told the parent is not one that it had pending when it was recorded */
static int drain(struct stub *parent, struct error *err)
{
	static const uint64_t all = ~0ull;
	static const struct timespec now = { 0 };
	int64_t result;
	int e;

	do {
		uint64_t set = calls_copy(parent->calls, &all, sizeof(all));
		uint64_t zero = calls_copy(parent->calls, &now, sizeof(now));
		unsigned i = calls_add(parent->calls, &(struct call){ .nr = __NR_rt_sigtimedwait,
		                                                      .arg = { set, 0, zero, 8 },
		                                                      .may_fail = true });
		e = calls_run(parent->calls, err);
		result = e == 0 ? calls_result(parent->calls, i) : 0;
	} while (result > 0);
	return e;
}

/* a leader that ends before its threads tells nobody; proc_pid_stat(5) */
static int await_dead_leader(struct stub *stub, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/stat", stub->host_tid,
	                                         stub->host_tid);

	for (unsigned i = 0; i < 20000; i++) {
		_cleanup_(fclose_p) FILE *f = fopen(path, "re");
		char text[512] = "";
		if (f && fread(text, 1, sizeof(text) - 1, f) > 0) {
			const char *end = strrchr(text, ')');
			if (end && (end[2] == 'Z' || end[2] == 'X'))
				return 0;
		}
		nanosleep(&(struct timespec){ .tv_nsec = i < 100 ? 20000 : 500000 }, NULL);
	}
	return error_raise(err, ETIMEDOUT, "wait for the leader %d to end", stub->tid);
}

static int await_dead(struct restart *r, struct error *err)
{
	struct stub *parent = NULL;
	int e = 0;

	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		if (r->plan_tasks[i].state == PLAN_DEAD_LEADER)
			e = await_dead_leader(r->stubs[i], err);
	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		if (r->plan_tasks[i].state == PLAN_ZOMBIE)
			e = await_zombie(r, r->stubs[i], err);
	for (size_t i = 0; e == 0 && i < r->n_tasks; i++) {
		if (r->plan_tasks[i].state != PLAN_ZOMBIE)
			continue;
		struct stub *next = restart_stub(r, r->plan_tasks[i].parent);
		if (next != parent)
			e = drain(next, err);
		parent = next;
	}
	return e;
}

int spawn_root(struct restart *r, struct error *err)
{
	int e = root_clone(r, r->stubs[r->plan->root], err);

	return e < 0 ? error_trace(err, e) : 0;
}

int spawn_tree(struct restart *r, struct error *err)
{
	int e = r->root ? 0 : spawn_root(r, err);

	if (e == 0)
		e = run_steps(r, err);
	if (e == 0)
		e = await_dead(r, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- the end ---- */

static bool lives(const struct restart *r, size_t i)
{
	return i < r->n_tasks && r->plan_tasks[i].state == PLAN_LIVE;
}

int spawn_close_sockets(struct restart *r, struct error *err)
{
	struct map *closed = map_new();
	int e = 0;

	for (size_t i = 0; i < r->n_tasks; i++) {
		uint32_t table = r->plan_tasks[i].share[PLAN_FILES];
		if (!lives(r, i) || (table && map_get(closed, &table, sizeof(table))))
			continue;
		if (table)
			map_put(closed, &table, sizeof(table), r->stubs[i]);
		CALL(r->stubs[i]->calls, close, r->stub_socket);
		calls_start(r->stubs[i]->calls);
	}
	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		if (lives(r, i))
			e = calls_run(r->stubs[i]->calls, err);
	map_free(closed);
	return e < 0 ? error_trace(err, e) : 0;
}

void spawn_plan_launch(struct restart *r)
{
	struct map *last = map_new();

	for (size_t i = 0; i < r->n_tasks; i++) {
		uint32_t mm = r->plan_tasks[i].share[PLAN_VM];
		if (lives(r, i) && mm)
			map_put(last, &mm, sizeof(mm), r->stubs[i]);
	}
	for (size_t i = 0; i < r->n_tasks; i++) {
		uint32_t mm = r->plan_tasks[i].share[PLAN_VM];
		struct stub *stub = r->stubs[i];
		stub->launch.tid = stub->host_tid;
		if (mm && map_get(last, &mm, sizeof(mm)) != stub)
			continue;
		stub->launch.unmap_start = r->area->start;
		stub->launch.unmap_size = r->area->size;
	}
	map_free(last);
}

void spawn_undo(struct restart *r)
{
	int status;

	if (r->root > 0) {
		kill(r->root, SIGKILL);
		while (waitpid(r->root, &status, __WALL) < 0 && errno == EINTR)
			;
	}
	r->root = 0;
	pidns_undo(r);
}

void spawn_free(struct restart *r)
{
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
