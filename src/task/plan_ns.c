/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: pid namespaces below the root's. A task has a number on every level from the
 * root's namespace down to its own, pid_namespaces(7). See plan.h.
 */
#include "task/plan_private.h"

#include "util/alloc.h"
#include "util/map.h"

bool plan_ns_within(const struct plan_ns *inner, const struct plan_ns *outer)
{
	while (plan_ns_level(inner) > plan_ns_level(outer))
		inner = inner->parent;
	return inner == outer;
}

/* the namespaces from the one below the root's down to @ns, ns->level of them */
static void list_chain(const struct plan_ns *ns, const struct plan_ns *ret[PLAN_LEVELS_MAX])
{
	for (; ns; ns = ns->parent)
		ret[ns->level - 1] = ns;
}

static uint32_t init_of(const struct planner *p, const struct plan_ns *ns)
{
	uintptr_t found = (uintptr_t)map_get(p->inits, &ns, sizeof(ns));

	return found ? (uint32_t)(found - 1) : PLAN_NONE;
}

uint32_t plan_init_of(const struct planner *p, const struct plan_ns *ns)
{
	return ns ? init_of(p, ns) : p->plan->root;
}

bool plan_is_init(const struct planner *p, uint32_t node)
{
	return ns_of(p, node) && init_of(p, ns_of(p, node)) == node;
}

bool plan_ns_begun(const struct planner *p, const struct plan_ns *ns)
{
	uint32_t init = ns ? init_of(p, ns) : PLAN_NONE;

	return init == PLAN_NONE || p->members[init].made;
}

bool plan_ns_ready(const struct planner *p, uint32_t node)
{
	return plan_is_init(p, node) || plan_ns_begun(p, ns_of(p, node));
}

const struct plan_pid *plan_dead_leader(const struct planner *p, pid_t tid)
{
	return map_get(p->dead_leaders, &tid, sizeof(tid));
}

/* ---- numbers ---- */

/* both ways: which number a pid has in a namespace, and whose number it is there */
struct numbers {
	struct map *of_pid, *pid_of; /* {namespace, pid} -> number, {namespace, number} -> pid */
};

struct key {
	const struct plan_ns *ns;
	int64_t number;
};

static bool agrees(struct map *map, const struct plan_ns *ns, pid_t from, pid_t to)
{
	const struct key key = { ns, from };
	uintptr_t known = (uintptr_t)map_get(map, &key, sizeof(key));

	if (!known)
		map_put(map, &key, sizeof(key), (void *)(uintptr_t)to);
	return !known || known == (uintptr_t)to;
}

/* @inner are the numbers of @pid as a task in @chain sees them: some, then 0 where it is not */
static int note_numbers(struct planner *p, struct numbers *n, uint32_t node, pid_t pid,
                        const int32_t *inner, size_t *ret_depth)
{
	const struct plan_ns *chain[PLAN_LEVELS_MAX] = { NULL };
	size_t levels = plan_ns_level(ns_of(p, node)), depth = 0;

	list_chain(ns_of(p, node), chain);
	while (depth < levels && inner[depth] > 0)
		depth++;
	*ret_depth = depth;
	for (size_t i = depth; i < levels; i++)
		if (inner[i])
			return plan_invalid(p, node,
			                    "a number is negative, or of a deeper level only");
	for (size_t i = 0; i < depth; i++)
		if (!agrees(n->of_pid, chain[i], pid, inner[i]) ||
		    !agrees(n->pid_of, chain[i], inner[i], pid))
			return plan_invalid(p, node,
			                    "its numbers in a pid namespace contradict others'");
	return 0;
}

/* the leader of its session or group, which may be dead: then this tells where it was */
static int note_leader(struct planner *p, struct numbers *n, uint32_t node, pid_t pid, bool outside,
                       const int32_t *inner)
{
	const struct plan_ns *chain[PLAN_LEVELS_MAX] = { NULL };
	uint32_t leader = plan_find(p, pid);
	size_t depth = 0;
	int r = note_numbers(p, n, node, pid, inner, &depth);

	if (r < 0)
		return r;
	list_chain(ns_of(p, node), chain);
	const struct plan_ns *ns = depth ? chain[depth - 1] : NULL;
	if (outside)
		return depth ? plan_invalid(p, node, "numbers of what is outside") : 0;
	if (leader != PLAN_NONE) {
		/* down to the last that both are in or above */
		if (!plan_ns_within(ns_of(p, leader), ns) ||
		    (depth < plan_ns_level(ns_of(p, node)) &&
		     plan_ns_within(ns_of(p, leader), chain[depth])))
			return plan_invalid(p, node,
			                    "its session or group is in another pid namespace");
		return 0;
	}
	struct plan_pid *known = map_get(p->dead_leaders, &pid, sizeof(pid));
	if (depth && inner[depth - 1] == 1)
		return plan_invalid(p, node, "an init that is dead leads a session or group");
	if (!known) {
		known = xcalloc(1, sizeof(*known));
		*known = (struct plan_pid){ pid, ns, depth ? inner : NULL };
		map_put(p->dead_leaders, &pid, sizeof(pid), known);
	} else if (plan_ns_within(ns, known->ns)) {
		*known = (struct plan_pid){ pid, ns, depth ? inner : NULL };
	} else if (!plan_ns_within(known->ns, ns)) {
		return plan_invalid(p, node, "a dead leader was in two pid namespaces");
	}
	return 0;
}

static int note_task(struct planner *p, struct numbers *n, uint32_t node)
{
	const struct plan_task *t = &p->tasks[node];
	const struct member *m = &p->members[node];
	size_t levels = plan_ns_level(t->ns), depth;

	if (ns_of(p, m->leader) != t->ns)
		return plan_invalid(p, node, "a thread in another pid namespace than its leader");
	if (m->parent != PLAN_NONE && !plan_ns_within(t->ns, ns_of(p, m->parent)))
		return plan_invalid(p, node,
		                    "its parent is in a pid namespace that is not above its own");
	int r = note_numbers(p, n, node, t->tid, t->inner_tids, &depth);
	if (r == 0 && depth < levels)
		r = plan_invalid(p, node, "it has no number in its pid namespace");
	for (size_t i = 0; r == 0 && i + 1 < levels; i++)
		if (t->inner_tids[i] == 1)
			r = plan_invalid(p, node, "the init of a namespace above its own");
	if (r < 0 || !levels || t->inner_tids[levels - 1] != 1)
		return r;
	if (!is_leader(p, node) || m->parent == PLAN_NONE || ns_of(p, m->parent) == t->ns)
		return plan_invalid(p, node, "an init that is no process from outside");
	map_put(p->inits, &t->ns, sizeof(t->ns), (void *)(uintptr_t)(node + 1ul));
	return 0;
}

/* a namespace ends with its init */
static int check_inits(struct planner *p, uint32_t node)
{
	for (const struct plan_ns *ns = ns_of(p, node); ns; ns = ns->parent) {
		uint32_t init = init_of(p, ns);
		if (init == PLAN_NONE)
			return plan_invalid(p, node, "a pid namespace without an init");
		if (init != node && p->tasks[init].state == PLAN_ZOMBIE)
			return plan_invalid(p, node, "its pid namespace has ended");
	}
	return 0;
}

int plan_read_namespaces(struct planner *p)
{
	struct numbers n = { map_new(), map_new() };
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		r = note_task(p, &n, i);
	for (uint32_t i = 0; r == 0 && i < p->n; i++) {
		const struct plan_task *t = &p->tasks[i];
		const struct member *m = &p->members[i];
		r = note_leader(p, &n, i, t->sid, m->sid == OUTSIDE, t->inner_sids);
		if (r == 0)
			r = note_leader(p, &n, i, t->pgid, m->pgid == OUTSIDE, t->inner_pgids);
		if (r == 0)
			r = check_inits(p, i);
	}
	map_free(n.of_pid);
	map_free(n.pid_of);
	return r;
}
