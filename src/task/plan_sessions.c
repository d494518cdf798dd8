/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: into which session each process must be born, from the leaves up, and who was
 * an orphan. See plan.h.
 */
#include "task/plan_private.h"

#include <signal.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/map.h"

bool plan_descends(const struct planner *p, uint32_t node, uint32_t ancestor)
{
	const struct member *n = &p->members[node], *a = &p->members[ancestor];

	return n->enter >= a->enter && n->enter < a->leave;
}

/* the session into which a process must be born; FREE for a leader whose children do not care */
pid_t plan_birth(const struct planner *p, uint32_t node)
{
	return leads_session(p, node) ? p->members[node].birth : p->members[node].sid;
}

/*
 * Whether a process can have been in @session before its own setsid: it leads a session, and so do
 * those above it, up to one that is in @session.
 */
static bool began_in(const struct planner *p, uint32_t process, pid_t session)
{
	while (leads_session(p, process) && process != p->plan->root) {
		if (p->members[process].birth != FREE && p->members[process].birth != session)
			return false;
		process = p->members[p->members[process].parent].leader;
		if (p->members[process].sid == session)
			return true;
	}
	return false;
}

/*
 * Whether what a member of the leader's session left behind came to @parent: when that is above the
 * leader, or the init of a pid namespace that the member had entered from outside, setns(2).
 */
static bool left_by_member(const struct planner *p, uint32_t leader, uint32_t parent, pid_t session)
{
	uint32_t above;

	if (plan_descends(p, leader, parent))
		return true;
	if (!plan_is_init(p, parent) || !plan_ns_within(ns_of(p, parent), ns_of(p, leader)))
		return false;
	above = p->members[p->members[parent].parent].leader;
	return !leads_session(p, parent) ||
	       (p->members[above].sid != session && !began_in(p, above, session));
}

/*
 * Left to the init of a pid namespace, in its session, by a process that had entered from outside:
 * its group cannot be named inside, and is not the one that the init was born in.
 */
static bool was_adopted(const struct planner *p, uint32_t parent, uint32_t child)
{
	const struct member *m = &p->members[child];
	uint32_t leader = m->sid == OUTSIDE ? p->plan->root : plan_find(p, m->sid);

	return plan_is_init(p, parent) && leader != PLAN_NONE && !leads_session(p, child) &&
	       m->parent == parent && m->pgid != p->members[parent].pgid &&
	       !plan_group_visible(p, m->pgid, ns_of(p, child)) &&
	       !plan_group_visible(p, p->members[parent].pgid, ns_of(p, child));
}

/* decides how a child is born, its own birth session being known */
static int settle_birth(struct planner *p, uint32_t parent, uint32_t child)
{
	struct member *m = &p->members[parent];
	pid_t want = plan_birth(p, child);
	/* orphans go to the first thread that lives; a child of another one was made by it */
	bool left_to_thread = p->members[child].parent != parent &&
	                      p->tasks[parent].state != PLAN_DEAD_LEADER;
	uint32_t leader;

	if (want == m->sid && was_adopted(p, parent, child)) {
		p->members[child].foreign = true;
		*array_push(p->foreign, p->n_foreign) = (struct foreign){ child, want };
		return 0;
	}
	if (want == FREE || want == m->sid || plan_maker(p, child) != p->members[child].parent)
		return 0;
	leader = want == OUTSIDE ? PLAN_NONE : plan_find(p, want);
	if (leader != PLAN_NONE && !leads_session(p, leader))
		return plan_invalid(p, child, "a session whose leader is not in it");
	if (want != OUTSIDE && want != m->birth &&
	    (leader == PLAN_NONE ? !left_to_thread && !began_in(p, parent, want)
	                         : left_by_member(p, leader, parent, want))) {
		if (left_to_thread)
			return plan_bad_shape(p, child, "it was left to a thread that leads none");
		p->members[child].foreign = true;
		*array_push(p->foreign, p->n_foreign) = (struct foreign){ child, want };
		return 0;
	}
	if (!leads_session(p, parent))
		return plan_bad_shape(p, child, "no relative could have put it into its session");
	if (m->birth != FREE && m->birth != want)
		return plan_bad_shape(p, parent, "its children are from three sessions");
	m->birth = want;
	return 0;
}

/* children of other threads than the leader first: they leave less choice */
static int settle_children(struct planner *p, uint32_t process, bool of_threads)
{
	for (uint32_t c = p->members[process].first_child; c != PLAN_NONE;
	     c = p->members[c].next_child) {
		if ((p->members[c].parent != process) != of_threads)
			continue;
		int r = settle_birth(p, process, c);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- dead leaders whose turn is known ---- */

static int by_sid(const void *a, const void *b)
{
	const struct foreign *x = a, *y = b;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

/* the number of the innermost placeholder that all of p->foreign[start, end) have; NULL: none */
static const uint32_t *common_stand_in(const struct planner *p, size_t start, size_t end)
{
	const struct plan_task *first = &p->tasks[p->foreign[start].node];
	size_t n = first->n_stand_ins;

	for (size_t i = start; i < end; i++) {
		const struct plan_task *t = &p->tasks[p->foreign[i].node];
		if (t->n_stand_ins > PLAN_STAND_INS_MAX || t->ns || t->exit_signal != SIGCHLD ||
		    t->maker != first->maker || t->parent != first->parent)
			return NULL;
		n = t->n_stand_ins < n ? t->n_stand_ins : n;
		for (size_t k = 0; k < n; k++)
			if (t->stand_ins[k] != first->stand_ins[k])
				n = k;
	}
	return n ? &first->stand_ins[n - 1] : NULL;
}

static struct lead *find_lead(const struct planner *p, const uint32_t *number)
{
	return number ? map_get(p->leads, number, sizeof(*number)) : NULL;
}

/* what is left of a session whose leader is dead: p->foreign[start, end) */
static void find_leader(struct planner *p, size_t start, size_t end)
{
	pid_t sid = p->foreign[start].sid;
	const uint32_t *number = common_stand_in(p, start, end);

	if (sid == OUTSIDE || plan_find(p, sid) != PLAN_NONE || !number || find_lead(p, number) ||
	    plan_dead_leader(p, sid)->ns)
		return;
	struct lead *lead = xcalloc(1, sizeof(*lead));
	lead->sid = sid;
	lead->reaper = p->members[p->members[p->foreign[start].node].parent].leader;
	map_put(p->leads, number, sizeof(*number), lead);
}

static size_t end_of_session(const struct planner *p, size_t start)
{
	size_t end = start;

	while (end < p->n_foreign && p->foreign[end].sid == p->foreign[start].sid)
		end++;
	return end;
}

/*
 * A placeholder that stands in for a dead one can lead its session, for the sake of pages: then
 * they are made in their turn, like the others of that placeholder.
 */
static void find_leaders(struct planner *p)
{
	size_t kept = 0;

	if (p->n_foreign)
		qsort(p->foreign, p->n_foreign, sizeof(*p->foreign), by_sid);
	for (size_t i = 0; i < p->n_foreign; i = end_of_session(p, i))
		find_leader(p, i, end_of_session(p, i));
	for (uint32_t i = 0; i < p->n && map_size(p->leads); i++)
		for (size_t k = 0; k < p->tasks[i].n_stand_ins; k++) {
			struct lead *lead = find_lead(p, &p->tasks[i].stand_ins[k]);
			pid_t birth = plan_birth(p, i);
			if (lead && birth != FREE && birth != lead->sid)
				lead->early = true;
		}
	for (size_t i = 0, end; i < p->n_foreign; i = end) {
		end = end_of_session(p, i);
		const struct lead *lead = find_lead(p, common_stand_in(p, i, end));
		bool led = lead && lead->sid == p->foreign[i].sid && !lead->early;
		for (size_t k = i; k < end; k++) {
			struct foreign f = p->foreign[k];
			p->members[f.node].foreign = !led;
			p->members[f.node].led = led;
			if (!led)
				p->foreign[kept++] = f;
		}
	}
	p->n_foreign = kept;
}

int plan_settle_sessions(struct planner *p)
{
	for (size_t i = p->n_order; i-- > 0;) {
		uint32_t node = p->order[i];
		int r = settle_children(p, node, true);
		if (r == 0)
			r = settle_children(p, node, false);
		if (r < 0)
			return r;
	}
	find_leaders(p);
	return 0;
}
