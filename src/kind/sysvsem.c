/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of semaphore adjustments. A task has one when it has used SEM_UNDO, or has had threads
 * (CLONE_SYSVSEM makes one for both). The kernel shows nobody what stands in it, but the limits of
 * an adjustment tell: operations that would lead to the limit's edge and then cannot be done at
 * once fail with ERANGE if there was an adjustment before, with EAGAIN if not, and change nothing
 * either way (semop(2) is atomic). What is not empty is refused. (Semaphores themselves are the
 * namespace's, and stay.)
 *
 * One trace is left: the kernel now has an entry of zeros for the semaphore in the list, which sets
 * its sem_otime when the list ends.
 */
#include "kind/sysvsem.h"

#include <linux/kcmp.h>
#include <sched.h>
#include <string.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "sysvsem.pb-c.h"
#include "task/kcmp.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20 /* 4.17 */
#endif

/* semctl(2): the caller defines it */
union semun {
	int value;
	struct semid_ds *ds;
	unsigned short *array;
	struct seminfo *info;
};

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
		for (size_t i = 0; pid > 0 && i < c->n_tasks; i++)
			if (c->tasks[i]->tgid == pid &&
			    task_object(c->tasks[i], &sysvsem_kind) == object)
				return true;
	}
	return false;
}

static int judge_set(struct checkpoint *c, const struct object *object, const struct task *task,
                     int id, unsigned n_sems, struct error *err)
{
	enum finding found;
	int r = ask_set(c, task, id, n_sems, &found, err);

	if (r < 0)
		return error_trace(err, r);
	if (found == FULL)
		refuse_list(c, task, id,
		            "it has operations on System V semaphores to undo (SEM_UNDO)");
	else if (found == BUSY)
		refuse_list(c, task, id,
		            "whether it has operations on System V semaphores to undo cannot be "
		            "told: others use them all the time");
	/* it may not use the set any more, but once it did */
	else if (found == CLOSED && used_it(c, object, id, n_sems))
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

static int sysvsem_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(ipc_leave) struct ipc_visit visit = IPC_VISIT_INIT;
	const struct task *task = user_of(c, object);
	const struct object *ns = task ? task_object(task, &ipc_ns_kind) : NULL;
	struct seminfo info;
	int r = ns ? ipc_ns_visit(c->objects, ns->id, &visit, err) : 0;

	if (r < 0)
		return error_trace(err, r);
	int last = semctl(0, 0, SEM_INFO, (union semun){ .info = &info });
	for (int i = 0; r == 0 && task && i <= last; i++) {
		struct semid_ds ds = { 0 };
		int id = semctl(i, 0, SEM_STAT_ANY, (union semun){ .ds = &ds });
		if (id < 0 || ds.sem_otime == 0) /* nobody has ever operated on it */
			continue;
		if (!c->tracer) {
			check_unexamined(c, task, "adjustments of System V semaphores (SEM_UNDO)");
			return 0;
		}
		r = judge_set(c, object, task, id, (unsigned)ds.sem_nsems, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

const struct kind sysvsem_kind = {
	.name = "sysvsem",
	.number = 37,
	.message = &sysvsem_state__descriptor,
	.clone_flag = CLONE_SYSVSEM,
	.collect = sysvsem_collect,
	.judge = sysvsem_judge,
};
