/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: the steps that make all processes, placeholders among them. See plan.h.
 */
#include "task/plan_private.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/map.h"

struct plan_step *plan_add_step(struct planner *p, enum plan_action action, uint32_t actor,
                                uint32_t node)
{
	struct plan_step *s = array_push(p->plan->steps, p->plan->n_steps);

	*s = (struct plan_step){ .action = action, .actor = actor, .node = node };
	return s;
}

uint32_t plan_add_placeholder(struct planner *p, uint32_t creator, pid_t tid, pid_t group)
{
	uint32_t node = p->plan->n_nodes;
	size_t n_members = node;
	struct plan_node *n = array_push(p->plan->nodes, p->plan->n_nodes);

	*n = (struct plan_node){ .tid = tid, .leader = node, .creator = creator };
	array_push(p->members, n_members)->group = group;
	plan_add_step(p, PLAN_CLONE, creator, node);
	return node;
}

/* a clone, and in which session and group the child finds itself */
static int make(struct planner *p, uint32_t creator, uint32_t node, pid_t session, pid_t group)
{
	struct member *m = &p->members[node];
	pid_t want = plan_birth(p, node);

	if (is_leader(p, node) && want != FREE && want != session)
		return plan_bad_shape(p, node, "sharing and sessions contradict each other");
	m->birth_session = session;
	m->group = m->birth_group = group;
	m->made = true;
	plan_add_step(p, PLAN_CLONE, creator, node);
	return 0;
}

/* what the tasks of a process make in its session of birth (@early), or in its own */
static int make_products(struct planner *p, uint32_t process, uint32_t maker, bool early,
                         uint32_t **queue, size_t *n_queue)
{
	struct member *m = &p->members[process];

	for (uint32_t x = p->members[maker].first_product; x != PLAN_NONE;
	     x = p->members[x].next_product) {
		pid_t want = plan_birth(p, x);
		bool is_early = leads_session(p, process) && want != FREE && want != m->sid;
		if (!is_leader(p, x) || p->members[x].made || is_early != early)
			continue;
		int r = early ? make(p, maker, x, m->birth_session, m->birth_group)
		              : make(p, maker, x, m->sid, m->group);
		if (r < 0)
			return r;
		*array_push(*queue, *n_queue) = x;
	}
	return 0;
}

static void make_threads(struct planner *p, uint32_t maker)
{
	/* a thread's threads come after it in a walk along the spanning tree, depth bounded by it
	 */
	uint32_t *stack = NULL;
	size_t n = 0;

	*array_push(stack, n) = maker;
	while (n > 0) {
		uint32_t at = stack[--n];
		for (uint32_t x = p->members[at].first_product; x != PLAN_NONE;
		     x = p->members[x].next_product) {
			if (is_leader(p, x))
				continue;
			p->members[x].made = true;
			plan_add_step(p, PLAN_CLONE, at, x);
			*array_push(stack, n) = x;
		}
	}
	free(stack);
}

static int make_all_products(struct planner *p, uint32_t process, bool early, uint32_t **queue,
                             size_t *n_queue)
{
	int r = make_products(p, process, process, early, queue, n_queue);

	for (uint32_t t = p->members[process].first_thread; r == 0 && t != PLAN_NONE;
	     t = p->members[t].next_thread)
		r = make_products(p, process, t, early, queue, n_queue);
	return r;
}

static uint32_t reaper_of(const struct planner *p, const struct foreign *f)
{
	return p->members[p->members[f->node].parent].leader;
}

/* @maker makes the orphans [i, end) of one reaper; unless it ends itself, by a child that ends */
static int make_orphans(struct planner *p, uint32_t maker, bool maker_ends, pid_t group, size_t i,
                        size_t end, uint32_t **queue, size_t *n_queue)
{
	uint32_t reaper = reaper_of(p, &p->foreign[i]), ghost = maker;
	int r = 0;

	if (!maker_ends)
		ghost = plan_add_placeholder(p, maker, 0, group);
	for (; r == 0 && i < end; i++) {
		p->plan->nodes[p->foreign[i].node].creator = ghost;
		r = make(p, ghost, p->foreign[i].node, p->foreign[i].sid, group);
		*array_push(*queue, *n_queue) = p->foreign[i].node;
	}
	if (!maker_ends)
		plan_add_step(p, PLAN_EXIT, ghost, reaper);
	return r;
}

static int by_session(const void *a, const void *b, void *arg)
{
	const struct foreign *x = a, *y = b;
	const struct planner *p = arg;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	/* the deepest reaper last; it is the one that makes a missing leader */
	uint32_t i = p->members[reaper_of(p, x)].enter, j = p->members[reaper_of(p, y)].enter;
	if (i != j)
		return i < j ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

/* the foreign processes [*ret_start, *ret_end) of a session, sorted by reaper */
static size_t session_end(const struct planner *p, size_t start)
{
	size_t end = start;

	while (end < p->n_foreign && p->foreign[end].sid == p->foreign[start].sid)
		end++;
	return end;
}

static size_t reaper_end(const struct planner *p, size_t start, size_t limit)
{
	size_t end = start;

	while (end < limit && reaper_of(p, &p->foreign[end]) == reaper_of(p, &p->foreign[start]))
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

/* orphans whose session's leader is in the set: by children of that leader */
static int orphans_of_leader(struct planner *p, uint32_t leader, uint32_t **queue, size_t *n_queue)
{
	size_t i = first_foreign(p, p->tasks[leader].tid);
	size_t limit = i < p->n_foreign ? session_end(p, i) : i;
	int r = 0;

	if (limit == i || p->foreign[i].sid != p->tasks[leader].tid)
		return 0;
	for (size_t end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		r = make_orphans(p, leader, false, p->members[leader].group, i, end, queue,
		                 n_queue);
	}
	return r;
}

/* orphans whose session's leader is dead: a placeholder leads the session until groups are set */
static int orphans_of_dead(struct planner *p, size_t start, size_t limit, uint32_t **queue,
                           size_t *n_queue, uint32_t **leaders, size_t *n_leaders)
{
	pid_t sid = p->foreign[start].sid;
	uint32_t deepest = reaper_of(p, &p->foreign[limit - 1]), leader;
	int r = 0;

	leader = plan_add_placeholder(p, deepest, sid, sid);
	map_put(p->by_tid, &sid, sizeof(sid), (void *)(uintptr_t)(leader + 1ul));
	plan_add_step(p, PLAN_SETSID, leader, PLAN_NONE);
	*array_push(*leaders, *n_leaders) = leader;
	*array_push(*leaders, *n_leaders) = deepest;
	for (size_t i = start, end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		uint32_t reaper = reaper_of(p, &p->foreign[i]);
		if (!plan_descends(p, deepest, reaper))
			return plan_bad_shape(p, p->foreign[i].node,
			                      "orphans of one session went to unrelated reapers");
		r = make_orphans(p, leader, reaper == deepest, sid, i, end, queue, n_queue);
	}
	return r;
}

struct building {
	uint32_t *queue; /* processes made but not yet built */
	size_t n_queue;
	uint32_t *leaders; /* placeholders that lead sessions, each followed by its reaper */
	size_t n_leaders;
	struct map *dead_sessions; /* reaper -> index + 1 of the first foreign of the session */
	uint32_t *next_dead;       /* per foreign index: another session at the same reaper, + 1 */
};

static int build_process(struct planner *p, struct building *b, uint32_t process)
{
	struct member *m;
	int r;

	make_threads(p, process);
	r = make_all_products(p, process, true, &b->queue, &b->n_queue);
	if (r < 0)
		return r;
	m = &p->members[process];
	if (leads_session(p, process)) {
		m->group = p->tasks[process].tid;
		plan_add_step(p, PLAN_SETSID, process, PLAN_NONE);
	}
	r = make_all_products(p, process, false, &b->queue, &b->n_queue);
	if (r == 0 && leads_session(p, process))
		r = orphans_of_leader(p, process, &b->queue, &b->n_queue);
	uintptr_t dead = (uintptr_t)map_get(b->dead_sessions, &process, sizeof(process));
	while (r == 0 && dead) {
		size_t start = dead - 1;
		r = orphans_of_dead(p, start, session_end(p, start), &b->queue, &b->n_queue,
		                    &b->leaders, &b->n_leaders);
		dead = b->next_dead[start];
	}
	return r;
}

/* where the placeholders for dead leaders of sessions are made */
static void place_dead_sessions(struct planner *p, struct building *b)
{
	b->dead_sessions = map_new();
	b->next_dead = xcalloc(p->n_foreign + 1, sizeof(*b->next_dead));
	if (p->n_foreign)
		qsort_r(p->foreign, p->n_foreign, sizeof(*p->foreign), by_session, p);
	for (size_t i = 0, end; i < p->n_foreign; i = end) {
		end = session_end(p, i);
		if (plan_find(p, p->foreign[i].sid) != PLAN_NONE)
			continue;
		uint32_t reaper = reaper_of(p, &p->foreign[end - 1]);
		uintptr_t next = (uintptr_t)map_get(b->dead_sessions, &reaper, sizeof(reaper));
		b->next_dead[i] = next;
		map_put(b->dead_sessions, &reaper, sizeof(reaper), (void *)(uintptr_t)(i + 1));
	}
}

static int build_all(struct planner *p, struct building *b)
{
	int r;

	place_dead_sessions(p, b);
	r = make(p, PLAN_COORDINATOR, p->plan->root,
	         leads_session(p, p->plan->root) ? plan_birth(p, p->plan->root) : OUTSIDE, OUTSIDE);
	*array_push(b->queue, b->n_queue) = p->plan->root;
	for (size_t i = 0; r == 0 && i < b->n_queue; i++)
		r = build_process(p, b, b->queue[i]);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		if (!p->members[i].made)
			r = plan_bad_shape(p, i, "nobody could have made it");
	return r;
}

int plan_make_steps(struct planner *p)
{
	struct building b = { 0 };
	int r = build_all(p, &b);

	if (r == 0)
		r = plan_finish_groups(p);
	for (size_t i = 0; r == 0 && i < b.n_leaders; i += 2)
		plan_add_step(p, PLAN_EXIT, b.leaders[i], b.leaders[i + 1]);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		if (p->tasks[i].state != PLAN_LIVE)
			plan_add_step(p, PLAN_DIE, i, PLAN_NONE);
	free(b.queue);
	free(b.leaders);
	free(b.next_dead);
	map_free(b.dead_sessions);
	return r;
}
