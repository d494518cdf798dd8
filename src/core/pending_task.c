/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Weak stand-ins for parts of task/ and core/ that have not landed yet; goes when they have. */
#include "core/checkpoint.h"
#include "core/restart.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"

#define WEAK __attribute__((weak))

WEAK int task_openat(const struct task *task, const char *relative, int flags)
{
	return -ENOSYS;
}

WEAK int task_read(const struct task *task, const char *relative, char **ret, size_t *ret_size,
                   struct error *err)
{
	return error_raise(err, ENOSYS, "task_read");
}

WEAK int task_readlink(const struct task *task, const char *relative, char **ret, struct error *err)
{
	return error_raise(err, ENOSYS, "task_readlink");
}

WEAK void task_refer(struct task *task, struct object *object)
{
}

WEAK int tracer_inject(struct tracer *t, pid_t tid, struct injection *calls, size_t n, void *buffer,
                       struct error *err)
{
	return error_raise(err, ENOSYS, "tracer_inject");
}

WEAK void check_unexamined(struct checkpoint *c, const struct task *task, const char *what)
{
}

WEAK void restart_refuse(struct restart *r, const struct error *refusal)
{
}

WEAK int stub_send_fds(struct restart *r, struct stub *stub, const int *fds, size_t n,
                       struct error *err)
{
	return error_raise(err, ENOSYS, "stub_send_fds");
}

WEAK void calls_reserve(struct calls *calls, unsigned n, size_t size)
{
}

WEAK unsigned calls_add(struct calls *calls, const struct call *call)
{
	return 0;
}

WEAK void *calls_data(struct calls *calls, size_t size, uint64_t *ret_addr)
{
	return NULL;
}

WEAK uint64_t calls_copy(struct calls *calls, const void *data, size_t size)
{
	return 0;
}

WEAK int calls_run(struct calls *calls, struct error *err)
{
	return error_raise(err, ENOSYS, "calls_run");
}
