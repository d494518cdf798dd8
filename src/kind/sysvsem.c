/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of semaphore adjustments. A task has one when it has used SEM_UNDO, or has had threads
 * (CLONE_SYSVSEM makes one for both). The kernel shows nobody what stands in it, but the limits of
 * an adjustment tell: operations that would lead to the limit's edge and then cannot be done at
 * once fail with ERANGE if there was an adjustment before, with EAGAIN if not, and change nothing
 * either way (semop(2) is atomic). How much it is comes out by halving, where the semaphores are of
 * an IPC namespace that goes along; others stay, and with them what is to be undone: refused.
 *
 * One trace is left: the kernel now has an entry of zeros for the semaphore in the list, which sets
 * its sem_otime when the list ends.
 */
#include "kind/sysvsem.h"

#include <linux/kcmp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "sysvsem.pb-c.h"
#include "task/calls.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"

static int sysvsem_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	bool is_new;

	int r = kcmp_object_or_none(c, &sysvsem_kind, KCMP_SYSVSEM, task, &object, &is_new, err);
	if (r < 0)
		return error_trace(err, r);
	if (!object)
		return 0;
	if (is_new) {
		SysvsemState *s = xmalloc(sizeof(*s));
		sysvsem_state__init(s);
		object->message = &s->base;
	}
	task_refer(task, object);
	return 0;
}

static void refuse_list(struct checkpoint *c, const struct task *task, int id, const char *why)
{
	struct error refusal;

	error_refuse(&refusal, CODE_sysvsem_undo, "%s", why);
	error_object(&refusal, "semaphore set %d", id);
	error_hint(&refusal, "see ipcs -s; wait until it holds no semaphore");
	refuse(c, task, &refusal);
}

#define PROBE_OPS 8
#define PROBES    (INJECT_BUFFER_SIZE / (PROBE_OPS * sizeof(struct sembuf)))
#define TRIES     5
#define LIMIT     32767 /* SEMVMX and SEMAEM; an adjustment may also be -32768 */

/*
 * The semop(2) that asks for one adjustment, into @ops: for a semaphore of that @value, one of a
 * set on which nobody else operates meanwhile.
 */
static struct injection probe(int id, unsigned short k, int value, struct sembuf ops[PROBE_OPS],
                              size_t offset)
{
	const short undo = SEM_UNDO | IPC_NOWAIT, plain = IPC_NOWAIT;
	const struct sembuf wanted[PROBE_OPS] = {
		{ k, (short)(LIMIT - value), plain },
		{ k, -LIMIT, undo }, /* fails if the adjustment is above 0 */
		{ k, LIMIT, undo },
		{ k, -LIMIT, plain },
		{ k, LIMIT, undo }, /* fails if it is below -1 */
		{ k, -LIMIT, plain },
		{ k, 1, undo },   /* fails if it is below 0 */
		{ k, -2, plain }, /* would have to wait */
	};
	unsigned skip = value == LIMIT; /* the operation 0 would wait, too */

	memcpy(ops, wanted, sizeof(wanted));
	return (struct injection){ .nr = __NR_semop,
		                   .arg = { (uint64_t)id, offset + skip * sizeof(*ops),
		                            PROBE_OPS - skip },
		                   .buffer_args = 1 << 1 };
}

/* the values of @n semaphores from @first on: whether all are to be had */
static bool values(int id, unsigned first, unsigned n, int ret[PROBES])
{
	for (unsigned i = 0; i < n; i++)
		if ((ret[i] = semctl(id, (int)(first + i), GETVAL)) < 0)
			return false;
	return true;
}

enum finding { EMPTY, FULL, BUSY, CLOSED };

static enum finding conclude(const struct injection *calls, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (calls[i].result == -ERANGE)
			return FULL;
		else if (calls[i].result == -EACCES)
			return CLOSED;
		else if (calls[i].result != -EAGAIN)
			return BUSY;
	return EMPTY;
}

/* up to PROBES semaphores of a set, from @first on */
static int ask_some(struct checkpoint *c, const struct task *task, int id, unsigned first,
                    unsigned n, enum finding *ret, struct error *err)
{
	int before[PROBES], after[PROBES];

	*ret = BUSY;
	for (unsigned i = 0; i < TRIES && *ret == BUSY; i++) {
		_Alignas(struct sembuf) char buffer[INJECT_BUFFER_SIZE] = { 0 };
		struct injection calls[PROBES];
		if (!values(id, first, n, before)) {
			*ret = errno == EACCES ? CLOSED : EMPTY; /* it is gone */
			return 0;
		}
		for (unsigned k = 0; k < n; k++) {
			size_t offset = k * PROBE_OPS * sizeof(struct sembuf);
			struct sembuf *ops = (void *)(buffer + offset);
			calls[k] = probe(id, (unsigned short)(first + k), before[k], ops, offset);
		}
		int r = tracer_inject(c->tracer, task->tid, calls, n, buffer, err);
		if (r < 0)
			return error_trace(err, r);
		*ret = conclude(calls, n);
		if (values(id, first, n, after) && memcmp(before, after, n * sizeof(*before)) != 0)
			*ret = BUSY;
	}
	return 0;
}

static int ask_set(struct checkpoint *c, const struct task *task, int id, unsigned n_sems,
                   enum finding *ret, struct error *err)
{
	*ret = EMPTY;
	for (unsigned first = 0; first < n_sems && *ret == EMPTY; first += PROBES) {
		unsigned n = n_sems - first < PROBES ? n_sems - first : PROBES;
		int r = ask_some(c, task, id, first, n, ret, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

/* whether a process of the list was the last to operate on one of these */
static bool used_it(const struct checkpoint *c, const struct object *object, int id, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		int pid = semctl(id, (int)k, GETPID);
		const struct task *task = pid > 0 ? checkpoint_process(c, pid) : NULL;
		for (; task; task = task->next_thread)
			if (task_object(task, &sysvsem_kind) == object)
				return true;
	}
	return false;
}

/* ---- how much: semaphores of a namespace that goes along, which nobody uses now ---- */

/*
 * Asks whether an adjustment is above @threshold (0 to 32766), or below it (-1 to -32767): as
 * above, to the edge and no further.
 */
static int compare(struct checkpoint *c, const struct task *task, int id, unsigned short k,
                   int value, int threshold, bool *ret, struct error *err)
{
	const short undo = SEM_UNDO | IPC_NOWAIT, plain = IPC_NOWAIT;
	bool above = threshold >= 0;
	int edge = above ? LIMIT : 0;
	int move = above ? threshold - LIMIT : LIMIT + 1 + threshold;
	const struct sembuf wanted[] = {
		{ k, (short)(edge - value), plain },
		{ k, (short)move, undo },                /* fails if it is so */
		{ k, (short)-(edge + move + 1), plain }, /* would have to wait */
	};
	_Alignas(struct sembuf) char buffer[INJECT_BUFFER_SIZE] = { 0 };
	unsigned skip = value == edge; /* the operation 0 would wait, or not */
	struct injection call = { .nr = __NR_semop,
		                  .arg = { (uint64_t)id, skip * sizeof(*wanted), 3 - skip },
		                  .buffer_args = 1 << 1 };

	memcpy(buffer, wanted, sizeof(wanted));
	int r = tracer_inject(c->tracer, task->tid, &call, 1, buffer, err);
	if (r < 0)
		return error_trace(err, r);
	if (call.result != -ERANGE && call.result != -EAGAIN)
		return error_raise(err, call.result < 0 ? (int)-call.result : EPROTO,
		                   "ask for an adjustment of semaphore %u of set %d", k, id);
	*ret = call.result == -ERANGE;
	return 0;
}

/* the adjustment itself, by halving */
static int measure(struct checkpoint *c, const struct task *task, int id, unsigned short k,
                   int *ret, struct error *err)
{
	int value = semctl(id, k, GETVAL), low = 0, high = LIMIT;
	bool above, yes;

	if (value < 0)
		return error_raise(err, errno, "read semaphore %u of set %d", k, id);
	int r = compare(c, task, id, k, value, 0, &above, err);
	if (r < 0)
		return error_trace(err, r);
	if (!above) { /* it is not 0, so -1 to -32768 */
		low = 1;
		high = LIMIT + 1;
	}
	while (low < high) {
		int middle = low + (high - low) / 2;
		r = compare(c, task, id, k, value, above ? middle : -middle, &yes, err);
		if (r < 0)
			return error_trace(err, r);
		if (yes)
			low = middle + 1;
		else
			high = middle;
	}
	*ret = above ? low : -low;
	return 0;
}

/* notes all adjustments of a set, of which some semaphore has one */
static int note_set(struct checkpoint *c, struct object *object, const struct object *set,
                    const struct task *task, int id, unsigned n_sems, struct error *err)
{
	SysvsemState *s = object_state(object, SysvsemState);

	for (unsigned k = 0; k < n_sems; k++) {
		enum finding found;
		int value = 0;
		int r = ask_some(c, task, id, k, 1, &found, err);
		if (r == 0 && found == FULL)
			r = measure(c, task, id, (unsigned short)k, &value, err);
		if (r < 0)
			return error_trace(err, r);
		if (!value)
			continue;
		SysvsemState__Adjustment *a = xmalloc(sizeof(*a));
		sysvsem_state__adjustment__init(a);
		*a = (SysvsemState__Adjustment){ a->base, set->id, k, value };
		*array_push(s->adjustments, s->n_adjustments) = a;
	}
	return 0;
}

/* whose list is looked at */
struct judging {
	struct checkpoint *c;
	struct object *object;
	const struct task *task;
	const struct object *ns; /* of IPC, if that goes along */
	bool noted;
};

static int judge_set(void *context, int id, const struct semid_ds *ds, struct error *err)
{
	struct judging *j = context;
	struct checkpoint *c = j->c;
	const struct task *task = j->task;
	const struct ipc_key key = { j->ns ? j->ns->id : 0, id };
	const struct object *set =
		j->ns ? objects_find(c->objects, &ipc_sem_kind, &key, sizeof(key)) : NULL;
	unsigned n_sems = (unsigned)ds->sem_nsems;

	if (ds->sem_otime == 0) /* nobody has ever operated on it */
		return 0;
	if (!c->tracer) {
		if (!j->noted)
			check_unexamined(c, task, "adjustments of System V semaphores (SEM_UNDO)",
			                 CODE_sysvsem_undo);
		j->noted = true;
		return 0;
	}
	enum finding found;
	int r = ask_set(c, task, id, n_sems, &found, err);

	if (r == 0 && found == FULL && set)
		r = note_set(c, j->object, set, task, id, n_sems, err);
	if (r < 0)
		return error_trace(err, r);
	if (found == FULL && !set)
		refuse_list(c, task, id,
		            "it has operations on System V semaphores to undo (SEM_UNDO)");
	else if (found == BUSY)
		refuse_list(c, task, id,
		            "whether it has operations on System V semaphores to undo cannot be "
		            "told: others use them all the time");
	/* it may not use the set any more, but once it did */
	else if (found == CLOSED && used_it(c, j->object, id, n_sems))
		refuse_list(
			c, task, id,
			"it may have operations on System V semaphores to undo, to which it has "
			"no access now");
	return 0;
}

static const struct task *user_of(const struct checkpoint *c, const struct object *object)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (task_object(c->tasks[i], &sysvsem_kind) == object)
			return c->tasks[i];
	return NULL;
}

static int judge_sets(void *arg, struct error *err)
{
	int r = ipc_sem_each(judge_set, arg, err);

	return r < 0 ? error_trace(err, r) : 0;
}

static int sysvsem_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct task *task = user_of(c, object);
	const struct object *ns = task ? task_object(task, &ipc_ns_kind) : NULL;
	struct judging judging = { c, object, task, ns, false };
	int r = 0;

	if (task)
		r = ns ? ipc_ns_visit(c->objects, ns->id, judge_sets, &judging, err)
		       : judge_sets(&judging, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const SysvsemState *s = object_state(object, SysvsemState);

	for (size_t i = 0; i < s->n_adjustments; i++) {
		const SysvsemState__Adjustment *a = s->adjustments[i];
		const struct object *set = objects_by_id(objects, a->set);

		if (!set || set->kind != &ipc_sem_kind)
			return error_raise(err, EBADMSG, "object %u is no set of semaphores",
			                   a->set);
		if (a->number >= object_state(set, IpcSemState)->n_values || a->value == 0 ||
		    a->value < -LIMIT - 1 || a->value > LIMIT)
			return error_raise(err, EBADMSG,
			                   "an adjustment of %d for semaphore %u of a set",
			                   a->value, a->number);
	}
	return 0;
}

/*
 * Operations to be undone, and the same without undoing in the other direction: one semop(2) that
 * changes no value in the end, and neither leaves the range in between. Returns how many.
 */
#define RESTORE_OPS 8
static unsigned restoring(const SysvsemState__Adjustment *a, int value,
                          struct sembuf ops[RESTORE_OPS])
{
	int left = abs(a->value), room = LIMIT - value, sign = a->value > 0 ? -1 : 1;
	unsigned n = 0;

	while (left > 0) {
		/* down and up again, or up and down again, whichever goes further */
		int step = value > room ? value : room, first = value > room ? -1 : 1;
		step = step < left ? step : left;
		for (int i = 0; i < 2; i++, first = -first)
			ops[n++] = (struct sembuf){ .sem_num = (unsigned short)a->number,
				                    .sem_op = (short)(first * step),
				                    .sem_flg = first == sign ? SEM_UNDO : 0 };
		left -= step;
	}
	return n;
}

static int install(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const SysvsemState *s = object_state(object, SysvsemState);

	for (size_t i = 0; i < s->n_adjustments; i++) {
		const SysvsemState__Adjustment *a = s->adjustments[i];
		const IpcSemState *set = object_state(objects_by_id(r->objects, a->set),
		                                      IpcSemState);
		struct sembuf ops[RESTORE_OPS];
		int e = ipc_ns_check_stub(stub, set->ns, err);
		if (e < 0)
			return error_trace(err, e);
		unsigned n = restoring(a, (int)set->values[a->number], ops);

		calls_reserve(stub->calls, 1, sizeof(ops));
		uint64_t address = calls_copy(stub->calls, ops, n * sizeof(*ops));
		CALL(stub->calls, semop, (uint64_t)set->perm->id, address, n);
	}
	return 0;
}

const struct kind sysvsem_kind = {
	.name = "sysvsem",
	.number = 37,
	.message = &sysvsem_state__descriptor,
	.clone_flag = CLONE_SYSVSEM,
	.collect = sysvsem_collect,
	.judge = sysvsem_judge,
	.validate = validate,
	.install = install,
};
