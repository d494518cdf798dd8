/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: the steps that make all processes, placeholders among them. See
 * plan.h.
 */
#include "task/plan_building.h"

#include <sched.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

struct plan_step *plan_add_step(struct planner *p, enum plan_action action, uint32_t actor,
                                uint32_t node)
{
	struct plan_step *s = array_push(p->plan->steps, p->plan->n_steps);

	*s = (struct plan_step){ .action = action, .actor = actor, .node = node };
	return s;
}

static uint32_t process_of(const struct planner *p, uint32_t node)
{
	return node < p->n ? p->members[node].leader : node;
}

uint32_t plan_add_placeholder(struct planner *p, uint32_t creator, struct plan_pid who, pid_t group)
{
	uint32_t node = p->plan->n_nodes;
	size_t n_members = node;
	struct plan_node *n = array_push(p->plan->nodes, p->plan->n_nodes);

	*n = (struct plan_node){
		.tid = who.tid, .ns = who.ns, .inner = who.inner, .leader = node, .creator = creator
	};
	uint32_t birth_owner = p->members[process_of(p, creator)].birth_owner;
	struct member *m = array_push(p->members, n_members);
	m->group = group;
	m->birth_owner = birth_owner;
	plan_add_step(p, PLAN_CLONE, creator, node);
	return node;
}

unsigned plan_level(const struct planner *p, uint32_t node)
{
	return plan_ns_level(ns_of(p, node));
}

/*
 * A pid namespace belongs to the user namespace in which the maker of its init is. Who is in
 * another one has a child that goes there, makes the init as a sibling of its own, and ends.
 */
static int call_midwife(struct planner *p, uint32_t *creator, uint32_t node, pid_t group)
{
	const struct plan_ns *above = ns_of(p, *creator);
	struct plan_node *n = &p->plan->nodes[node];

	if (n->flags & CLONE_FS)
		return plan_bad_shape(
			p, node,
			"it shares cwd and umask with who made it, whose user namespace "
			"does not own its pid namespace");
	uint64_t flags = n->flags;
	int exit_signal = p->tasks[node].exit_signal;
	uint32_t midwife = plan_add_placeholder(p, *creator, (struct plan_pid){ .ns = above },
	                                        group);
	p->plan->nodes[midwife].flags = flags;
	p->plan->nodes[midwife].exit_signal = flags & CLONE_PARENT ? 0 : exit_signal;
	p->plan->nodes[midwife].bears = node + 1;
	n = &p->plan->nodes[node];
	n->flags |= CLONE_PARENT;
	n->exit_signal = 0;
	n->creator = *creator = midwife;
	return 0;
}

int plan_make_node(struct planner *p, struct building *b, uint32_t creator, uint32_t node,
                   pid_t session, pid_t group)
{
	struct level *level = &b->levels[plan_level(p, node)];
	struct member *m = &p->members[node];
	pid_t want = plan_birth(p, node);

	if (creator == PLAN_COORDINATOR)
		session = group = OUTSIDE;
	if (is_leader(p, node) && want != FREE && want != session)
		return plan_bad_shape(p, node, "sharing and sessions contradict each other");
	if (creator != PLAN_COORDINATOR && !plan_ns_within(ns_of(p, node), ns_of(p, creator)))
		return plan_bad_shape(p, node, "who made it is in a pid namespace below its own");
	if (creator == PLAN_COORDINATOR ? m->birth_in != OUTSIDE
	                                : !plan_can_put(p, creator, node, group))
		plan_drop_wish(p, creator, node);
	if (m->birth_in && creator < p->n && plan_bring(p, creator, m->birth_in))
		group = m->birth_in;
	m = &p->members[node];
	m->birth_session = session;
	m->group = m->birth_group = group;
	m->made = true;
	b->n_made++;
	if (creator == PLAN_COORDINATOR) {
		if (m->birth_in && m->birth_in != OUTSIDE)
			return plan_bad_shape(p, node,
			                      "its process group cannot be entered from outside");
		/* EINVAL: who has entered one by setns(2) only for its children is not in it */
		if (plan_is_init(p, node))
			return plan_bad_shape(
				p, node,
				"its pid namespace was begun inside, for a parent outside");
		plan_add_step(p, PLAN_CLONE, creator, node);
		*array_push(level->queue, level->n_queue) = node;
		return 0;
	}
	uint32_t maker = creator, owner = p->members[process_of(p, creator)].birth_owner;
	bool other_owner = plan_is_init(p, node) && ns_of(p, node)->owner != owner;
	int r = other_owner ? call_midwife(p, &maker, node, group) : 0;
	if (r < 0)
		return r;
	m = &p->members[node];
	m->birth_owner = other_owner ? ns_of(p, node)->owner : owner;
	plan_add_step(p, PLAN_CLONE, maker, node);
	*array_push(level->queue, level->n_queue) = node;
	if (m->birth_in)
		r = plan_put_into(p, creator, node, m->birth_in);
	if (other_owner)
		plan_add_step(p, PLAN_EXIT, maker, PLAN_NONE);
	p->members[node].birth_group = p->members[node].group;
	return r;
}

void plan_lead_session(struct planner *p, struct building *b, uint32_t leader, pid_t sid,
                       uint32_t reaper)
{
	p->members[leader].group = sid;
	map_put(p->by_tid, &sid, sizeof(sid), (void *)(uintptr_t)(leader + 1ul));
	plan_add_step(p, PLAN_SETSID, leader, PLAN_NONE);
	*array_push(b->leaders, b->n_leaders) = leader;
	*array_push(b->leaders, b->n_leaders) = reaper;
}

/* ---- what a process makes ---- */

/* a placeholder makes it, not its parent: plan_leave_behind() */
static bool is_left(const struct planner *p, uint32_t node)
{
	return p->members[node].foreign && !p->members[node].entered;
}

/* whether the namespace and the group that it is to be born in are there, or can be made now */
static bool is_ready(const struct planner *p, uint32_t node)
{
	return plan_ns_ready(p, node) && plan_group_ready(p, node);
}

/*
 * What a process makes in its session of birth (@early), or in its own. What is in a deeper pid
 * namespace waits, unless it is early: then only for the namespace's init.
 */
static int make_products(struct planner *p, struct building *b, uint32_t process,
                         const uint32_t *products, size_t n, bool early)
{
	struct stand_ins stand_ins = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint32_t x = products[i];
		const struct member *m = &p->members[process];
		pid_t session = early ? m->birth_session : m->sid;
		pid_t group = early ? m->birth_group : m->group;
		struct level *level = &b->levels[plan_level(p, x)];
		if (p->members[x].made || is_left(p, x) || (early && !is_ready(p, x)))
			continue;
		if (!early && plan_level(p, x) > plan_level(p, process)) {
			*array_push(level->due, level->n_due) = x;
			continue;
		}
		if (plan_has_stand_ins(p, x)) {
			plan_go_to_stand_ins(p, b, &stand_ins, x, group);
			if (stand_ins.all[stand_ins.n - 1].session)
				session = group = stand_ins.all[stand_ins.n - 1].session;
		}
		if (!plan_can_put(p, p->plan->nodes[x].creator, x, group) &&
		    plan_leave_behind(p, b, x))
			continue;
		r = plan_make_node(p, b, p->plan->nodes[x].creator, x, session, group);
	}
	plan_end_stand_ins(p, &stand_ins, 0);
	return r;
}

/*
 * When a process makes what: before its setsid(2); before or after that, of which it is before if
 * others need it, as they do an init; or in its own session. What enters from outside only waits
 * for the root.
 */
enum phase { EARLY, EITHER, LATE };

static enum phase phase_of(const struct planner *p, uint32_t process, uint32_t x)
{
	pid_t want = plan_birth(p, x);

	if (!is_leader(p, x) || !leads_session(p, process) || p->members[x].led)
		return LATE;
	if (p->members[x].entered)
		return EITHER;
	if (want == FREE)
		return plan_is_init(p, x) ? EARLY : EITHER;
	return want == p->members[process].sid ? LATE : EARLY;
}

/* a product that must be early and cannot be made yet; PLAN_NONE: there is none */
static uint32_t find_blocking(const struct planner *p, uint32_t process)
{
	const struct member *m = &p->members[process];

	for (uint32_t t = process; t != PLAN_NONE;
	     t = t == process ? m->first_thread : p->members[t].next_thread) {
		for (uint32_t x = p->members[t].first_product; x != PLAN_NONE;
		     x = p->members[x].next_product) {
			if (!p->members[x].made && !is_left(p, x) &&
			    phase_of(p, process, x) == EARLY)
				return x;
		}
	}
	return PLAN_NONE;
}

/* what waits although its parent might have ended before: so that others need not wait for it */
static bool leave_behind(struct planner *p, struct building *b)
{
	size_t n = b->n_left;
	bool dropped = false;

	for (unsigned i = 0; i <= b->level; i++) {
		struct level *level = &b->levels[i];
		for (size_t k = 0; k < level->n_blocked; k++) {
			uint32_t x;
			while ((x = find_blocking(p, level->blocked[k])) != PLAN_NONE &&
			       plan_leave_behind(p, b, x))
				;
			if (x != PLAN_NONE)
				dropped |= plan_drop_wish(p, p->plan->nodes[x].creator, x);
		}
		size_t kept = 0;
		for (size_t k = 0; k < level->n_due; k++) {
			uint32_t x = level->due[k];
			if (p->members[x].birth_in && plan_leave_behind(p, b, x))
				continue;
			dropped |= plan_drop_wish(p, p->plan->nodes[x].creator, x);
			level->due[kept++] = x;
		}
		level->n_due = kept;
	}
	return dropped || b->n_left > n;
}

static void make_threads(struct planner *p, uint32_t maker)
{
	/*
	 * a thread's threads come after it in a walk along the spanning tree, depth bounded by it
	 */
	uint32_t *stack = NULL;
	size_t n = 0;

	*array_push(stack, n) = maker;
	while (n > 0) {
		uint32_t at = stack[--n];
		for (uint32_t x = p->members[at].first_product; x != PLAN_NONE;
		     x = p->members[x].next_product) {
			if (is_leader(p, x) || p->members[x].made)
				continue;
			p->members[x].made = true;
			plan_add_step(p, PLAN_CLONE, at, x);
			*array_push(stack, n) = x;
		}
	}
	free(stack);
}

/* the processes that a thread makes, from one phase up to another, behind those in *list */
static void add_products(const struct planner *p, uint32_t process, uint32_t maker,
                         enum phase first, enum phase last, uint32_t **list, size_t *n)
{
	for (uint32_t x = p->members[maker].first_product; x != PLAN_NONE;
	     x = p->members[x].next_product)
		if (is_leader(p, x) && phase_of(p, process, x) >= first &&
		    phase_of(p, process, x) <= last)
			*array_push(*list, *n) = x;
}

static int by_turn(const void *a, const void *b, void *context)
{
	const struct planner *p = context;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (p->tasks[x].turn != p->tasks[y].turn)
		return p->tasks[x].turn < p->tasks[y].turn ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* whichever thread makes it: the address space changes between them */
static int make_all_products(struct planner *p, struct building *b, uint32_t process,
                             enum phase first, enum phase last)
{
	_cleanup_(free_p) uint32_t *list = NULL;
	size_t n = 0;

	add_products(p, process, process, first, last, &list, &n);
	for (uint32_t t = p->members[process].first_thread; t != PLAN_NONE;
	     t = p->members[t].next_thread)
		add_products(p, process, t, first, last, &list, &n);
	if (n)
		qsort_r(list, n, sizeof(*list), by_turn, p);
	return make_products(p, b, process, list, n, last != LATE);
}

/* what of a higher level makes, now that this level's turn has come; *ret: anything at all */
static int make_due(struct planner *p, struct building *b, struct level *level, bool *ret)
{
	size_t n = level->n_due;

	level->n_due = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t x = level->due[i], maker = p->plan->nodes[x].creator;
		const struct member *m = &p->members[maker < p->n ? p->members[maker].leader : x];
		if (!is_ready(p, x)) {
			level->due[level->n_due++] = x;
			continue;
		}
		if (!plan_can_put(p, maker, x, m->group) && plan_leave_behind(p, b, x))
			continue;
		int r = plan_make_node(p, b, maker, x, m->sid, m->group);
		if (r < 0)
			return r;
		*ret = true;
	}
	return 0;
}

/* ---- processes ---- */

static int build_process(struct planner *p, struct building *b, uint32_t process)
{
	int r;

	make_threads(p, process);
	r = make_all_products(p, b, process, EARLY, EARLY);
	if (r == 0) /* those in a namespace whose init was among them */
		r = make_all_products(p, b, process, EARLY, EARLY);
	uint32_t blocking = r == 0 ? find_blocking(p, process) : PLAN_NONE;
	if (blocking != PLAN_NONE) {
		r = make_all_products(p, b, process, EITHER, EITHER);
		struct level *level = &b->levels[plan_level(p, blocking)];
		*array_push(level->blocked, level->n_blocked) = process;
	}
	if (r < 0 || blocking != PLAN_NONE)
		return r;
	if (process == p->plan->root)
		r = plan_keep_outside(p, b);
	if (r < 0)
		return r;
	if (leads_session(p, process))
		plan_begin_childrens_groups(p, process);
	p->members[process].built = true;
	if (leads_session(p, process)) {
		p->members[process].group = p->tasks[process].tid;
		plan_add_step(p, PLAN_SETSID, process, PLAN_NONE);
	}
	r = make_all_products(p, b, process, EITHER, LATE);
	return r < 0 ? r : plan_build_orphans(p, b, process);
}

static int build_blocked(struct planner *p, struct building *b, struct level *level, bool *ret_any)
{
	size_t n = level->n_blocked;
	int r = 0;

	level->n_blocked = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		uint32_t process = level->blocked[i], blocking = find_blocking(p, process);
		if (blocking != PLAN_NONE && !is_ready(p, blocking)) {
			size_t n_made = b->n_made;
			r = make_all_products(p, b, process, EITHER, EITHER);
			*ret_any |= b->n_made > n_made;
			level->blocked[level->n_blocked++] = process;
			continue;
		}
		/* it may be blocked by another one, and come again */
		*array_push(level->queue, level->n_queue) = process;
		*ret_any = true;
	}
	return r;
}

/* what is waiting on one level; *ret_any: there was something */
static int build_waiting(struct planner *p, struct building *b, struct level *level, bool *ret_any)
{
	int r = 0;

	while (r == 0 && level->next < level->n_queue) {
		r = build_process(p, b, level->queue[level->next++]);
		*ret_any = true;
	}
	if (r == 0)
		r = make_due(p, b, level, ret_any);
	if (r == 0)
		r = plan_make_late_orphans(p, b, level, ret_any);
	return r < 0 ? r : build_blocked(p, b, level, ret_any);
}

/* orphans of a session that ends on a deeper level may come late to a higher one */
static int build_level(struct planner *p, struct building *b)
{
	bool any = true;
	int r = 0;

	while (r == 0 && any) {
		any = false;
		for (unsigned i = 0; r == 0 && i <= b->level; i++)
			r = build_waiting(p, b, &b->levels[i], &any);
		if (r == 0 && !any && b->level == b->deepest)
			any = leave_behind(p, b);
	}
	plan_finish_groups(p, b->level);
	return r;
}

static unsigned deepest_level(const struct planner *p)
{
	unsigned level = 0;

	for (uint32_t i = 0; i < p->n; i++)
		if (plan_level(p, i) > level)
			level = plan_level(p, i);
	return level;
}

static int build_all(struct planner *p, struct building *b)
{
	b->deepest = deepest_level(p);
	uint32_t root = p->plan->root;
	int r;

	plan_place_dead_sessions(p, b);
	r = plan_make_node(p, b, PLAN_COORDINATOR, root, OUTSIDE, OUTSIDE);
	for (b->level = 0; r == 0 && b->level <= b->deepest; b->level++)
		r = build_level(p, b);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		if (!p->members[i].made)
			r = plan_bad_shape(p, i, "nobody could have made it");
	return r < 0 ? r : plan_check_groups(p);
}

static void building_done(struct building *b)
{
	for (size_t i = 0; i <= PLAN_LEVELS_MAX; i++) {
		free(b->levels[i].queue);
		free(b->levels[i].due);
		free(b->levels[i].orphans);
		free(b->levels[i].dead);
		free(b->levels[i].blocked);
	}
	for (size_t i = 0; i < b->n_left; i++)
		free(b->left[i]);
	free(b->left);
	free(b->leaders);
	free(b->next_dead);
	map_free(b->dead_sessions);
}

int plan_make_steps(struct planner *p)
{
	struct building b = { 0 };
	int r;

	plan_settle_births_in_groups(p);
	r = build_all(p, &b);
	for (size_t i = 0; r == 0 && i < p->n_ending; i++)
		plan_add_step(p, PLAN_EXIT, p->ending[i], PLAN_NONE);
	for (size_t i = 0; r == 0 && i < b.n_leaders; i += 2)
		plan_add_step(p, PLAN_EXIT, b.leaders[i], b.leaders[i + 1]);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		if (p->tasks[i].state != PLAN_LIVE)
			plan_add_step(p, PLAN_DIE, i, PLAN_NONE);
	building_done(&b);
	return r;
}
