/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: freeze, collect, judge, save, then thaw or kill (architecture, section 4).
 *
 *   running --freeze--> held --collect, judge--> held --save--> held --+--> running
 *                         |                        |                   +--> stopped
 *                         +---- any failure -------+--> running        +--> gone
 *
 * Only the last step changes the application, and when it is to be stopped or killed the image has
 * been synced and has its name before. On all other ways out tracer_stop() lets it go as it was.
 */
#include "core/checkpoint.h"
#include "core/kept.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "core/external.h"
#include "core/freeze.h"
#include "core/image_file.h"
#include "core/progress.h"
#include "core/tree.h"
#include "host/features.h"
#include "image/image.h"
#include "kind/kind.h"
#include "kind/mm/mm.h"
#include "kind/task.h"
#include "task/holders.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/map.h"

#define CHECKS_MAX        100
#define REPEATS_LOOKED_AT 64 /* of the latest refusals, for the same one once more */

static bool same_refusal(const struct error *a, const struct error *b)
{
	return a->code == b->code && a->pid == b->pid && a->fd == b->fd &&
	       !strcmp(a->cause, b->cause) && !strcmp(a->object, b->object);
}

static void add_refusal(struct refusals *list, const struct error *refusal)
{
	for (size_t i = list->n, k = 0; i > 0 && k < REPEATS_LOOKED_AT; i--, k++)
		if (same_refusal(&list->items[i - 1], refusal))
			return;
	*array_push(list->items, list->n) = *refusal;
}

void refusals_done(struct refusals *refusals)
{
	free(refusals->items);
	*refusals = (struct refusals){ 0 };
}

void refuse(struct checkpoint *c, const struct task *task, const struct error *refusal)
{
	struct error copy = *refusal;

	if (task)
		error_task(&copy, task->tid, task->comm);
	add_refusal(&c->refusals, &copy);
}

void check_unexamined_codes(struct checkpoint *c, const struct task *task, const char *what,
                            const enum code *codes, size_t n_codes)
{
	struct error note = ERROR_INIT;
	char list[sizeof(note.hint) - 40] = "";

	if (c->tracer)
		return;
	for (size_t i = 0, used = 0; i < n_codes; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
		                         code_name(codes[i]));
	error_raise(&note, EAGAIN, "%s", what);
	error_hint(&note, "may be refused as %s", list);
	if (task)
		error_task(&note, task->tid, task->comm);
	add_refusal(&c->unexamined, &note);
}

static bool root_is_init(const struct checkpoint *c)
{
	return c->tasks[0]->recorded.tid == 1 && c->tasks[0]->tid != 1;
}

bool checkpoint_is_container(const struct checkpoint *c)
{
	return c->options->container != CONTAINER_NO && root_is_init(c);
}

/* an operation of a kind may end with a refusal as its error: the walk goes on. 0 or an error. */
static int settle(struct checkpoint *c, const struct task *task, struct error *err, int r)
{
	if (r == -EOPNOTSUPP && err->code != CODE_NONE) {
		refuse(c, task, err);
		*err = ERROR_INIT;
		return 0;
	}
	if (r < 0 && task)
		error_task(err, task->tid, task->comm);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- collect ---- */

static void add_task_object(struct checkpoint *c, struct task *task)
{
	struct object *object = objects_get(c->objects, &task_kind, &task->tid, sizeof(task->tid),
	                                    NULL);

	object->live = task;
}

/* directories in /proc are those of the task's user, also for one who may trace it */
static bool may_list(struct checkpoint *c, const struct task *task)
{
	struct error refusal = ERROR_INIT;

	if (features_capability(CAP_DAC_OVERRIDE))
		return true;
	_cleanup_(close_p) int fd = task_openat(task, "ns", O_RDONLY | O_DIRECTORY);
	if (fd != -EACCES)
		return true;
	error_refuse(&refusal, CODE_capability,
	             "CAP_DAC_OVERRIDE is needed to see what it holds: it has other ids than "
	             "stasis");
	error_hint(&refusal,
	           "run stasis as root; or in the user namespace that maps these ids, with a "
	           "mount namespace of its own: podman unshare, or nsenter -U "
	           "--preserve-credentials -t PID unshare -m stasis checkpoint --subtree...");
	refuse(c, task, &refusal);
	return false;
}

/* `check` finds out by trying what attaching would have been refused */
static bool may_look(struct checkpoint *c, const struct task *task)
{
	struct error refusal = ERROR_INIT;
	_cleanup_(close_p) int fd = c->tracer ? -1 : task_openat(task, "maps", 0);

	if (c->tracer || fd >= 0)
		return true;
	if (fd == -ENOENT || fd == -ESRCH) /* it has ended meanwhile: nobody stops it */
		return false;
	error_refuse(&refusal, CODE_task_permission, "it may not be traced: %s", strerror(-fd));
	error_hint(&refusal, "run stasis as the task's user, or with CAP_SYS_PTRACE");
	refuse(c, task, &refusal);
	return false;
}

static void judge_root(struct checkpoint *c)
{
	struct error refusal;

	if (c->tasks[0]->state == TASK_ZOMBIE) { /* it has ended while it was being frozen */
		error_refuse(&refusal, CODE_task_gone, "it is dead");
		refuse(c, c->tasks[0], &refusal);
	}
	if (c->options->container != CONTAINER_YES || root_is_init(c))
		return;
	error_refuse(&refusal, CODE_container_root, "it is not the init of a pid namespace");
	error_hint(&refusal, "give the pid of the container's init, or leave --container out");
	refuse(c, c->tasks[0], &refusal);
}

/* 1: it may not be looked at, and was refused */
static int collect_task(struct checkpoint *c, struct task *task, bool dead, struct error *err)
{
	size_t before = c->refusals.n;

	if (!dead && (!may_look(c, task) || !may_list(c, task)))
		return c->refusals.n > before;
	for (size_t i = 0; i < n_kinds; i++) {
		int (*operation)(struct checkpoint *, struct task *, struct error *) =
			dead ? kinds[i]->collect_dead : kinds[i]->collect;
		if (!operation)
			continue;
		int r = settle(c, task, err, operation(c, task, err));
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

static int collect(struct checkpoint *c, struct error *err)
{
	bool blind = false;

	judge_root(c);
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct task *task = c->tasks[i];
		bool dead = task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER;
		add_task_object(c, task);
		int r = collect_task(c, task, dead, err);
		if (r < 0)
			return error_trace(err, r);
		blind |= r > 0;
	}
	return blind ? -EOPNOTSUPP : 0; /* what is known of the others would be misunderstood */
}

/* ---- judge ---- */

static void judge_externals(struct checkpoint *c)
{
	struct error refusal = ERROR_INIT;
	const char *key = externals_unused(c->options->externals);

	if (!key)
		return;
	error_refuse(&refusal, CODE_external_unused, "--external %s: the set holds no such object",
	             key);
	error_hint(&refusal, "give the key as the refusal of the leak prints it");
	refuse(c, NULL, &refusal);
}

/* what save alone would find */
static int survey(struct checkpoint *c, struct error *err)
{
	size_t cursor = 0;
	int r = 0;

	for (struct object *o; r == 0 && (o = objects_next(c->objects, NULL, &cursor));)
		if (o->kind->survey)
			r = settle(c, NULL, err, o->kind->survey(c, o, err));
	return r;
}

static int judge(struct checkpoint *c, struct error *err)
{
	size_t cursor = 0;
	int r = 0;

	for (struct object *o; (o = objects_next(c->objects, NULL, &cursor));) {
		if (o->kind->judge)
			r = settle(c, NULL, err, o->kind->judge(c, o, err));
		if (r < 0)
			return error_trace(err, r);
	}
	tree_judge(c);
	judge_externals(c);
	if (c->refusals.n || !c->tracer)
		r = survey(c, err);
	if (r < 0)
		return error_trace(err, r);
	return c->refusals.n ? -EOPNOTSUPP : 0;
}

/* collect and judge; -EOPNOTSUPP when something was refused */
static int examine(struct checkpoint *c, struct error *err)
{
	progress_phase(c->options->progress, "freeze", 0);
	int r = freeze_set(c, err);
	if (r == 0) {
		progress_phase(c->options->progress, "collect", 0);
		r = collect(c, err);
	}
	if (r == 0)
		r = judge(c, err);
	if (r == 0 && c->tracer) /* nobody asks the tasks any more; their memory is to be read */
		r = tracer_rest(c->tracer, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- save ---- */

typedef int save_operation(struct checkpoint *c, struct object *object, struct error *err);

static int save_record(struct checkpoint *c, struct object *object, struct error *err)
{
	int r = 0;

	if (!object->kind->message)
		return 0;
	if (!object->message && object->kind->save)
		r = object->kind->save(c, object, err);
	if (r == 0)
		r = image_writer_message(c->image, object->kind->number, object->id,
		                         object->message, err);
	return r;
}

static int save_pages(struct checkpoint *c, struct object *object, struct error *err)
{
	return object->kind->save_bulk ? object->kind->save_bulk(c, object, err) : 0;
}

static int confirm(struct checkpoint *c, struct object *object, struct error *err)
{
	return object->kind->confirm ? object->kind->confirm(c, object, err) : 0;
}

static int for_each_object(struct checkpoint *c, save_operation *operation, struct error *err)
{
	for (size_t i = 0; i < n_kinds; i++) {
		size_t cursor = 0;
		for (struct object *o; (o = objects_next(c->objects, kinds[i], &cursor));) {
			int r = operation(c, o, err);
			if (r == 0)
				continue;
			error_object(err, "%s %u", o->kind->name, o->id);
			return error_trace(err, r);
		}
	}
	return 0;
}

static uint64_t bulk_bytes(const struct checkpoint *c)
{
	uint64_t bytes = 0;
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, NULL, &cursor));)
		bytes += o->kind->bulk_bytes ? o->kind->bulk_bytes(o) : 0;
	return bytes;
}

static int save(struct checkpoint *c, struct error *err)
{
	progress_phase(c->options->progress, "save", 0);
	int r = for_each_object(c, save_record, err);
	if (r == 0 && c->options->progress)
		progress_phase(c->options->progress, "save", bulk_bytes(c));
	if (r == 0)
		r = for_each_object(c, save_pages, err);
	if (r == 0)
		r = for_each_object(c, confirm, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- the phases ---- */

/* a checkpoint at work, around what the kinds see of it */
struct run {
	struct checkpoint c;
	struct image_file file;
	uint64_t frozen_us, thawed_us;
};

/* the kinds' references are closed: a pipe's end held longer would delay the program's EOF */
static void drop_objects(struct checkpoint *c)
{
	map_free(take_ptr(c->links));
	objects_free(take_ptr(c->objects));
	kept_done(&c->kept);
	for (size_t i = 0; i < KCMP_TYPES; i++)
		kcmp_set_done(&c->kcmp[i]);
	kcmp_reap_nobody(c);
}

static int thaw(struct run *run, bool stop, struct error *err)
{
	drop_objects(&run->c);
	int r = tracer_thaw(run->c.tracer, stop, err);
	run->thawed_us = now_us();
	return r < 0 ? error_trace(err, r) : 0;
}

/*
 * The image gets its name, and what was asked for happens to the tree: both or neither. A signal
 * that would end us comes too late from here on; the caller's end is near.
 */
static int publish(struct run *run, struct error *err)
{
	sigset_t all, saved;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &saved);
	int r = image_file_publish(&run->file, err);
	if (r < 0)
		sigprocmask(SIG_SETMASK, &saved, NULL);
	return r < 0 ? error_trace(err, r) : 0;
}

static int write_image(struct run *run, struct error *err)
{
	const struct checkpoint_options *o = run->c.options;
	const struct image_writer_options how = { (enum image_compression)o->compression,
		                                  o->compression_level };
	int r = image_writer_new(&run->c.image, run->file.fd, &how, err);

	if (r == 0)
		r = save(&run->c, err);
	/* the set has been read: a tree that goes on need not wait for the disk */
	if (r == 0 && o->after == AFTER_LEAVE_RUNNING)
		r = thaw(run, false, err);
	else if (r == 0) /* what was read is whole only if nothing of it has run meanwhile */
		r = tracer_check(run->c.tracer, err);
	if (r == 0)
		r = image_writer_finish(run->c.image, err);
	if (r < 0 && run->c.image)
		image_writer_fail(run->c.image, err);
	if (r == 0)
		r = publish(run, err);
	if (r == -EOPNOTSUPP && settle(&run->c, NULL, err, r) == 0)
		survey(&run->c, err); /* the first refusal was found; with it the others are */
	return r < 0 ? error_trace(err, r) : 0;
}

/* the image is complete; what was asked for happens to the tree */
static int let_go(struct run *run, struct error *err)
{
	int r = 0;

	if (run->c.options->after == AFTER_LEAVE_STOPPED)
		return thaw(run, true, err);
	if (run->c.options->after == AFTER_KILL) {
		drop_objects(&run->c);
		r = tracer_kill(run->c.tracer, err);
		run->thawed_us = now_us();
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static int checkpoint_phases(struct run *run, struct error *err)
{
	const struct checkpoint_options *o = run->c.options;
	int r = image_file_open(&run->file, o->output, o->force, err);

	if (r == 0)
		r = tracer_start(&run->c.tracer, err);
	if (r < 0)
		return error_trace(err, r);
	holders_look_ahead(&run->c);
	run->frozen_us = now_us();
	r = examine(&run->c, err);
	if (r == 0)
		r = write_image(run, err);
	if (r == 0)
		r = let_go(run, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static struct checkpoint checkpoint_new(const struct checkpoint_options *options)
{
	return (struct checkpoint){ .options = options,
		                    .objects = objects_new(),
		                    .by_tid = map_new(),
		                    .links = map_new() };
}

static void checkpoint_done(struct checkpoint *c)
{
	if (c->objects)
		drop_objects(c);
	tracer_stop(take_ptr(c->tracer));
	holders_free(take_ptr(c->holders));
	freeze_free_tasks(c);
	image_writer_free(take_ptr(c->image));
}

int checkpoint_run(const struct checkpoint_options *options, struct checkpoint_result *ret,
                   struct error *err)
{
	struct run run = { .c = checkpoint_new(options), .file = IMAGE_FILE_INIT };
	uint64_t start = now_us();

	*ret = (struct checkpoint_result){ 0 };
	*err = ERROR_INIT;
	int r = checkpoint_phases(&run, err);
	ret->refusals = run.c.refusals;
	ret->n_tasks = run.c.n_tasks;
	if (run.c.image) {
		ret->memory_bytes = image_writer_memory(run.c.image);
		ret->image_bytes = image_writer_bytes(run.c.image);
	}
	checkpoint_done(&run.c);
	image_file_close(&run.file);
	ret->stop_us = run.thawed_us - run.frozen_us;
	ret->total_us = now_us() - start;
	return r < 0 ? error_trace(err, r) : 0;
}

static void refuse_change(struct checkpoint *c)
{
	struct error refusal;

	error_refuse(&refusal, CODE_task_changed,
	             "tasks came and went all the time, so that some of this may be wrong");
	error_hint(&refusal, "a checkpoint stops them first; or try again");
	refuse(c, c->tasks[0], &refusal);
}

/* a child that has just begun looks like one from outside, and one that has ended like nothing */
int checkpoint_check(const struct checkpoint_options *options, struct refusals *ret_refusals,
                     struct refusals *ret_unexamined, struct error *err)
{
	bool again = true;
	int r = 0;

	for (unsigned attempt = 1; again; attempt++) {
		struct checkpoint c = checkpoint_new(options);
		*err = ERROR_INIT;
		r = examine(&c, err);
		/* an error: it ends just now, and does not show that yet */
		bool changed = r < 0 && c.n_tasks && (r != -EOPNOTSUPP || !freeze_is_same(&c));
		again = changed && attempt < CHECKS_MAX;
		if (changed && !again)
			refuse_change(&c);
		if (again) {
			refusals_done(&c.refusals);
			refusals_done(&c.unexamined);
		}
		*ret_refusals = c.refusals;
		*ret_unexamined = c.unexamined;
		checkpoint_done(&c);
	}
	if (r == -EOPNOTSUPP && ret_refusals->n)
		return 0;
	return r < 0 ? error_trace(err, r) : 0;
}
