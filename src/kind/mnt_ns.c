/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mount namespaces. */
#include "kind/mnt_ns.h"

#include "kind/mounts/parts.h"
#include "mnt_ns.pb-c.h"
#include "task/task.h"

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	int r = mnt_ns_collect(c, task, &object, err);

	if (r == 0 && object)
		task_refer(task, object);
	return r < 0 ? error_trace(err, r) : 0;
}

const struct kind mnt_ns_kind = {
	.name = "mnt_ns",
	.number = 71,
	.message = &mnt_ns_state__descriptor,
	.collect = collect,
	.save = mnt_ns_save,
	.validate = mnt_ns_validate,
	.after_clone = mnt_ns_after_clone,
};
