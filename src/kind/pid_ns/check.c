/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the pid namespaces of an image fit its tasks. */
#include "core/contents.h"
#include "core/tree.h"
#include "kind/pid_ns.h"
#include "kind/user_ns.h"
#include "pid_ns.pb-c.h"
#include "task/plan.h"
#include "util/map.h"

struct check {
	const struct contents *c;
	struct map *by_tid; /* -> index + 1; n_tasks + 1 once it is a user: of one only */
};

static int check_user(const struct check *k, const struct object *o, uint32_t tid,
                      struct error *err)
{
	uintptr_t found = (uintptr_t)map_get(k->by_tid, &tid, sizeof(tid));
	const struct plan_task *t = found && found <= k->c->n_tasks ? &k->c->plan_tasks[found - 1]
	                                                            : NULL;
	const struct plan_ns *ns = tree_ns(&k->c->namespaces, o->id);

	if (!t || t->state != PLAN_LIVE || !ns || t->ns == ns || !plan_ns_within(ns, t->ns))
		return error_refuse(err, CODE_image_invalid,
		                    "pid namespace %u is for children of task %u, which is not in "
		                    "one above it, or has two",
		                    o->id, tid);
	map_put(k->by_tid, &tid, sizeof(tid), (void *)(uintptr_t)(k->c->n_tasks + 1ul));
	return 0;
}

/* the user namespaces that own pid namespaces are nested as those are */
static bool owner_is_below(const struct check *k, const PidNsState *s)
{
	uint32_t above = s->parent ? s->parent : k->c->namespaces.root;
	const struct object *o = above ? objects_by_id(k->c->objects, above) : NULL;

	return user_ns_is_below(k->c->objects, s->owner,
	                        o ? object_state(o, PidNsState)->owner : 0);
}

/* one has an init that lives, or is dead, or unborn and one task's */
static int check_state(const struct check *k, const struct object *o, struct error *err)
{
	const PidNsState *s = object_state(o, PidNsState);
	const struct plan_ns *ns = tree_ns(&k->c->namespaces, o->id);
	bool unborn = ns && ns->init == PLAN_NONE && !s->dead;
	bool ok;

	if (!ns)
		ok = !s->dead && !s->parent && !s->n_users;
	else if (ns->init != PLAN_NONE)
		ok = s->dead == (k->c->plan_tasks[ns->init].state == PLAN_ZOMBIE);
	else
		ok = s->dead || (s->n_users == 1 && !s->last_pid);
	if (!ok || (unborn ? s->owner != 0 : !owner_is_below(k, s)))
		return error_refuse(err, CODE_image_invalid,
		                    "pid namespace %u contradicts the tasks in it", o->id);
	return 0;
}

int pid_ns_check(const struct contents *c, struct error *err)
{
	struct check k = { .c = c, .by_tid = map_new() };
	size_t cursor = 0;
	int r = 0;

	for (size_t i = 0; i < c->n_tasks; i++) {
		uint32_t tid = (uint32_t)c->plan_tasks[i].tid;
		map_put(k.by_tid, &tid, sizeof(tid), (void *)(uintptr_t)(i + 1));
	}
	for (const struct object *o;
	     r == 0 && (o = objects_next(c->objects, &pid_ns_kind, &cursor));) {
		const PidNsState *s = object_state(o, PidNsState);
		for (size_t i = 0; r == 0 && i < s->n_users; i++)
			r = check_user(&k, o, s->users[i], err);
		if (r == 0)
			r = check_state(&k, o, err);
	}
	map_free(k.by_tid);
	return r < 0 ? error_trace(err, r) : 0;
}
