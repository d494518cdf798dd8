/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O contexts. Most tasks have none: the kernel makes one when an I/O priority is set, or for some
 * I/O schedulers. clone(2) with CLONE_IO shares it only if the parent has one at that moment.
 */
#include "kind/io_context.h"

#include <linux/ioprio.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "io_context.pb-c.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"

#ifndef CLONE_IO
#define CLONE_IO 0x80000000
#endif

static int io_context_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	bool is_new;

	int r = kcmp_object_or_none(c, &io_context_kind, KCMP_IO, task, &object, &is_new, err);
	if (r < 0)
		return error_trace(err, r);
	if (!object)
		return 0;
	if (is_new) {
		IoContextState *s = xmalloc(sizeof(*s));
		io_context_state__init(s);
		object->message = &s->base;
	}
	task_refer(task, object);
	return 0;
}

static int io_context_before_clone(struct restart *r, struct stub *parent, struct stub *child,
                                   struct error *err)
{
	struct object *object = stub_object(parent, &io_context_kind);

	/* any priority makes a context; the kind sched sets the right one */
	if (object && object == stub_object(child, &io_context_kind))
		CALL(parent->calls, ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_NONE);
	return 0;
}

const struct kind io_context_kind = {
	.name = "io_context",
	.number = 36,
	.message = &io_context_state__descriptor,
	.clone_flag = CLONE_IO,
	.collect = io_context_collect,
	.before_clone = io_context_before_clone,
};
