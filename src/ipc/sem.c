/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System V semaphores: values. What is to be undone at a process's end is the process's. */
#include <sys/sem.h>

#include "ipc/ipc.h"
#include "ipc/perm.h"
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

static int read_values(IpcSemState *s, struct error *err)
{
	for (size_t i = 0; i < s->n_values; i++) {
		int value = semctl(s->perm->id, (int)i, GETVAL);
		if (value < 0)
			return error_raise(err, errno, "read semaphore %zu of set %d", i,
			                   s->perm->id);
		s->values[i] = (uint32_t)value;
	}
	return 0;
}

int ipc_sem_each(ipc_sem_visit visit, void *context, struct error *err)
{
	struct seminfo info;
	int last = semctl(0, 0, SEM_INFO, (union semun){ .info = &info });

	if (last < 0 && errno == ENOSYS) /* no CONFIG_SYSVIPC: none */
		return 0;
	if (last < 0)
		return error_raise(err, errno, "semctl SEM_INFO");
	for (int i = 0; i <= last; i++) {
		struct semid_ds ds = { 0 };
		int id = semctl(i, 0, SEM_STAT_ANY, (union semun){ .ds = &ds });
		if (id < 0 && errno == EINVAL)
			continue;
		if (id < 0)
			return error_raise(err, errno, "semctl SEM_STAT_ANY");
		int r = visit(context, id, &ds, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

struct list {
	IpcSemState **sets;
	size_t n;
};

static int add_set(void *context, int id, const struct semid_ds *ds, struct error *err)
{
	struct list *list = context;
	IpcSemState *s = xmalloc(sizeof(*s));

	ipc_sem_state__init(s);
	s->perm = ipc_perm_new(id, &ds->sem_perm);
	s->operated = ds->sem_otime != 0;
	s->n_values = ds->sem_nsems;
	s->values = xcalloc(s->n_values, sizeof(*s->values));
	*array_push(list->sets, list->n) = s;
	return read_values(s, err);
}

int ipc_sem_list(IpcSemState ***ret, size_t *ret_n, struct error *err)
{
	struct list list = { *ret, *ret_n };
	int r = ipc_sem_each(add_set, &list, err);

	*ret = list.sets;
	*ret_n = list.n;
	return r < 0 ? error_trace(err, r) : 0;
}

/* who waits for 0 in a new set has it at once, which changes nothing but sem_otime */
static int operate(const IpcSemState *s, struct error *err)
{
	struct sembuf nothing = { .sem_flg = IPC_NOWAIT };

	if (s->operated && semop(s->perm->id, &nothing, 1) < 0)
		return error_raise(err, errno, "operate on the semaphores %d", s->perm->id);
	return 0;
}

int ipc_sem_make(const IpcSemState *s, struct error *err)
{
	_cleanup_(free_p) unsigned short *values = xcalloc(s->n_values, sizeof(*values));
	int id = s->perm->id, flags = IPC_CREAT | IPC_EXCL | (int)(s->perm->mode & 0777);
	struct semid_ds ds = { 0 };
	int r = ipc_perm_make("sem", s->perm, err);

	if (r == 0)
		r = ipc_perm_made("sem", s->perm,
		                  semget((key_t)s->perm->key, (int)s->n_values, flags), err);
	if (r == 0)
		r = operate(s, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < s->n_values; i++)
		values[i] = (unsigned short)s->values[i];
	if (semctl(id, 0, SETALL, (union semun){ .array = values }) < 0)
		return error_raise(err, errno, "set the semaphores %d", id);
	ipc_perm_set(&ds.sem_perm, s->perm);
	if (semctl(id, 0, IPC_SET, (union semun){ .ds = &ds }) < 0)
		return error_raise(err, errno, "set the owner of the semaphores %d", id);
	return 0;
}
