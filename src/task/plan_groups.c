/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: process groups, when all processes are there. See plan.h.
 */
#include "task/plan_private.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/map.h"

struct group {
	pid_t pgid, session;
	uint32_t member;      /* the first task in it */
	uint32_t placeholder; /* its leader, if dead */
	bool settled;         /* a member leads no group itself, so it comes first and stays */
};

static int check_group(struct planner *p, struct map *groups, uint32_t node)
{
	const struct member *m = &p->members[node];
	struct group *g = map_get(groups, &m->pgid, sizeof(m->pgid));

	if (leads_session(p, node) && m->pgid != p->tasks[node].tid)
		return plan_invalid(p, node, "a session leader in another's process group");
	if (m->pgid == OUTSIDE && m->sid != OUTSIDE)
		return plan_invalid(p, node, "a process group outside its session");
	if (m->pgid <= 0 && m->pgid != OUTSIDE)
		return plan_invalid(p, node, "a process group that is not positive");
	if (m->pgid == OUTSIDE)
		return 0;
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		*g = (struct group){ m->pgid, m->sid, node, PLAN_NONE, false };
		map_put(groups, &m->pgid, sizeof(m->pgid), g);
	}
	if (g->session != m->sid)
		return plan_invalid(p, node, "a process group in two sessions");
	return 0;
}

static void enter_group(struct planner *p, uint32_t node, pid_t pgid)
{
	if (p->members[node].group == pgid)
		return;
	plan_add_step(p, PLAN_SETPGID, node, PLAN_NONE)->pgid = pgid == OUTSIDE ? 0 : pgid;
	p->members[node].group = pgid;
}

static int found_group(struct planner *p, struct group *g)
{
	uint32_t leader = plan_find(p, g->pgid);

	if (leader == PLAN_NONE) {
		leader = g->placeholder = plan_add_placeholder(p, g->member, g->pgid,
		                                               p->members[g->member].group);
	} else if (leader < p->n) {
		if (!is_leader(p, leader) || p->members[leader].sid != g->session)
			return plan_invalid(p, g->member,
			                    "a process group whose leader is in another session");
	}
	enter_group(p, leader, g->pgid);
	return 0;
}

static struct group *owner_of(const struct planner *p, struct map *groups, uint32_t node)
{
	return map_get(groups, &p->tasks[node].tid, sizeof(pid_t));
}

/*
 * A leader that went into another's group goes last, lest its own become empty before all have
 * come; where only such leaders are to come, a placeholder keeps it.
 */
static void hold_group(struct planner *p, struct map *groups, uint32_t node,
                       uint32_t **placeholders, size_t *n_placeholders)
{
	struct group *g = owner_of(p, groups, node);

	if (g && !g->settled && p->members[node].pgid != g->pgid)
		*array_push(*placeholders, *n_placeholders) = plan_add_placeholder(p, node, 0,
		                                                                   g->pgid);
}

static int settle_groups(struct planner *p, struct map *groups, uint32_t **placeholders,
                         size_t *n_placeholders)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n_order; i++)
		r = check_group(p, groups, p->order[i]);
	for (size_t i = 0; r == 0 && i < p->n_order; i++) {
		pid_t pgid = p->members[p->order[i]].pgid;
		struct group *g = map_get(groups, &pgid, sizeof(pgid));
		if (!g || g->member != p->order[i])
			continue;
		r = found_group(p, g);
		if (g->placeholder != PLAN_NONE)
			*array_push(*placeholders, *n_placeholders) = g->placeholder;
	}
	for (size_t i = 0; r == 0 && i < p->n_order; i++) {
		struct group *g = map_get(groups, &p->members[p->order[i]].pgid, sizeof(pid_t));
		if (g && !owner_of(p, groups, p->order[i]))
			g->settled = true;
	}
	for (size_t i = 0; r == 0 && i < p->n_order; i++)
		if (!owner_of(p, groups, p->order[i]))
			enter_group(p, p->order[i], p->members[p->order[i]].pgid);
	for (size_t i = 0; r == 0 && i < p->n_order; i++)
		hold_group(p, groups, p->order[i], placeholders, n_placeholders);
	for (size_t i = 0; r == 0 && i < p->n_order; i++)
		enter_group(p, p->order[i], p->members[p->order[i]].pgid);
	return r;
}

int plan_finish_groups(struct planner *p)
{
	struct map *groups = map_new();
	uint32_t *placeholders = NULL;
	size_t n = 0, cursor = 0;
	int r = settle_groups(p, groups, &placeholders, &n);

	for (size_t i = 0; r == 0 && i < n; i++)
		plan_add_step(p, PLAN_EXIT, placeholders[i], PLAN_NONE);
	for (void *g; (g = map_next(groups, &cursor));)
		free(g);
	map_free(groups);
	free(placeholders);
	return r;
}
