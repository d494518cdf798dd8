/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: process groups, when all processes of a level of pid namespaces are there. See
 * plan.h.
 */
#include "task/plan_private.h"

#include <sched.h>

#include "util/alloc.h"
#include "util/map.h"

static struct group *find_group(const struct planner *p, pid_t pgid)
{
	return map_get(p->groups, &pgid, sizeof(pgid));
}

static struct group *owner_of(const struct planner *p, uint32_t node)
{
	return find_group(p, p->tasks[node].tid);
}

/* ---- which there are ---- */

static int add_group(struct planner *p, uint32_t node)
{
	const struct member *m = &p->members[node];
	struct group *g = find_group(p, m->pgid);
	uint32_t leader = plan_find(p, m->pgid);

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
		*g = (struct group){ .pgid = m->pgid, .session = m->sid, .member = node };
		if (leader == PLAN_NONE)
			g->leader = *plan_dead_leader(p, m->pgid);
		else
			g->leader = (struct plan_pid){ m->pgid, ns_of(p, leader), NULL };
		map_put(p->groups, &m->pgid, sizeof(m->pgid), g);
	}
	if (plan_ns_level(ns_of(p, node)) < plan_ns_level(ns_of(p, g->member)))
		g->member = node;
	if (g->session != m->sid)
		return plan_invalid(p, node, "a process group in two sessions");
	if (leader != PLAN_NONE && (!is_leader(p, leader) || p->members[leader].sid != g->session))
		return plan_invalid(p, node, "a process group whose leader is in another session");
	return 0;
}

int plan_read_groups(struct planner *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n_order; i++)
		r = add_group(p, p->order[i]);
	return r;
}

bool plan_group_visible(const struct planner *p, pid_t pgid, const struct plan_ns *ns)
{
	if (pgid == OUTSIDE)
		return !ns && p->tasks[p->plan->root].tid != 1;
	return plan_ns_within(find_group(p, pgid)->leader.ns, ns);
}

/* who can put it into its group when all are there: itself, or its parent; PLAN_NONE: nobody */
static uint32_t mover_of(const struct planner *p, uint32_t node)
{
	const struct member *m = &p->members[node];

	if (plan_group_visible(p, m->pgid, ns_of(p, node)))
		return node;
	/* those of a dead leader come to it when all is over */
	return m->parent != PLAN_NONE && !m->foreign &&
	                       p->members[p->members[m->parent].leader].sid == m->sid &&
	                       plan_group_visible(p, m->pgid, ns_of(p, m->parent))
	               ? m->parent
	               : PLAN_NONE;
}

static void set_birth_in(struct member *m, pid_t pgid, bool wish)
{
	if (m->birth_in && (wish || !m->wish))
		return;
	m->birth_in = pgid;
	m->wish = wish;
}

/* whether it can have come to its parent from elsewhere, which then need not be in its group */
static bool can_be_left(const struct planner *p, uint32_t node)
{
	uint32_t parent = p->members[p->members[node].parent].leader;

	return plan_is_init(p, parent) && plan_was_orphan(p, node, ns_of(p, parent));
}

bool plan_drop_wish(struct planner *p, uint32_t creator, uint32_t node)
{
	struct member *m = &p->members[node];

	if (!m->wish)
		return false;
	if (creator < p->n && !plan_group_visible(p, m->birth_in, ns_of(p, creator)))
		p->members[p->members[creator].leader].n_heirs--;
	m->birth_in = 0;
	m->wish = false;
	return true;
}

void plan_settle_births_in_groups(struct planner *p)
{
	for (size_t i = p->n_order; i-- > 0;) {
		uint32_t node = p->order[i], creator = p->plan->nodes[node].creator;
		struct member *m = &p->members[node];
		if (mover_of(p, node) == PLAN_NONE)
			set_birth_in(m, m->pgid, false);
		if (!m->birth_in || creator == PLAN_COORDINATOR)
			continue;
		struct member *above = &p->members[p->members[creator].leader];
		if (plan_group_visible(p, m->birth_in, ns_of(p, creator)))
			continue;
		above->n_heirs++;
		set_birth_in(above, m->birth_in, m->wish || can_be_left(p, node));
	}
}

/* ---- going there ---- */

static void enter_group(struct planner *p, uint32_t actor, uint32_t node, pid_t pgid)
{
	if (p->members[node].group == pgid)
		return;
	plan_add_step(p, PLAN_SETPGID, actor, node)->pgid = pgid == OUTSIDE ? 0 : pgid;
	p->members[node].group = pgid;
}

pid_t plan_session_now(const struct planner *p, uint32_t process)
{
	const struct member *m = &p->members[process];

	return leads_session(p, process) && !m->built ? m->birth_session : m->sid;
}

/* whether a process can make the leader of a group, which is dead: in its session, not below it */
static bool can_make(const struct planner *p, const struct group *g, uint32_t process)
{
	return plan_ns_within(g->leader.ns, ns_of(p, process)) &&
	       (process >= p->n ||
	        (p->members[process].made && plan_session_now(p, process) == g->session));
}

/* who does: the first of its members, the session's leader, or who is above the former */
static uint32_t maker_of(const struct planner *p, const struct group *g)
{
	uint32_t outside = p->keeper == PLAN_NONE ? p->plan->root : p->keeper;
	uint32_t leader = g->session == OUTSIDE ? outside : plan_find(p, g->session);

	if (!plan_ns_begun(p, g->leader.ns))
		return PLAN_NONE;
	if (can_make(p, g, g->member))
		return g->member;
	if (leader != PLAN_NONE && can_make(p, g, leader))
		return leader;
	for (uint32_t at = g->member; at != p->plan->root;) {
		at = p->members[p->members[at].parent].leader;
		if (can_make(p, g, at))
			return at;
	}
	return PLAN_NONE;
}

/* whether its parent can put it back into the group that heirs of it are to be born in */
static bool can_be_brought(const struct planner *p, uint32_t process)
{
	const struct member *m = &p->members[process];

	return m->parent != PLAN_NONE && !m->foreign && m->birth_in &&
	       plan_session_now(p, process) == plan_session_now(p, p->members[m->parent].leader) &&
	       plan_group_visible(p, m->birth_in, ns_of(p, m->parent));
}

/* whether the leader of a group is there and can begin it: all is born that is not to be in it */
static bool can_begin_group(const struct planner *p, uint32_t leader)
{
	const struct member *m = &p->members[leader];

	return m->made && (!m->n_heirs || can_be_brought(p, leader)) &&
	       (m->built || !leads_session(p, leader));
}

bool plan_group_ready(const struct planner *p, uint32_t node)
{
	pid_t pgid = p->members[node].birth_in;
	const struct group *g = !pgid || pgid == OUTSIDE ? NULL : find_group(p, pgid);
	uint32_t leader = g ? plan_find(p, pgid) : PLAN_NONE;

	if (!g || g->founded || leader >= p->n)
		return !g || g->founded || leader != PLAN_NONE || maker_of(p, g) != PLAN_NONE;
	return can_begin_group(p, leader);
}

/* whether the group is there now, with its leader or a placeholder for it */
static bool found_group(struct planner *p, struct group *g)
{
	uint32_t leader = plan_find(p, g->pgid);

	if (g->founded)
		return true;
	if (leader == PLAN_NONE) {
		uint32_t maker = maker_of(p, g);
		if (maker == PLAN_NONE)
			return false;
		leader = plan_add_placeholder(p, maker, g->leader, p->members[maker].group);
		*array_push(p->ending, p->n_ending) = leader;
	} else if (leader < p->n && !can_begin_group(p, leader)) {
		return false;
	}
	g->founded = true;
	enter_group(p, leader, leader, g->pgid);
	return true;
}

/* a leader is about to go into another's group: a placeholder keeps its own from becoming empty */
static void hold_group(struct planner *p, uint32_t leader)
{
	struct group *g = owner_of(p, leader);

	if (!g || g->held || g->settled || p->members[leader].group != g->pgid)
		return;
	g->held = true;
	*array_push(p->ending, p->n_ending) = plan_add_placeholder(
		p, leader, (struct plan_pid){ .ns = ns_of(p, leader) }, g->pgid);
}

/* it can begin the group that it leads only now: nobody else can put it back into its own later */
static bool must_begin_now(const struct planner *p, uint32_t child, pid_t session)
{
	const struct member *m = &p->members[child];
	const struct group *g = owner_of(p, child);

	return g && !g->founded && g->session == session && m->made && !m->foreign &&
	       m->group == m->pgid && m->pgid != g->pgid && plan_session_now(p, child) == session &&
	       mover_of(p, child) == PLAN_NONE &&
	       plan_group_visible(p, m->pgid, ns_of(p, m->parent));
}

void plan_begin_childrens_groups(struct planner *p, uint32_t process)
{
	for (uint32_t c = p->members[process].first_child; c != PLAN_NONE;
	     c = p->members[c].next_child) {
		pid_t pgid = p->members[c].pgid;
		if (!must_begin_now(p, c, plan_session_now(p, process)))
			continue;
		owner_of(p, c)->founded = true;
		enter_group(p, c, c, p->tasks[c].tid);
		hold_group(p, c);
		enter_group(p, p->members[c].parent, c, pgid);
	}
}

pid_t plan_session_of(const struct planner *p, pid_t pgid)
{
	return pgid == OUTSIDE ? OUTSIDE : find_group(p, pgid)->session;
}

/*
 * Whether its parent can put a maker into a group that it cannot name itself, if that is there, and
 * it can go to its own from there.
 */
static bool may_bring(const struct planner *p, uint32_t maker, pid_t pgid)
{
	uint32_t process = p->members[maker].leader, parent = p->members[process].parent;
	const struct member *m = &p->members[process];
	pid_t session = plan_session_now(p, process);

	/* others are to be born where it is, and it could not come back */
	if (m->n_heirs > 1 && parent != PLAN_NONE &&
	    !plan_group_visible(p, m->group, ns_of(p, parent)))
		return false;
	return !plan_group_visible(p, pgid, ns_of(p, maker)) && m->group != pgid &&
	       (m->pgid == pgid || mover_of(p, process) != PLAN_NONE) && parent != PLAN_NONE &&
	       !m->foreign && session != p->tasks[process].tid &&
	       session == plan_session_now(p, p->members[parent].leader) &&
	       session == plan_session_of(p, pgid) && plan_group_visible(p, pgid, ns_of(p, parent));
}

bool plan_bring(struct planner *p, uint32_t maker, pid_t pgid)
{
	uint32_t process = p->members[maker].leader, parent = p->members[process].parent;

	if (!may_bring(p, maker, pgid) || (pgid != OUTSIDE && !found_group(p, find_group(p, pgid))))
		return false;
	hold_group(p, process);
	enter_group(p, parent, process, pgid);
	p->members[process].birth_group = pgid;
	return true;
}

/* who puts a node into a group when @creator has just made it */
static uint32_t putter_of(const struct planner *p, uint32_t creator, uint32_t node)
{
	const struct plan_node *n = &p->plan->nodes[node];

	if (node < p->n && n->creator >= p->n && p->plan->nodes[n->creator].bears)
		n = &p->plan->nodes[n->creator]; /* in whose place a midwife is */
	return n->flags & CLONE_PARENT ? p->members[node].parent : creator;
}

bool plan_can_put(const struct planner *p, uint32_t creator, uint32_t node, pid_t group)
{
	pid_t pgid = p->members[node].birth_in;

	return !pgid || creator == PLAN_COORDINATOR || group == pgid ||
	       (creator < p->n && may_bring(p, creator, pgid)) ||
	       plan_group_visible(p, pgid, ns_of(p, putter_of(p, creator, node)));
}

uint32_t plan_helper(const struct planner *p, pid_t pgid, const struct plan_ns *ns)
{
	const struct group *g = pgid == OUTSIDE ? NULL : find_group(p, pgid);
	uint32_t root = p->plan->root, helper = p->keeper;

	if (g)
		helper = maker_of(p, g);
	else if (helper == PLAN_NONE && plan_session_now(p, root) == OUTSIDE &&
	         (p->members[root].group == OUTSIDE || plan_group_visible(p, pgid, NULL)))
		helper = root;
	return helper != PLAN_NONE && plan_ns_within(ns, ns_of(p, helper)) ? helper : PLAN_NONE;
}

int plan_put_into(struct planner *p, uint32_t creator, uint32_t node, pid_t pgid)
{
	struct group *g = pgid == OUTSIDE ? NULL : find_group(p, pgid);
	uint32_t task = node < p->n ? node : creator < p->n ? creator : p->plan->root;
	uint32_t actor = putter_of(p, creator, node);
	pid_t session = node < p->n ? p->members[node].birth_session : g ? g->session : OUTSIDE;

	if (creator < p->n && !plan_group_visible(p, pgid, ns_of(p, creator)))
		p->members[p->members[creator].leader].n_heirs--;
	if (p->members[node].group == pgid)
		return 0;
	if (!plan_group_visible(p, pgid, ns_of(p, actor)) ||
	    session != (g ? g->session : OUTSIDE) || (g && !found_group(p, g)))
		return plan_bad_shape(p, task,
		                      "its process group is outside its pid namespace, and nobody "
		                      "could have put it there");
	enter_group(p, actor, node, pgid);
	return 0;
}

/* where a process wants to go and can go now */
static void go(struct planner *p, uint32_t node)
{
	const struct member *m = &p->members[node];
	const struct group *g = m->pgid == OUTSIDE ? NULL : find_group(p, m->pgid);

	uint32_t mover = mover_of(p, node);

	/* its group at birth is needed as long as others are to be born into it */
	if (m->built && !m->n_heirs && (!g || g->founded) && mover != PLAN_NONE &&
	    p->members[p->members[mover].leader].built)
		enter_group(p, mover, node, m->pgid);
}

void plan_finish_groups(struct planner *p, unsigned level)
{
	for (size_t i = 0; i < p->n_order; i++) {
		struct group *g = find_group(p, p->members[p->order[i]].pgid);
		if (g && g->member == p->order[i] && plan_ns_level(g->leader.ns) <= level)
			found_group(p, g);
	}
	for (size_t i = 0; i < p->n_order; i++) {
		const struct member *m = &p->members[p->order[i]];
		struct group *g = find_group(p, m->pgid);
		if (owner_of(p, p->order[i]))
			continue;
		go(p, p->order[i]);
		if (g && m->group == g->pgid)
			g->settled = true;
	}
	/* leaders last: others may still be to come into the groups that they leave */
	for (size_t i = 0; i < p->n_order; i++)
		if (p->members[p->order[i]].pgid != p->tasks[p->order[i]].tid)
			hold_group(p, p->order[i]);
	for (size_t i = 0; i < p->n_order; i++)
		go(p, p->order[i]);
}

int plan_check_groups(struct planner *p)
{
	for (size_t i = 0; i < p->n_order; i++)
		if (p->members[p->order[i]].group != p->members[p->order[i]].pgid)
			return plan_bad_shape(p, p->order[i],
			                      "its process group is outside its pid namespace, "
			                      "and it was not born in it");
	return 0;
}
