/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: read, preflight, build, fill, commit (architecture, section 4). Until the launch
 * everything is undone on failure: the stubs are killed by the tracer, and names appear at commit.
 */
#include "core/restart.h"
#include "core/kept.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/own_user.h"
#include "core/pidns.h"
#include "core/progress.h"
#include "core/restart_parts.h"
#include "core/spawn.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "kind/tty.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/map.h"

void restart_refuse(struct restart *r, const struct error *refusal)
{
	*array_push(r->refusals.items, r->refusals.n) = *refusal;
}

/* ---- build ---- */

typedef int object_operation(struct restart *r, struct object *object, struct error *err);

/* @operation may be NULL: the kind has none */
static int call(struct restart *r, struct object *o, object_operation *operation, struct error *err)
{
	int e = operation ? operation(r, o, err) : 0;

	if (e < 0) {
		error_object(err, "%s %u", o->kind->name, o->id);
		return error_trace(err, e);
	}
	return 0;
}

static int prepare_objects(struct restart *r, struct error *err)
{
	size_t cursor = 0;
	int e = 0;

	for (struct object *o; e == 0 && (o = objects_next(r->objects, NULL, &cursor));)
		e = call(r, o, o->kind->prepare, err);
	return e;
}

static int restore_one(struct restart *r, struct object *o, struct error *err)
{
	int e = o->kind->restore ? o->kind->restore(r, o, err) : 0;

	o->waits = e == RESTORE_LATER;
	if (o->waits) {
		*array_push(r->waiting, r->n_waiting) = o;
		return 0;
	}
	if (e < 0)
		error_object(err, "%s %u", o->kind->name, o->id);
	return e < 0 ? error_trace(err, e) : 0;
}

int restart_go_on(struct restart *r, struct error *err)
{
	_cleanup_(free_p) struct object **was = take_ptr(r->waiting);
	size_t n = r->n_waiting;
	int e = 0;

	r->n_waiting = 0;
	for (size_t i = 0; e == 0 && i < n; i++)
		e = restore_one(r, was[i], err);
	return e;
}

static int restore_objects(struct restart *r, struct error *err)
{
	int e = 0;

	for (size_t i = 0; i < n_kinds; i++) {
		size_t cursor = 0;
		for (struct object *o; e == 0 && (o = objects_next(r->objects, kinds[i], &cursor));)
			e = restore_one(r, o, err);
	}
	return e;
}

typedef int operation(struct restart *r, struct object *object, struct stub *stub,
                      struct error *err);

static int add_context(struct stub *stub, struct object *object, struct error *err, int e)
{
	char comm[20] = "";

	if (stub->task) {
		const TaskState *t = object_state(stub->task, TaskState);
		memcpy(comm, t->comm.data, t->comm.len);
	}
	error_task(err, stub->tid, comm);
	error_object(err, "%s %u", object->kind->name, object->id);
	return error_trace(err, e);
}

static int install_one(struct restart *r, struct stub *stub, struct object *o, struct error *err)
{
	int e;

	if (!o->kind->install || (o->kind->clone_flag && o->done))
		return 0;
	e = o->kind->install(r, o, stub, err);
	if (e < 0)
		return add_context(stub, o, err, e);
	o->done = true;
	return 0;
}

/* the objects of a task in the order of kinds.def, the task itself last; sorted once, at install */
static int by_kind(const void *a, const void *b)
{
	const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
	size_t i = 0, j = 0;

	while (kinds[i] != x->kind)
		i++;
	while (kinds[j] != y->kind)
		j++;
	if (i != j)
		return i < j ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* the objects of one kind; *next is the first that is not installed yet */
static int install_stub(struct restart *r, struct stub *stub, const struct kind *kind, size_t *next,
                        struct error *err)
{
	size_t first = *next;
	int e = 0;

	for (; e == 0 && *next < stub->n_objects && stub->objects[*next]->kind == kind; ++*next)
		e = install_one(r, stub, stub->objects[*next], err);
	if (e == 0 && stub->task->kind == kind)
		e = install_one(r, stub, stub->task, err);
	if (e == 0 && (*next > first || stub->task->kind == kind))
		calls_start(stub->calls); /* while it works, the next one's list is made */
	return e;
}

static bool lives(const struct restart *r, size_t i)
{
	return r->plan_tasks[i].state == PLAN_LIVE;
}

static int wait_for_all(struct restart *r, struct error *err)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		if (!lives(r, i))
			continue;
		int e = calls_run(r->stubs[i]->calls, err);
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}

/*
 * Kind by kind: tasks may share a descriptor table and not their memory, and what needs the table
 * empty (stub_send_fds) must be over in all of them before it is filled.
 */
static int install_all(struct restart *r, struct error *err)
{
	_cleanup_(free_p) size_t *next = xcalloc(r->n_tasks, sizeof(*next));

	for (size_t i = 0; i < r->n_tasks; i++)
		if (lives(r, i) && r->stubs[i]->n_objects)
			qsort(r->stubs[i]->objects, r->stubs[i]->n_objects,
			      sizeof(*r->stubs[i]->objects), by_kind);
	for (size_t k = 0; k < n_kinds; k++) {
		for (size_t i = 0; i < r->n_tasks; i++) {
			struct stub *stub = r->stubs[i];
			int e = lives(r, i) ? install_stub(r, stub, kinds[k], &next[i], err) : 0;
			if (e < 0)
				return error_trace(err, e);
		}
	}
	return wait_for_all(r, err);
}

/* ---- commit ---- */

static int commit_one(struct restart *r, struct stub *stub, struct object *o, struct error *err)
{
	int e = o->kind->commit ? o->kind->commit(r, o, stub, err) : 0;

	return e < 0 ? add_context(stub, o, err, e) : 0;
}

static int commit_stub(struct restart *r, struct stub *stub, struct error *err)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < stub->n_objects; i++)
		e = commit_one(r, stub, stub->objects[i], err);
	if (e == 0)
		e = commit_one(r, stub, stub->task, err);
	calls_start(stub->calls);
	return e;
}

static int commit_all(struct restart *r, struct error *err)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		int e = lives(r, i) ? commit_stub(r, r->stubs[i], err) : 0;
		if (e < 0)
			return error_trace(err, e);
	}
	return wait_for_all(r, err);
}

static int finish_objects(struct restart *r, struct error *err)
{
	size_t cursor = 0;
	int e = 0;

	for (struct object *o; e == 0 && (o = objects_next(r->objects, NULL, &cursor));)
		e = call(r, o, o->kind->finish, err);
	return e;
}

/* orphans of the tree are not ours; and what comes for the tree from now on must not end us */
static void let_go(int was_reaper, sigset_t *ret_saved)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, ret_saved);
	prctl(PR_SET_CHILD_SUBREAPER, was_reaper);
}

static int launch_all(struct restart *r, int was_reaper, struct error *err)
{
	sigset_t saved;

	spawn_plan_launch(r);
	for (size_t i = 0; i < r->n_tasks; i++) {
		struct stub *stub = r->stubs[i];
		if (!lives(r, i))
			continue;
		int e = stub->launch.regs ? tracer_launch(r->tracer, &stub->launch, err)
		                          : error_refuse(err, CODE_image_invalid, "no registers");
		if (e < 0) {
			error_task(err, stub->tid, NULL);
			return error_trace(err, e);
		}
	}
	int e = kept_launch(r, err);
	if (e < 0)
		return error_trace(err, e);
	let_go(was_reaper, &saved);
	e = pidns_release(r, err);
	if (e == 0)
		e = tracer_launch_all(r->tracer, r->options->leave_stopped, err);
	if (e < 0)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (e < 0 || !r->options->keep_blocked)
		sigprocmask(SIG_SETMASK, &saved, NULL);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- the phases ---- */

static int open_image(struct restart *r, int *ret_fd, struct error *err)
{
	const char *path = r->options->input;
	int e;

	*ret_fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC)
	                            : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (*ret_fd < 0)
		return error_raise(err, errno, "open the image %s", path);
	e = contents_open(&r->image, *ret_fd, err);
	r->objects = r->image.objects;
	return e < 0 ? error_trace(err, e) : 0;
}

/* the tracer is a process like any other: it must not have a pid that the set needs */
static int start_tracer(struct restart *r, struct error *err)
{
	struct tracer *unfit[32];
	size_t n = 0;
	int e;

	while ((e = tracer_start(&r->tracer, err)) == 0 && n < sizeof(unfit) / sizeof(unfit[0]) &&
	       preflight_needs_pid(r, tracer_pid(r->tracer)))
		unfit[n++] = take_ptr(r->tracer);
	while (n)
		tracer_stop(unfit[--n]);
	return e < 0 ? error_trace(err, e) : 0;
}

static int after_clone(struct restart *r, struct error *err)
{
	size_t cursor = 0;
	int e = 0;

	for (struct object *o; e == 0 && (o = objects_next(r->objects, NULL, &cursor));)
		e = call(r, o, o->kind->after_clone, err);
	if (e == 0)
		e = restart_go_on(r, err);
	if (e == 0 && r->n_waiting) {
		e = error_refuse(err, CODE_image_invalid, "what it is on is never made");
		error_object(err, "%s %u", r->waiting[0]->kind->name, r->waiting[0]->id);
	}
	return e;
}

static int build(struct restart *r, struct error *err)
{
	int e;

	progress_phase(r->options->progress, "build", 0);
	e = start_tracer(r, err);
	if (e == 0)
		e = prepare_objects(r, err);
	if (e == 0)
		e = tty_lead_session(r, err);
	if (e == 0)
		e = spawn_prepare(r, err);
	if (e == 0)
		e = spawn_root(r, err);
	if (e == 0)
		e = restore_objects(r, err);
	if (e == 0)
		e = spawn_tree(r, err);
	if (e == 0)
		e = after_clone(r, err);
	if (e == 0)
		e = install_all(r, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int finish(struct restart *r, int was_reaper, struct error *err)
{
	int e;

	progress_phase(r->options->progress, "fill", restart_blocks_left(r));
	e = restart_fill(r, err);
	if (e < 0)
		return error_trace(err, e);
	progress_phase(r->options->progress, "commit", 0);
	e = spawn_close_sockets(r, err);
	if (e == 0)
		e = commit_all(r, err);
	if (e == 0)
		e = finish_objects(r, err);
	if (e == 0)
		e = tty_give_foreground(r, err);
	if (e == 0)
		e = launch_all(r, was_reaper, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/*
 * All stubs have been killed: what the dead parents among them left comes to us, since we are a
 * subreaper, and is gone when we have waited for it. Nothing else of ours lives any more.
 */
static void reap_all(void)
{
	pid_t pid;

	do
		pid = waitpid(-1, NULL, __WALL);
	while (pid > 0 || (pid < 0 && errno == EINTR));
}

static int make_tree(struct restart *r, struct restart_result *ret, struct error *err)
{
	int e, was_reaper = 0;

	ret->began = true;
	prctl(PR_GET_CHILD_SUBREAPER, &was_reaper);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	e = build(r, err);
	if (e == 0)
		e = finish(r, was_reaper, err);
	if (e < 0) {
		tracer_stop(take_ptr(r->tracer));
		spawn_undo(r);
		reap_all();
		kept_undo(r);
		return error_trace(err, e);
	}
	ret->root = r->root;
	ret->root_pidfd = pidfd_open(r->root, 0);
	tracer_stop(take_ptr(r->tracer));
	return 0;
}

static void restart_done(struct restart *r)
{
	tracer_stop(r->tracer);
	spawn_free(r);
	kept_done(&r->kept);
	free(take_ptr(r->waiting));
	contents_close(&r->image);
	close_p(&r->own_status);
	free(r->own_user);
	pthread_mutex_destroy(&r->socket_lock);
}

int restart_run(const struct restart_options *options, struct restart_result *ret,
                struct error *err)
{
	struct restart r = { .options = options,
		             .socket = -1,
		             .stub_socket_here = -1,
		             .init_socket = -1,
		             .pidns_before = -1,
		             .own_status = open("/proc/self/status", O_RDONLY | O_CLOEXEC) };
	_cleanup_(close_p) int fd = -1;
	uint64_t start = now_us();
	int e;

	*ret = (struct restart_result){ .root_pidfd = -1 };
	*err = ERROR_INIT;
	pthread_mutex_init(&r.socket_lock, NULL);
	progress_phase(options->progress, "read", 0);
	e = open_image(&r, &fd, err);
	if (e == 0)
		e = restart_read(&r, fd, err);
	if (e == 0)
		e = own_user_enter(&r, err);
	if (e == 0)
		e = restart_preflight(&r, err);
	if (e == 0)
		e = make_tree(&r, ret, err);
	ret->refusals = r.refusals;
	ret->n_tasks = r.n_tasks;
	ret->memory_bytes = r.memory_bytes;
	ret->total_us = now_us() - start;
	restart_done(&r);
	return e < 0 ? error_trace(err, e) : 0;
}
