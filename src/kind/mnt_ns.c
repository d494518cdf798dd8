/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mount namespaces. */
#include "kind/mnt_ns.h"

#include <sched.h>
#include <sys/syscall.h>

#include "core/restart.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/ns.h"
#include "kind/pid_ns.h"
#include "mnt_ns.pb-c.h"
#include "task/stub.h"
#include "task/task.h"

static const struct ns_type type = { "mnt", CLONE_NEWNS, "mount" };

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	int r = mnt_ns_collect(c, task, &object, err);

	if (r == 0 && object)
		task_refer(task, object);
	else if (r == 0)
		ns_judge_own(c, task, &mnt_ns_kind, &type);
	return r < 0 ? error_trace(err, r) : 0;
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	if (r->options->mntns_new || pid_ns_of_root(r->tasks[0], r->objects))
		return 0;
	error_refuse(err, CODE_namespace_mntns, "the image has a mount namespace of its own");
	error_object(err, "mnt:[%llu]",
	             (unsigned long long)object_state(object, MntNsState)->inode);
	error_hint(err, "to make it again: --mntns new");
	return -EOPNOTSUPP;
}

/* lent by the builder */
static int enter(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	int fd, e = mnt_ns_make(r, object, &fd, err);

	if (e == ENTER_LATER)
		return e;
	if (e == 0)
		e = stub_send_fds(r, stub, &fd, 1, err);
	if (e < 0)
		return error_trace(err, e);
	CALL(stub->calls, setns, 0, CLONE_NEWNS);
	CALL(stub->calls, close, 0);
	e = calls_run(stub->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind mnt_ns_kind = {
	.name = "mnt_ns",
	.number = 71,
	.message = &mnt_ns_state__descriptor,
	.collect = collect,
	.judge = mnt_ns_judge,
	.save = mnt_ns_save,
	.confirm = mnt_ns_confirm,
	.validate = mnt_ns_validate,
	.preflight = preflight,
	.enter = enter,
	.after_clone = mnt_ns_after_clone,
	.finish = mnt_ns_finish,
};
