/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner. See plan.h.
 *
 * Three things are decided here. (1) Sessions: a process is born into its creator's session, which
 * is the creator's present one or, before its setsid(2), the one it was born into itself. Session
 * by session it is found out which leaders of others began in it; where no creator can make a
 * process, it was an orphan: it is made by a placeholder that lives in that session and ends. (2)
 * Sharing: within a family (a process and its threads; a task and its children) tasks are made
 * along a maximum spanning tree of what they share, which connects the holders of each object
 * whenever that is possible at all (the junction tree property). (3) Process groups, when all
 * processes are there. With pid namespaces below the root's all this happens level by level: those
 * in a deeper namespace come when all above it are where they belong, since they can name neither
 * a session nor a group of theirs, but are born into them.
 */
#include "task/plan_private.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	free(plan->nodes);
	free(plan->steps);
	free(plan);
}

int plan_invalid(struct planner *p, uint32_t node, const char *why)
{
	error_refuse(p->err, CODE_image_invalid, "the tree contradicts itself: %s", why);
	error_task(p->err, p->tasks[node].tid, NULL);
	p->err->errnum = EBADMSG;
	return -EBADMSG;
}

int plan_bad_shape(struct planner *p, uint32_t node, const char *why)
{
	int r = error_refuse(p->err, CODE_tree_shape, "%s", why);

	error_task(p->err, p->tasks[node].tid, NULL);
	error_hint(p->err, "checkpoint a smaller subtree, or the whole container");
	return r;
}

uint32_t plan_find(const struct planner *p, pid_t tid)
{
	uintptr_t found = (uintptr_t)map_get(p->by_tid, &tid, sizeof(tid));

	return found ? (uint32_t)(found - 1) : PLAN_NONE;
}

/* ---- reading the input ---- */

static int index_tasks(struct planner *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		pid_t tid = p->tasks[i].tid;
		if (tid <= 0)
			return plan_invalid(p, i, "a tid is not positive");
		if (p->tasks[i].sid < 0 || p->tasks[i].pgid < 0)
			return plan_invalid(p, i, "a session or group is negative");
		if (map_get(p->by_tid, &tid, sizeof(tid)))
			return plan_invalid(p, i, "a tid occurs twice");
		map_put(p->by_tid, &tid, sizeof(tid), (void *)(uintptr_t)(i + 1));
		p->members[i] = (struct member){ .leader = PLAN_NONE,
			                         .parent = PLAN_NONE,
			                         .first_child = PLAN_NONE,
			                         .next_child = PLAN_NONE,
			                         .first_thread = PLAN_NONE,
			                         .next_thread = PLAN_NONE,
			                         .oldest_thread = PLAN_NONE,
			                         .first_product = PLAN_NONE,
			                         .last_product = PLAN_NONE,
			                         .next_product = PLAN_NONE };
	}
	return 0;
}

static int link_thread(struct planner *p, uint32_t i)
{
	struct member *m = &p->members[i];
	uint32_t leader = plan_find(p, p->tasks[i].tgid);

	if (leader == PLAN_NONE || !is_leader(p, leader))
		return plan_invalid(p, i, "a thread's leader is missing");
	m->leader = leader;
	if (leader == i)
		return 0;
	if (p->tasks[leader].state == PLAN_ZOMBIE || p->tasks[i].state != PLAN_LIVE)
		return plan_invalid(p, i, "a thread of a dead process");
	if (p->members[leader].oldest_thread == PLAN_NONE)
		p->members[leader].oldest_thread = i;
	m->next_thread = p->members[leader].first_thread;
	p->members[leader].first_thread = i;
	return 0;
}

static int link_parent(struct planner *p, uint32_t i)
{
	struct member *m = &p->members[i];

	if (!is_leader(p, i))
		return 0;
	uint32_t root = p->plan->root;
	if (p->tasks[i].parent == 0 && root == PLAN_NONE) {
		p->plan->root = i;
		return 0;
	}
	m->foreign = m->entered = p->tasks[i].parent == 0;
	if (m->entered && (p->tasks[root].tid != 1 || p->tasks[i].state == PLAN_ZOMBIE))
		return plan_invalid(p, i, "two roots");
	/* nobody's child inside: what it leaves behind comes to the init, like a child's of that */
	m->parent = m->entered ? root : plan_find(p, p->tasks[i].parent);
	if (m->parent == PLAN_NONE)
		return plan_invalid(p, i, "a parent is missing");
	if (p->tasks[m->parent].state == PLAN_ZOMBIE)
		return plan_invalid(p, i, "a zombie has children");
	struct member *process = &p->members[p->members[m->parent].leader];
	m->next_child = process->first_child;
	process->first_child = i;
	return 0;
}

/* sessions and groups that began outside the set become the restart's own */
static void name_outside(struct planner *p)
{
	const struct plan_task *root = &p->tasks[p->plan->root];
	bool outside = root->sid != root->tid;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_task *t = &p->tasks[i];
		struct member *m = &p->members[i];
		m->sid = t->sid;
		m->pgid = t->pgid;
		if (t->sid == 0 || (outside && t->sid == root->sid))
			m->sid = OUTSIDE;
		if (t->pgid == 0 || (m->sid == OUTSIDE && t->pgid == root->pgid &&
		                     plan_find(p, t->pgid) == PLAN_NONE))
			m->pgid = OUTSIDE;
	}
}

/* numbers the processes depth first, parents before children; without recursion */
static int walk(struct planner *p)
{
	uint32_t at = p->plan->root, clock = 0, processes = 0;
	uint32_t *next = xcalloc(p->n, sizeof(*next));

	for (uint32_t i = 0; i < p->n; i++) {
		next[i] = p->members[i].first_child;
		processes += is_leader(p, i);
	}
	p->order = xcalloc(p->n, sizeof(*p->order));
	p->order[p->n_order++] = at;
	p->members[at].enter = clock++;
	for (;;) {
		uint32_t child = next[at];
		if (child != PLAN_NONE) {
			next[at] = p->members[child].next_child;
			at = child;
			p->members[at].enter = clock++;
			p->order[p->n_order++] = at;
			continue;
		}
		p->members[at].leave = clock;
		if (at == p->plan->root)
			break;
		at = p->members[p->members[at].parent].leader;
	}
	free(next);
	return p->n_order == processes ? 0 : plan_invalid(p, p->plan->root, "parents form a ring");
}

/* what a dead leader had is gone: it gets what its oldest thread has, which it can make first */
static int complete_dead_leaders(struct planner *p, struct plan_task *tasks)
{
	for (uint32_t i = 0; i < p->n; i++) {
		if (tasks[i].state != PLAN_DEAD_LEADER)
			continue;
		if (!is_leader(p, i) || p->members[i].first_thread == PLAN_NONE)
			return plan_invalid(p, i, "a dead leader without threads");
		memcpy(tasks[i].share, tasks[p->members[i].oldest_thread].share,
		       sizeof(tasks[i].share));
	}
	return 0;
}

static int check_sharing(struct planner *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_task *t = &p->tasks[i], *l = &p->tasks[p->members[i].leader];
		if (t != l && (t->share[PLAN_VM] != l->share[PLAN_VM] ||
		               t->share[PLAN_SIGHAND] != l->share[PLAN_SIGHAND]))
			return plan_invalid(p, i,
			                    "a thread with another address space than its leader");
		if (p->members[i].entered && !leads_session(p, i) && p->members[i].sid != OUTSIDE)
			return plan_invalid(p, i, "it is from outside, but not its session");
		if (t->sid != l->sid || t->pgid != l->pgid)
			return plan_invalid(p, i, "a thread with another session than its leader");
	}
	return 0;
}

static int read_input(struct planner *p, struct plan_task *tasks)
{
	int r = index_tasks(p);

	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		r = link_thread(p, i);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		r = link_parent(p, i);
	if (r < 0)
		return r;
	if (p->plan->root == PLAN_NONE)
		return plan_invalid(p, 0, "no root");
	const struct plan_task *root = &p->tasks[p->plan->root];
	if (root->sid != root->tid && plan_find(p, root->sid) != PLAN_NONE)
		return plan_invalid(p, p->plan->root,
		                    "the root is in a session that a child began");
	if (root->ns)
		return plan_invalid(p, p->plan->root, "the root is below its pid namespace");
	name_outside(p);
	r = walk(p);
	if (r == 0)
		r = plan_read_namespaces(p);
	if (r == 0)
		r = complete_dead_leaders(p, tasks);
	if (r == 0)
		r = check_sharing(p);
	return r < 0 ? r : plan_read_groups(p);
}

/* ---- all of it ---- */

static void name_nodes(struct planner *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct plan_node *node = array_push(p->plan->nodes, p->plan->n_nodes);
		*node = (struct plan_node){ .tid = p->tasks[i].tid,
			                    .ns = p->tasks[i].ns,
			                    .inner = p->tasks[i].inner_tids,
			                    .is_task = true,
			                    .leader = i,
			                    .creator = PLAN_COORDINATOR };
	}
}

static void free_values(struct map *map)
{
	size_t cursor = 0;

	for (void *value; (value = map_next(map, &cursor));)
		free(value);
	map_free(map);
}

static void planner_done(struct planner *p)
{
	map_free(p->by_tid);
	map_free(p->inits);
	map_free(p->places);
	free_values(p->dead_leaders);
	free_values(p->leads);
	free_values(p->groups);
	free(p->members);
	free(p->order);
	free(p->foreign);
	free(p->ending);
}

/* @tasks is completed */
static int make_plan(struct plan_task *tasks, size_t n, struct ways ways, struct plan **ret,
                     struct error *err)
{
	struct planner p = { .tasks = tasks,
		             .n = n,
		             .by_tid = map_new(),
		             .inits = map_new(),
		             .dead_leaders = map_new(),
		             .places = map_new(),
		             .leads = map_new(),
		             .groups = map_new(),
		             .keeper = PLAN_NONE,
		             .ways = ways,
		             .err = err };
	int r;

	p.plan = xcalloc(1, sizeof(*p.plan));
	p.plan->root = PLAN_NONE;
	for (size_t i = 0; i < n;)
		array_push(p.members, i);
	name_nodes(&p);
	r = n ? read_input(&p, tasks) : error_raise(err, EBADMSG, "a tree without tasks");
	for (uint32_t i = 0; r == 0 && i < n; i++)
		p.plan->nodes[i].leader = p.members[i].leader;
	if (r == 0)
		r = plan_settle_sessions(&p);
	if (r == 0)
		r = plan_settle_sharing(&p);
	if (r == 0)
		r = plan_make_steps(&p);
	planner_done(&p);
	if (r < 0) {
		plan_free(p.plan);
		return error_trace(err, r);
	}
	*ret = take_ptr(p.plan);
	return 0;
}

int plan_make(const struct plan_task *tasks, size_t n, struct plan **ret, struct error *err)
{
	static const struct ways ways[] = {
		{ false, false }, { .adopt = true }, { .keep = true }, { true, true }
	};
	_cleanup_(free_p) struct plan_task *copy = xmemdup(tasks, n * sizeof(*tasks));
	bool hints = false;
	int r = make_plan(copy, n, ways[0], ret, err);

	/* what is for the sake of pages must not prevent it */
	for (size_t i = 0; r == -EOPNOTSUPP && i < n; i++) {
		hints |= tasks[i].turn || tasks[i].maker || tasks[i].n_stand_ins;
		copy[i] = tasks[i];
		copy[i].turn = 0;
		copy[i].maker = 0;
		copy[i].n_stand_ins = 0;
	}
	if (hints) {
		*err = ERROR_INIT;
		r = make_plan(copy, n, ways[0], ret, err);
	}
	/* nor what is seen only when it is too late */
	for (size_t i = 1; r == -EOPNOTSUPP && i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct error other = ERROR_INIT;
		if (make_plan(copy, n, ways[i], ret, &other) == 0) {
			*err = ERROR_INIT;
			r = 0;
		}
	}
	return r < 0 ? error_trace(err, r) : 0;
}
