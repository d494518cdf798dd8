/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network namespaces that stay outside. See net_ns.h. */
#include "kind/net_ns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "core/restart.h"
#include "kind/namespace/ns.h"
#include "net_ns.pb-c.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static const struct ns_type type = { "net", CLONE_NEWNET, "network" };

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	int r = ns_collect(c, task, &net_ns_kind, &type, &object, err);

	return r < 0 ? error_trace(err, r) : 0;
}

int net_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err)
{
	return ns_collect_fd(c, task, nsfd, &net_ns_kind, &type, ret, NULL, err);
}

/* by a task that comes from a root which is not in it */
static bool is_entered(const struct checkpoint *c, const struct object *object)
{
	if (task_object(c->tasks[0], &net_ns_kind) == object)
		return false;
	for (size_t i = 1; i < c->n_tasks; i++)
		if (task_object(c->tasks[i], &net_ns_kind) == object)
			return true;
	return false;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct ns *ns = object->live;
	const char *name = externals_name(c->options->externals, ns->link);
	struct error refusal;

	if (name) {
		if (is_entered(c, object))
			ns_judge_owner(c, ns->task, ns->link, NULL);
		NetNsState *s = xmalloc(sizeof(*s));
		net_ns_state__init(s);
		object->message = &s->base;
		s->external = bytes_of_text(name);
		return 0;
	}
	error_refuse(&refusal, CODE_namespace_network,
	             "it has another network namespace than stasis");
	error_object(&refusal, "%s", ns->link);
	error_hint(&refusal, "if it may stay outside: --external %s=NAME, and at restart NAME=PATH",
	           ns->link);
	refuse(c, ns->task, &refusal);
	return 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const NetNsState *s = object_state(object, NetNsState);

	if (!s->external.len || s->external.len > 255 || bytes_have_nul(&s->external))
		return error_raise(err, EBADMSG, "a network namespace without a name");
	return 0;
}

static int open_supply(struct restart *r, const struct object *object, int *ret_fd,
                       struct error *err)
{
	const NetNsState *s = object_state(object, NetNsState);
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	_cleanup_(close_p) int fd = -1;
	int e = externals_open(r->options->externals, name, O_RDONLY, &fd, err);

	if (e < 0)
		return error_trace(err, e);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		e = error_refuse(err, CODE_namespace_network,
		                 "'%s' was supplied with what is no "
		                 "network namespace",
		                 name);
		error_hint(err, "--external %s=/run/netns/... or /proc/PID/ns/net", name);
		return e;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	_cleanup_(close_p) int fd = -1;
	struct error refusal = ERROR_INIT;

	if (open_supply(r, object, &fd, &refusal) < 0)
		restart_refuse(r, &refusal);
	return 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	int e = open_supply(r, object, &ns_live(object, &type)->fd, err);

	return e < 0 ? error_trace(err, e) : 0;
}

/* before anything is restored */
static int enter_outside(struct restart *r, const struct object *object, struct error *err)
{
	_cleanup_(close_p) int fd = -1;
	int e = open_supply(r, object, &fd, err);

	if (e < 0)
		return error_trace(err, e);
	return setns(fd, CLONE_NEWNET) < 0 ? error_raise(err, errno, "enter a network namespace")
	                                   : 0;
}

const struct kind net_ns_kind = {
	.name = "net_ns",
	.number = 67,
	.message = &net_ns_state__descriptor,
	.collect = collect,
	.judge = judge,
	.validate = validate,
	.preflight = preflight,
	.restore = restore,
	.enter = ns_enter,
	.enter_outside = enter_outside,
	.release = ns_release,
};
