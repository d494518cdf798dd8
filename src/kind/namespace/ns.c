/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces: what their kinds have in common. See ns.h. */
#include "kind/namespace/ns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/enter.h"
#include "host/helper.h"
#include "kind/mount.h"
#include "kind/user_ns.h"
#include "task/holders.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* ---- checkpoint ---- */

static bool is_own(const struct ns_type *type, const struct stat *st)
{
	char path[64];
	struct stat own;

	snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", type->link);
	return stat(path, &own) == 0 && own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

void ns_judge_own(struct checkpoint *c, const struct task *task, const struct kind *kind,
                  const struct ns_type *type)
{
	const struct task *maker = task->leader == task ? task->parent : task->leader;
	struct error refusal;

	if (!maker || !task_object(maker, kind))
		return;
	error_refuse(&refusal, CODE_namespace_other,
	             "it is in the %s namespace of stasis, and its %s is not", type->what,
	             maker == task->leader ? "process" : "parent");
	error_hint(&refusal, "run stasis in the namespaces of the root: nsenter --target %d --all",
	           c->tasks[0]->tid);
	refuse(c, task, &refusal);
}

int ns_check_rights(int nsfd, const char *what, struct error *err)
{
	if (namespace_may_enter(nsfd))
		return 0;
	error_refuse(err, CODE_capability, "CAP_SYS_ADMIN is needed to look into its %s namespace",
	             what);
	error_hint(err, "run stasis as root, or as the user who has made its user namespace");
	return -EOPNOTSUPP;
}

static int add_object(struct checkpoint *c, const struct task *task, int nsfd,
                      const struct stat *st, const struct kind *kind, const struct ns_type *type,
                      struct object **ret, bool *ret_new, struct error *err)
{
	bool is_new;
	int r = type->flag == CLONE_NEWNET ? 0 /* it stays outside */
	                                   : ns_check_rights(nsfd, type->what, err);

	if (r < 0)
		return r;
	*ret = objects_get(c->objects, kind, &st->st_ino, sizeof(st->st_ino), &is_new);
	if (ret_new)
		*ret_new = is_new;
	if (!is_new)
		return 0;
	struct ns *ns = ns_live(*ret, type);
	ns->fd = fcntl(nsfd, F_DUPFD_CLOEXEC, 3);
	ns->task = (struct task *)task;
	snprintf(ns->link, sizeof(ns->link), "%s:[%llu]", type->link,
	         (unsigned long long)st->st_ino);
	return user_ns_collect_owner(c, task, ns->fd, &ns->owner, err);
}

int ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, const struct kind *kind,
                  const struct ns_type *type, struct object **ret, bool *ret_new, struct error *err)
{
	struct stat st;

	*ret = NULL;
	if (ret_new)
		*ret_new = false;
	if (fstat(nsfd, &st) < 0)
		return error_raise(err, errno, "look at a %s namespace", type->what);
	if (is_own(type, &st))
		return 0;
	int r = add_object(c, task, nsfd, &st, kind, type, ret, ret_new, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int ns_collect(struct checkpoint *c, struct task *task, const struct kind *kind,
               const struct ns_type *type, struct object **ret, struct error *err)
{
	char relative[32];
	struct stat st;

	*ret = NULL;
	if (task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER)
		return 0;
	snprintf(relative, sizeof(relative), "ns/%s", type->link);
	_cleanup_(close_p) int fd = task_openat(task, relative, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, fd < 0 ? -fd : errno, "open /proc/%d/ns/%s", task->tid,
		                   type->link);
	if (is_own(type, &st)) {
		ns_judge_own(c, task, kind, type);
		return 0;
	}
	int r = add_object(c, task, fd, &st, kind, type, ret, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	task_refer(task, *ret);
	return 0;
}

uint32_t ns_owner(const struct object *object)
{
	const struct ns *ns = object->live;

	return ns->owner ? ns->owner->id : 0;
}

void ns_judge_owner(struct checkpoint *c, const struct task *task, const char *link,
                    const struct object *owner)
{
	struct error refusal;

	if (!user_ns_out_of_reach(c, owner))
		return;
	error_refuse(&refusal, CODE_user_ns_shape,
	             "it belongs to a user namespace above that of the container's pid namespace");
	error_object(&refusal, "%s", link);
	refuse(c, task, &refusal);
}

int ns_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct ns *ns = object->live;
	const struct holder *holder;

	if (object->kind != &user_ns_kind)
		ns_judge_owner(c, ns->task, ns->link, ns->owner);
	int r = holders_find_namespace(c, ns->link, &holder, err);

	if (r < 0)
		return error_trace(err, r);
	if (r > 0)
		refuse_leak(c, ns->task, ns->link, NULL, holder);
	r = mounts_judge_bound(c, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

struct ns *ns_live(struct object *object, const struct ns_type *type)
{
	if (!object->live) {
		struct ns *ns = object->live = xcalloc(1, sizeof(*ns));
		ns->fd = -1;
		ns->type = type;
	}
	return object->live;
}

int ns_enter_owner(int owner, struct error *err)
{
	if (owner < 0)
		return 0;
	if (setns(owner, CLONE_NEWUSER) < 0)
		return error_raise(err, errno, "enter the user namespace that owns a namespace");
	/* there need not be one */
	if (syscall(SYS_setresgid, 0, 0, 0) == 0)
		syscall(SYS_setresuid, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 1); /* else our own files in /proc are not ours */
	return 0;
}

int ns_run(int owner, helper_fn *fn, void *arg, struct error *err)
{
	return owner < 0 ? helper_run_here(fn, arg, err) : helper_run(fn, arg, 0, err);
}

struct making {
	const struct object *object;
	const struct ns_type *type;
	int owner;
	int (*fill)(const struct object *object, struct error *err);
};

/* returns the descriptor of the new namespace */
static int make_in_helper(void *arg, struct error *err)
{
	const struct making *m = arg;
	char path[64];

	int e = ns_enter_owner(m->owner, err);
	if (e == 0 && unshare(m->type->flag) < 0)
		e = error_raise(err, errno, "make a %s namespace", m->type->what);
	if (e == 0)
		e = m->fill(m->object, err);
	if (e < 0)
		return error_trace(err, e);
	snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", m->type->link);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open %s", path) : fd;
}

int ns_make(struct object *object, const struct ns_type *type, int owner,
            int (*fill)(const struct object *object, struct error *err), struct error *err)
{
	struct making m = { object, type, owner, fill };
	int fd = ns_run(owner, make_in_helper, &m, err);

	if (fd < 0)
		return error_trace(err, fd);
	ns_live(object, type)->fd = fd;
	return 0;
}

int ns_enter(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const struct ns *ns = object->live;
	int e = stub_send_fds(r, stub, &ns->fd, 1, err);

	if (e < 0)
		return error_trace(err, e);
	CALL(stub->calls, setns, 0, ns->type->flag);
	CALL(stub->calls, close, 0);
	e = calls_run(stub->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

void ns_release(struct object *object)
{
	struct ns *ns = object->live;

	if (ns)
		close_p(&ns->fd);
	free(ns);
	object->live = NULL;
}
