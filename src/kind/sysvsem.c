/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of semaphore adjustments. A task has one when it has used SEM_UNDO, or has had threads
 * (CLONE_SYSVSEM makes one for both). What stands in it cannot be read; it is empty when the
 * namespace has no semaphores. Otherwise it is refused where it may well not be empty: a process of
 * the list was the last to operate on some semaphore, or the list is that of a single thread, which
 * has used SEM_UNDO then. (Semaphores themselves are the namespace's, and stay.)
 */
#include "kind/sysvsem.h"

#include <linux/kcmp.h>
#include <sched.h>
#include <sys/sem.h>

#include "core/checkpoint.h"
#include "sysvsem.pb-c.h"
#include "task/kcmp.h"
#include "task/task.h"
#include "util/alloc.h"

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

/* the process of the set that has the list and was the last to operate on one of these; or NULL */
static const struct task *last_user(const struct checkpoint *c, const struct object *object, int id,
                                    unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		int pid = semctl(id, (int)k, GETPID);
		const struct task *task = pid > 0 ? checkpoint_task(c, pid) : NULL;
		for (size_t i = 0; task && i < c->n_tasks; i++)
			if (c->tasks[i]->tgid == pid &&
			    task_object(c->tasks[i], &sysvsem_kind) == object)
				return c->tasks[i];
	}
	return NULL;
}

static void refuse_list(struct checkpoint *c, const struct task *task, int id)
{
	struct error refusal;

	error_refuse(&refusal, CODE_sysvsem_undo,
	             "it may have to undo operations on System V semaphores (SEM_UNDO)");
	error_object(&refusal, "semaphore set %d", id);
	error_hint(&refusal, "see ipcs -s; wait until it holds no semaphore, and nobody uses them");
	refuse(c, task, &refusal);
}

/* the one task that has the list, if it has no other threads; else NULL */
static const struct task *only_user(const struct checkpoint *c, const struct object *object)
{
	for (size_t i = 0; object->n_users == 1 && i < c->n_tasks; i++)
		if (task_object(c->tasks[i], &sysvsem_kind) == object)
			return c->tasks[i]->status.threads == 1 ? c->tasks[i] : NULL;
	return NULL;
}

/* nobody has ever operated on the set, or this task may not */
static bool out_of_question(const struct semid_ds *ds, const struct task *task)
{
	const struct ipc_perm *perm = &ds->sem_perm;
	uint32_t uid = task->status.uid[1];

	if (ds->sem_otime == 0)
		return true;
	return uid != 0 && uid != perm->uid && uid != perm->cuid && !(perm->mode & 0022);
}

static int sysvsem_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct task *only = only_user(c, object);
	struct seminfo info;
	int last = semctl(0, 0, SEM_INFO, (union semun){ .info = &info });

	for (int i = 0; i <= last; i++) {
		struct semid_ds ds = { 0 };
		int id = semctl(i, 0, SEM_STAT_ANY, (union semun){ .ds = &ds });
		if (id < 0)
			continue;
		const struct task *task = only ? only : last_user(c, object, id, ds.sem_nsems);
		if (task && !out_of_question(&ds, task)) {
			refuse_list(c, task, id);
			return 0;
		}
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
};
