/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: into which session each process must be born, and who was an orphan. See
 * plan.h.
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
 * Each member of a session was made by another one, or by the leader of a session to be that had
 * not called setsid(2) yet (it "began in" the session): they hang together below the leader. And a
 * process only ever moves up, to one that was above who made it. So what is known of member c with
 * parent q, of leader l:
 *  - q has been in the session: then it can make c itself, for all that c knows.
 *  - q is above l: a placeholder below l makes c and ends, while q is a subreaper.
 *  - c was not left behind (plan_was_orphan()): q made it, and so began in the session; or l, its
 *    sibling, did by CLONE_PARENT.
 *  - Neither: q began in the session, and the same is asked of q and its parent.
 * Nothing of this is a choice where l lives, unless l itself was below q for a while and then went
 * past it, because q was a subreaper only in between: that is refused. Where l is dead it may have
 * been anywhere: as deep as the deepest one needs that cannot have begun in the session, which then
 * all others like it are above, for the same reason; who is not above it began in the session.
 * Different sessions meddle with each other only where both want the same process to have begun in
 * them; those of living leaders, which have no choice, come first.
 */

static uint32_t process_above(const struct planner *p, uint32_t process)
{
	return p->members[p->members[process].parent].leader;
}

static const struct plan_ns *ns_of_leader(const struct planner *p, pid_t session)
{
	uint32_t leader = plan_find(p, session);

	return leader == PLAN_NONE ? plan_dead_leader(p, session)->ns : ns_of(p, leader);
}

bool plan_can_begin_in(const struct planner *p, uint32_t process, pid_t session)
{
	pid_t birth = p->members[process].birth;

	return leads_session(p, process) && (birth == FREE || birth == session) &&
	       (session == OUTSIDE ||
	        (!is_top(p, process) &&
	         plan_ns_within(ns_of(p, process), ns_of_leader(p, session))));
}

bool plan_has_been_in(const struct planner *p, uint32_t process, pid_t session)
{
	return p->members[process].sid == session ||
	       (leads_session(p, process) && p->members[process].birth == session);
}

/* the first above that has been in @session, or cannot have begun in it; or @process itself */
static uint32_t climb(const struct planner *p, uint32_t process, pid_t session)
{
	while (!is_top(p, process) && !plan_has_been_in(p, process, session) &&
	       plan_can_begin_in(p, process, session))
		process = process_above(p, process);
	return process;
}

/*
 * Orphans come to the first thread of their reaper, or if that is dead to the oldest of the others,
 * and send SIGCHLD from then on; none comes to another pid namespace, but to an init from outside,
 * setns(2). What is otherwise was made by its parent, or by a sibling (CLONE_PARENT).
 */
bool plan_was_orphan(const struct planner *p, uint32_t node, const struct plan_ns *ns)
{
	uint32_t parent = p->members[node].parent, heir = p->members[parent].leader;

	if (p->tasks[heir].state != PLAN_LIVE)
		heir = p->members[heir].oldest_thread;
	return parent == heir && p->tasks[node].exit_signal == SIGCHLD &&
	       (ns == ns_of(p, heir) ||
	        (plan_is_init(p, p->members[parent].leader) && plan_ns_within(ns_of(p, heir), ns)));
}

/* where a session is from: the process that leads it or below which its dead leader was made */
struct place {
	pid_t sid;
	const struct plan_ns *ns;
	uint32_t process; /* PLAN_NONE: outside */
	bool dead;
};

/*
 * Whether what a member of the session left behind came to @reaper, which might also have made it
 * itself if it is an init, before its setsid(2): when that is above the leader,
 * or the init of a pid namespace that the member had entered from outside, setns(2).
 */
static bool comes_to(const struct planner *p, const struct place *place, uint32_t reaper)
{
	if (place->process == PLAN_NONE && !place->dead)
		return false;
	if (plan_is_init(p, reaper) && plan_ns_within(ns_of(p, reaper), place->ns) &&
	    (p->ways.adopt || !plan_has_been_in(p, climb(p, reaper, place->sid), place->sid)))
		return true;
	return place->process != PLAN_NONE && plan_descends(p, place->process, reaper);
}

static void add_foreign(struct planner *p, uint32_t node, pid_t session)
{
	p->members[node].foreign = true;
	*array_push(p->foreign, p->n_foreign) = (struct foreign){ node, session };
}

/* how @child was born into a session, and so those above it that must have been born there */
static int settle_birth(struct planner *p, const struct place *place, uint32_t child)
{
	for (;;) {
		uint32_t parent = process_above(p, child);
		if (plan_maker(p, child) != p->members[child].parent)
			return 0;
		if (plan_has_been_in(p, parent, place->sid))
			return 0;
		bool orphan = plan_was_orphan(p, child, place->ns);
		if (!orphan && !place->dead && place->process != PLAN_NONE &&
		    p->members[place->process].parent == p->members[child].parent &&
		    p->tasks[place->process].exit_signal == p->tasks[child].exit_signal) {
			p->members[child].sibling = true;
			return 0;
		}
		if (orphan ? comes_to(p, place, parent)
		           : place->dead && !plan_can_begin_in(p, parent, place->sid)) {
			add_foreign(p, child, place->sid);
			return 0;
		}
		if (!plan_can_begin_in(p, parent, place->sid))
			return plan_bad_shape(p, child,
			                      "no relative could have put it into its session");
		p->members[parent].birth = place->sid;
		if (is_top(p, parent))
			return 0;
		child = parent;
	}
}

/*
 * One that never was an orphan (plan_was_orphan()) was made by its parent before that one's
 * setsid(2), which then was born there too; or else the dead leader was its sibling.
 */
static void settle_siblings(struct planner *p, struct place *place, uint32_t **list, size_t *n)
{
	for (size_t i = 0; i < *n; i++) {
		uint32_t child = (*list)[i], parent = process_above(p, child);
		if (plan_was_orphan(p, child, place->ns) || plan_has_been_in(p, parent, place->sid))
			continue;
		if (!plan_can_begin_in(p, parent, place->sid)) {
			place->process = parent;
			continue;
		}
		p->members[parent].birth = place->sid;
		*array_push(*list, *n) = parent;
	}
}

/*
 * A dead leader was below all that cannot have begun in its session and got orphans of it, and so
 * may all above the deepest of them; the others began in it.
 */
static void find_place(const struct planner *p, struct place *place, const uint32_t *list, size_t n)
{
	uint32_t top = PLAN_NONE;

	for (size_t i = 0; i < n; i++) {
		uint32_t reaper = process_above(p, list[i]), stop = climb(p, reaper, place->sid);
		if (plan_has_been_in(p, stop, place->sid) || ns_of(p, reaper) != place->ns ||
		    plan_is_init(p, reaper))
			continue;
		if (top == PLAN_NONE || p->members[stop].enter > p->members[top].enter ||
		    (stop == top && p->members[reaper].enter > p->members[place->process].enter)) {
			top = stop;
			place->process = reaper;
		}
	}
}

uint32_t plan_place(const struct planner *p, pid_t sid)
{
	uintptr_t found = (uintptr_t)map_get(p->places, &sid, sizeof(sid));

	return found ? (uint32_t)(found - 1) : plan_init_of(p, plan_dead_leader(p, sid)->ns);
}

/* @list: all of the session but its leader; those that have begun in it are added */
static int settle_session(struct planner *p, uint32_t **list, size_t *n)
{
	pid_t sid = p->members[(*list)[0]].sid;
	uint32_t leader = sid == OUTSIDE ? PLAN_NONE : plan_find(p, sid);
	struct place place = { sid, NULL, leader, sid != OUTSIDE && leader == PLAN_NONE };
	int r = 0;

	if (leader != PLAN_NONE && !leads_session(p, leader))
		return plan_invalid(p, (*list)[0], "a session whose leader is not in it");
	if (leader != PLAN_NONE)
		place.ns = ns_of(p, leader);
	if (sid == OUTSIDE)
		place.process = p->plan->root;
	if (place.dead) {
		place.ns = plan_dead_leader(p, sid)->ns;
		settle_siblings(p, &place, list, n);
	}
	if (place.dead && place.process == PLAN_NONE)
		find_place(p, &place, *list, *n);
	if (place.dead && place.process != PLAN_NONE)
		map_put(p->places, &sid, sizeof(sid), (void *)(uintptr_t)(place.process + 1ul));
	for (size_t i = 0; r == 0 && i < *n; i++)
		r = settle_birth(p, &place, (*list)[i]);
	return r;
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

/*
 * A placeholder that stands in for a dead one can lead its session, for the sake of pages: then
 * they are made in their turn, like the others of that placeholder.
 */
static void find_leaders(struct planner *p)
{
	size_t kept = 0;

	if (p->n_foreign)
		qsort(p->foreign, p->n_foreign, sizeof(*p->foreign), by_sid);
	for (size_t i = 0; i < p->n_foreign; i = plan_session_end(p, i))
		find_leader(p, i, plan_session_end(p, i));
	for (uint32_t i = 0; i < p->n && map_size(p->leads); i++)
		for (size_t k = 0; k < p->tasks[i].n_stand_ins; k++) {
			struct lead *lead = find_lead(p, &p->tasks[i].stand_ins[k]);
			pid_t birth = plan_birth(p, i);
			if (lead && birth != FREE && birth != lead->sid)
				lead->early = true;
		}
	for (size_t i = 0, end; i < p->n_foreign; i = end) {
		end = plan_session_end(p, i);
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

/* living leaders first: they leave no choice */
static int by_leader(const void *a, const void *b, void *arg)
{
	const struct planner *p = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	pid_t s = p->members[x].sid, t = p->members[y].sid;
	bool dead_s = s != OUTSIDE && plan_find(p, s) == PLAN_NONE;
	bool dead_t = t != OUTSIDE && plan_find(p, t) == PLAN_NONE;

	if (dead_s != dead_t)
		return dead_s ? 1 : -1;
	if (s != t)
		return s < t ? -1 : 1;
	return p->members[x].enter < p->members[y].enter ? -1 : 1;
}

int plan_settle_sessions(struct planner *p)
{
	uint32_t *all = xcalloc(p->n_order, sizeof(*all)), *list = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < p->n_order; i++)
		if (!is_top(p, p->order[i]) && !leads_session(p, p->order[i]))
			all[n++] = p->order[i];
	if (n)
		qsort_r(all, n, sizeof(*all), by_leader, p);
	for (size_t i = 0; r == 0 && i < n;) {
		pid_t sid = p->members[all[i]].sid;
		size_t n_list = 0;
		while (i < n && p->members[all[i]].sid == sid)
			*array_push(list, n_list) = all[i++];
		r = settle_session(p, &list, &n_list);
	}
	free(all);
	free(list);
	if (r == 0)
		find_leaders(p);
	return r;
}
