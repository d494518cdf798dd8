/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: processes whose parent is dead. Those of a session are made within it, and come
 * to their reaper when who made them ends. See plan.h.
 */
#include <sched.h>
#include <stdlib.h>

#include "task/plan_building.h"
#include "util/alloc.h"
#include "util/map.h"

static uint32_t reaper_of(const struct planner *p, const struct foreign *f)
{
	return p->members[p->members[f->node].parent].leader;
}

/* one that never was an orphan: its session's dead leader, a sibling of it, made it */
static int make_sibling(struct planner *p, uint32_t maker, uint32_t node)
{
	struct plan_node *n = &p->plan->nodes[node];
	const struct plan_node *m = &p->plan->nodes[maker];

	if (m->creator != p->members[node].parent || m->exit_signal != p->tasks[node].exit_signal)
		return plan_bad_shape(p, node, "no relative could have put it into its session");
	n->flags |= CLONE_PARENT;
	n->exit_signal = 0;
	return 0;
}

static bool any_orphan(const struct planner *p, const struct orphans *o, const struct plan_ns *ns)
{
	bool any = false;

	for (size_t i = 0; i < o->n; i++)
		any |= plan_was_orphan(p, o->list[i].node, ns);
	return any;
}

/* the maker makes them; unless it ends itself, by a child that ends in the reaper's namespace */
static int make_orphans(struct planner *p, struct building *b, const struct orphans *o)
{
	uint32_t reaper = reaper_of(p, o->list), maker = o->maker;
	pid_t group = p->members[o->list->node].birth_in;
	bool by_child = o->how == BY_CHILD && any_orphan(p, o, ns_of(p, o->maker));
	int r = 0;

	if (by_child)
		maker = plan_add_placeholder(p, o->maker,
		                             (struct plan_pid){ .ns = ns_of(p, reaper) },
		                             p->members[o->maker].group);
	if (by_child && group && plan_group_visible(p, group, ns_of(p, o->maker)))
		r = plan_put_into(p, o->maker, maker, group);
	for (size_t i = 0; r == 0 && i < o->n; i++) {
		uint32_t node = o->list[i].node, creator = maker;
		if (!plan_was_orphan(p, node, ns_of(p, o->maker))) {
			creator = o->maker;
			r = make_sibling(p, creator, node);
		}
		p->plan->nodes[node].creator = creator;
		if (r == 0)
			r = plan_make_node(p, b, creator, node, o->list[i].sid,
			                   p->members[creator].group);
	}
	if (by_child || o->how == BY_KEEPER)
		plan_add_step(p, PLAN_EXIT, maker, reaper);
	return r;
}

/* now, or when the namespaces that they are in are there */
static int plan_orphans(struct planner *p, struct building *b, struct orphans o)
{
	unsigned level = plan_level(p, o.list->node);

	if (level < b->level || level == plan_level(p, o.maker))
		return make_orphans(p, b, &o);
	*array_push(b->levels[level].orphans, b->levels[level].n_orphans) = o;
	return 0;
}

static int by_session(const void *a, const void *b, void *arg)
{
	const struct foreign *x = a, *y = b;
	const struct planner *p = arg;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	/* the deepest reaper last; it is the one that makes a missing leader */
	unsigned k = plan_level(p, reaper_of(p, x)), l = plan_level(p, reaper_of(p, y));
	if (k != l)
		return k < l ? -1 : 1;
	uint32_t i = p->members[reaper_of(p, x)].enter, j = p->members[reaper_of(p, y)].enter;
	if (i != j)
		return i < j ? -1 : 1;
	k = plan_level(p, x->node);
	l = plan_level(p, y->node);
	if (k != l)
		return k < l ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

size_t plan_session_end(const struct planner *p, size_t start)
{
	size_t end = start;

	while (end < p->n_foreign && p->foreign[end].sid == p->foreign[start].sid)
		end++;
	return end;
}

/* of one reaper, in one namespace, born into one group; and its init alone, which must be there
 * before the others */
static size_t reaper_end(const struct planner *p, size_t start, size_t limit)
{
	const struct foreign *first = &p->foreign[start];
	size_t end = start + 1;

	while (end < limit && !plan_is_init(p, first->node) &&
	       !plan_is_init(p, p->foreign[end].node) &&
	       reaper_of(p, &p->foreign[end]) == reaper_of(p, first) &&
	       ns_of(p, p->foreign[end].node) == ns_of(p, first->node) &&
	       p->members[p->foreign[end].node].birth_in == p->members[first->node].birth_in)
		end++;
	return end;
}

static size_t first_foreign(const struct planner *p, pid_t sid)
{
	size_t low = 0, high = p->n_foreign;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (p->foreign[middle].sid < sid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* orphans of a session whose leader is in the set, or of the outside's: by children of @maker */
static int orphans_of_session(struct planner *p, struct building *b, uint32_t maker, pid_t sid)
{
	size_t i = first_foreign(p, sid);
	size_t limit = i < p->n_foreign ? plan_session_end(p, i) : i;
	int r = 0;

	if (limit == i || p->foreign[i].sid != sid)
		return 0;
	for (size_t end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		r = plan_orphans(p, b,
		                 (struct orphans){ maker, BY_CHILD, &p->foreign[i], end - i });
	}
	return r;
}

/* whether what ends below @above, in namespace @ns, leaves its children to @reaper */
static bool comes_to(const struct planner *p, uint32_t above, const struct plan_ns *ns,
                     uint32_t reaper)
{
	return plan_is_init(p, reaper) ? plan_ns_within(ns_of(p, reaper), ns)
	                               : ns == ns_of(p, reaper) && plan_descends(p, above, reaper);
}

/* orphans whose session's leader is dead: a placeholder leads the session until groups are set */
static int orphans_of_dead(struct planner *p, struct building *b, size_t start)
{
	size_t limit = plan_session_end(p, start);
	const struct plan_pid *who = plan_dead_leader(p, p->foreign[start].sid);
	pid_t sid = p->foreign[start].sid;
	uint32_t place = plan_place(p, sid), creator = place, leader;
	int r = 0, exit_signal = 0;

	if (!plan_ns_begun(p, who->ns)) {
		struct level *level = &b->levels[plan_ns_level(who->ns)];
		*array_push(level->dead, level->n_dead) = start;
		return 0;
	}
	for (size_t i = start; i < limit; i++)
		if (!plan_was_orphan(p, p->foreign[i].node, who->ns)) {
			creator = p->members[p->foreign[i].node].parent;
			exit_signal = p->tasks[p->foreign[i].node].exit_signal;
		}
	place = p->members[creator].leader;
	if (!plan_ns_within(who->ns, ns_of(p, creator)))
		return plan_bad_shape(p, p->foreign[start].node,
		                      "the leader of its session is above who could have made it");
	leader = plan_add_placeholder(p, creator, *who, sid);
	p->plan->nodes[leader].exit_signal = exit_signal;
	plan_lead_session(p, b, leader, sid, place);
	for (size_t i = start, end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		uint32_t reaper = reaper_of(p, &p->foreign[i]);
		bool ends = reaper == place && who->ns == ns_of(p, reaper);
		const struct orphans o = { leader, ends ? BY_LEADER : BY_CHILD, &p->foreign[i],
			                   end - i };
		if (any_orphan(p, &o, who->ns) && !comes_to(p, place, who->ns, reaper))
			return plan_bad_shape(p, p->foreign[i].node,
			                      "orphans of one session went to unrelated reapers");
		r = plan_orphans(p, b, o);
	}
	return r;
}

bool plan_leave_behind(struct planner *p, struct building *b, uint32_t node)
{
	const struct plan_node *n = &p->plan->nodes[node];
	const struct member *m = &p->members[node];
	uint32_t parent = m->parent, process = p->members[parent].leader, maker = PLAN_NONE;
	bool named = !m->birth_in || plan_group_visible(p, m->birth_in, ns_of(p, process));
	bool by_keeper = named || m->birth_in == p->members[process].group;
	pid_t group = m->birth_in;

	if (n->creator != parent || n->flags || !plan_was_orphan(p, node, ns_of(p, process)) ||
	    (!by_keeper && !plan_is_init(p, process)))
		return false;
	p->members[node].foreign = true;
	if (!named)
		p->members[process].n_heirs--;
	if (by_keeper)
		maker = plan_add_placeholder(p, process,
		                             (struct plan_pid){ .ns = ns_of(p, process) },
		                             p->members[process].group);
	struct foreign *f = xcalloc(1, sizeof(*f));
	*f = (struct foreign){ node, by_keeper ? plan_session_now(p, process)
		                               : plan_session_of(p, group) };
	*array_push(b->left, b->n_left) = f;
	struct level *level = &b->levels[plan_level(p, node)];
	*array_push(level->orphans, level->n_orphans) =
		(struct orphans){ maker, by_keeper ? BY_KEEPER : BY_CHILD, f, 1 };
	return true;
}

int plan_make_late_orphans(struct planner *p, struct building *b, struct level *level, bool *ret)
{
	size_t n = level->n_dead;
	int r = 0;

	level->n_dead = 0;
	for (size_t k = 0; r == 0 && k < n; k++) {
		*ret |= plan_ns_begun(p, plan_dead_leader(p, p->foreign[level->dead[k]].sid)->ns);
		r = orphans_of_dead(p, b, level->dead[k]);
	}
	n = level->n_orphans;
	level->n_orphans = 0;
	for (size_t k = 0; r == 0 && k < n; k++) {
		struct orphans o = level->orphans[k];
		bool ready = p->members[reaper_of(p, o.list)].made;
		for (size_t i = 0; i < o.n; i++)
			ready = ready && plan_ns_ready(p, o.list[i].node) &&
			        plan_group_ready(p, o.list[i].node);
		if (ready && o.maker == PLAN_NONE)
			o.maker = plan_helper(p, p->members[o.list->node].birth_in,
			                      ns_of(p, reaper_of(p, o.list)));
		if (!ready || o.maker == PLAN_NONE) {
			level->orphans[level->n_orphans++] = o;
			continue;
		}
		r = make_orphans(p, b, &o);
		*ret = true;
	}
	return r;
}

void plan_place_dead_sessions(struct planner *p, struct building *b)
{
	b->dead_sessions = map_new();
	b->next_dead = xcalloc(p->n_foreign + 1, sizeof(*b->next_dead));
	if (p->n_foreign)
		qsort_r(p->foreign, p->n_foreign, sizeof(*p->foreign), by_session, p);
	for (size_t i = 0, end; i < p->n_foreign; i = end) {
		end = plan_session_end(p, i);
		if (p->foreign[i].sid == OUTSIDE || plan_find(p, p->foreign[i].sid) != PLAN_NONE)
			continue;
		uint32_t place = plan_place(p, p->foreign[i].sid);
		uintptr_t next = (uintptr_t)map_get(b->dead_sessions, &place, sizeof(place));
		b->next_dead[i] = next;
		map_put(b->dead_sessions, &place, sizeof(place), (void *)(uintptr_t)(i + 1));
	}
}

int plan_keep_outside(struct planner *p, struct building *b)
{
	uint32_t root = p->plan->root;
	size_t i = first_foreign(p, OUTSIDE);
	bool any = i < p->n_foreign && p->foreign[i].sid == OUTSIDE;
	bool leaves = leads_session(p, root) || p->members[root].pgid != OUTSIDE;

	if (p->keeper == PLAN_NONE && leaves && (any || p->ways.keep)) {
		p->keeper = plan_add_placeholder(p, root, (struct plan_pid){ 0 },
		                                 p->members[root].birth_group);
		*array_push(p->ending, p->n_ending) = p->keeper;
	}
	return p->keeper == PLAN_NONE ? 0 : orphans_of_session(p, b, p->keeper, OUTSIDE);
}

int plan_build_orphans(struct planner *p, struct building *b, uint32_t process)
{
	uintptr_t dead = (uintptr_t)map_get(b->dead_sessions, &process, sizeof(process));
	int r = 0;

	if (leads_session(p, process))
		r = orphans_of_session(p, b, process, p->tasks[process].tid);
	else if (process == p->plan->root && p->members[process].sid == OUTSIDE &&
	         p->keeper == PLAN_NONE)
		r = orphans_of_session(p, b, process, OUTSIDE);
	while (r == 0 && dead) {
		size_t start = dead - 1;
		r = orphans_of_dead(p, b, start);
		dead = b->next_dead[start];
	}
	return r;
}
