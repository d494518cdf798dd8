/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executing the plan. See spawn.h. Steps of one actor in a row go into one list; before another
 * actor's step the list is run, so the steps take effect in the plan's order.
 */
#include "core/spawn.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/next_pid.h"
#include "core/pidns.h"
#include "core/root.h"
#include "core/spawn_parts.h"
#include "kind/kind.h"
#include "task/area.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

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

int spawn_run_list(struct restart *r, struct stub *stub, struct error *err)
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
	return last && last != next ? spawn_run_list(x->r, last, err) : 0;
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
	return stub->parent ? born_in(stub->parent, kind) == o && stub->parent->owes != o
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
		int e = stub->parent && stub->parent->owes == o ? ENTER_LATER
		                                                : kinds[i]->enter(r, o, stub, err);
		if (e == ENTER_LATER)
			stub->owes = o;
		if (e < 0) {
			error_object(err, "%s %u", kinds[i]->name, o->id);
			return error_trace(err, e);
		}
	}
	return 0;
}

/* while it still has rights in what owns that; placeholders only know that they are not in it */
static int enter_owed(struct restart *r, struct stub *stub, struct error *err)
{
	struct object *o = stub->task ? stub->owes : NULL;
	int e = o ? spawn_run_list(r, stub, err) : 0; /* what it has cloned may be waited for */

	if (e == 0 && o)
		e = o->kind->enter(r, o, stub, err);
	if (e == ENTER_LATER)
		e = error_refuse(err, CODE_mount_lock_shape,
		                 "a file system is locked in it that is not there yet");
	if (e < 0) {
		error_task(err, stub->tid, NULL);
		error_object(err, "%s %u", o->kind->name, o->id);
		return error_trace(err, e);
	}
	if (o)
		stub->owes = NULL;
	return 0;
}

/*
 * What is entered last. A dead leader has no objects, and must be where its threads are to be: they
 * are never in another one.
 */
static int enter_last(struct restart *r, struct stub *stub, struct error *err)
{
	int owed = enter_owed(r, stub, err);

	if (owed < 0)
		return error_trace(err, owed);
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

/* what waits for pid namespaces may be tried again; lists are run before */
static void note_begun(struct restart *r, const struct stub *stub)
{
	r->n_begun += stub->ns && stub->ns->init == stub->node;
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
	note_begun(r, child);
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
	e = spawn_run_list(r, parent, err);
	if (e == 0)
		e = spawn_enter(r, child, err);
	if (e == 0 && node->bears)
		e = enter_last(r, child, err);
	return e < 0 ? error_trace(err, e) : 0;
}

struct stub *spawn_real_parent(const struct restart *r, const struct stub *stub)
{
	while (r->plan->nodes[stub->node].flags & CLONE_PARENT)
		stub = stub->parent;
	return stub->parent;
}

static void add_setpgid(const struct restart *r, struct stub *actor, const struct stub *stub,
                        pid_t pgid)
{
	pid_t group = pgid ? stub_number_of(r, pgid, actor) : getpgrp();

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
		return spawn_exit(x->r, step, err);
	case PLAN_DIE:
		return spawn_die(x->r, step, err);
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
		bool ours = step->actor == PLAN_COORDINATOR;
		e = flush(&x, ours ? NULL : r->stubs[step->actor], err);
		if (e == 0 && ours && step->node != r->plan->root)
			e = root_clone(r, r->stubs[step->node], err);
		if (ours)
			note_begun(r, r->stubs[step->node]);
		if (e == 0 && ours)
			e = spawn_enter(r, r->stubs[step->node], err);
		if (e == 0 && !ours)
			e = do_step(&x, step, err);
		if (e == 0 && (step->action == PLAN_EXIT || step->action == PLAN_DIE))
			x.last = NULL;
	}
	map_free(x.inner);
	if (e == 0)
		e = flush(&x, NULL, err);
	if (e == 0)
		e = enter_last_all(r, err);
	close_p(&r->stub_socket_here);
	return e < 0 ? error_trace(err, e) : 0;
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
		e = spawn_await_dead(r, err);
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
	pid_t pid = 0;

	if (r->root > 0)
		kill(r->root, SIGKILL);
	/* an init ends when we have waited for those that have entered its namespace, too */
	while (r->root > 0 && pid != r->root && (pid >= 0 || errno == EINTR))
		pid = waitpid(-1, NULL, __WALL);
	r->root = 0;
	pidns_undo(r);
}
