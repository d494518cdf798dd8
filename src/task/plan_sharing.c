/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: who makes whom, so that clone(2) can share what is shared. See plan.h.
 */
#include "task/plan_private.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/map.h"

static const uint64_t share_flags[PLAN_N_SHARES] = {
	[PLAN_VM] = CLONE_VM,           [PLAN_FILES] = CLONE_FILES, [PLAN_FS] = CLONE_FS,
	[PLAN_SIGHAND] = CLONE_SIGHAND, [PLAN_IO] = CLONE_IO,       [PLAN_SYSVSEM] = CLONE_SYSVSEM,
};
#define MAKER_DEPTH_MAX 100 /* from the parent down */
static const char *const share_names[PLAN_N_SHARES] = {
	[PLAN_VM] = "address space", [PLAN_FILES] = "descriptor table",
	[PLAN_FS] = "cwd and umask", [PLAN_SIGHAND] = "signal handlers",
	[PLAN_IO] = "io context",    [PLAN_SYSVSEM] = "SysV undo list",
};

uint64_t plan_share_flag(enum plan_share share)
{
	return share_flags[share];
}
static uint64_t shared(const struct plan_task *a, const struct plan_task *b)
{
	uint64_t flags = 0;

	for (unsigned k = 0; k < PLAN_N_SHARES; k++)
		if (a->share[k] && a->share[k] == b->share[k])
			flags |= share_flags[k];
	return flags;
}

static int weight(const struct planner *p, uint32_t a, uint32_t b)
{
	return __builtin_popcountll(shared(&p->tasks[a], &p->tasks[b]));
}

/* whether a relative that is no thread of its parent's can make it, by CLONE_PARENT: not an init */
static bool can_make_sibling(const struct planner *p, uint32_t maker, uint32_t node)
{
	uint32_t process = p->members[maker].leader;
	const struct plan_ns *ns = ns_of(p, process);

	return !plan_is_init(p, process) && plan_ns_within(ns_of(p, node), ns) &&
	       (!plan_is_init(p, node) || ns_of(p, node)->parent == ns);
}

static void add_product(struct planner *p, uint32_t creator, uint32_t node)
{
	struct member *c = &p->members[creator];

	p->plan->nodes[node].creator = creator;
	if (c->last_product == PLAN_NONE)
		c->first_product = node;
	else
		p->members[c->last_product].next_product = node;
	c->last_product = node;
}

/*
 * One that shares nothing with its siblings is made by a descendant of its parent, where no
 * namespace comes in between. A child of the parent can do so by CLONE_PARENT; what others make
 * must be orphaned.
 */
uint32_t plan_maker(const struct planner *p, uint32_t node)
{
	const struct plan_task *t = &p->tasks[node];
	uint32_t maker = t->maker ? plan_find(p, t->maker) : PLAN_NONE;
	uint32_t head = p->members[node].parent;
	pid_t session = plan_birth(p, node);

	if (maker == PLAN_NONE || maker == head || !is_leader(p, maker) || !is_leader(p, head) ||
	    p->tasks[maker].state != PLAN_LIVE || weight(p, head, node) || weight(p, maker, node) ||
	    t->exit_signal != SIGCHLD || !plan_descends(p, maker, head) || ns_of(p, node) ||
	    ns_of(p, head) || !plan_group_visible(p, p->members[node].pgid, NULL) ||
	    (session != FREE && session != p->members[maker].sid && !p->members[node].led))
		return head;
	for (uint32_t i = maker, n = 0; i != head; i = p->members[p->members[i].parent].leader)
		if (n++ == MAKER_DEPTH_MAX || ns_of(p, i) || p->members[i].entered ||
		    p->tasks[i].exit_signal != SIGCHLD)
			return head;
	return maker;
}

/* processes that others than their parents are to make, one after another */
struct wishes {
	struct wish {
		uint32_t node, head, maker;
		bool granted;
	} * all;
	size_t n;
};

/* by whoever is to make it, or when all others are settled */
static void add_member(struct planner *p, uint32_t head, uint32_t node, struct wishes *wishes)
{
	uint32_t maker = is_leader(p, node) ? plan_maker(p, node) : head;

	if (maker == head)
		add_product(p, head, node);
	else
		*array_push(wishes->all, wishes->n) = (struct wish){ node, head, maker, false };
}

/*
 * Members of a family that share something with another member that they do not share with its
 * head; the others are made by the head, or as they wish. Returns how many; in the order given.
 */
static size_t find_entangled(struct planner *p, uint32_t head, const uint32_t *family, size_t n,
                             uint32_t *ret, struct wishes *wishes)
{
	struct map *seen = map_new();
	bool *entangled = xcalloc(n, sizeof(*entangled));
	size_t n_ret = 0;

	for (size_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < PLAN_N_SHARES; k++) {
			uint32_t key[2] = { k, p->tasks[family[i]].share[k] };
			if (key[1] == 0 || key[1] == p->tasks[head].share[k])
				continue;
			bool *first = map_get(seen, key, sizeof(key));
			if (!first)
				map_put(seen, key, sizeof(key), &entangled[i]);
			else
				*first = entangled[i] = true;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (entangled[i])
			ret[n_ret++] = family[i];
		else
			add_member(p, head, family[i], wishes);
	free(entangled);
	map_free(seen);
	return n_ret;
}

/* who is above comes before who is below, and inits last of a level: a maker before what it can
 * make */
static unsigned rank(const struct planner *p, uint32_t node)
{
	return 2 * plan_ns_level(ns_of(p, node)) + plan_is_init(p, node);
}

/*
 * Prim's algorithm: the heaviest edge from what is connected to what is not, the head first. Where
 * pid namespaces leave no choice but one that is not the best, check_gaps() notices.
 */
static void span(struct planner *p, uint32_t head, uint32_t *rest, size_t n)
{
	uint32_t *best = xcalloc(n, sizeof(*best));
	int *heavy = xcalloc(n, sizeof(*heavy));

	for (size_t i = 0; i < n; i++) {
		best[i] = head;
		heavy[i] = weight(p, head, rest[i]);
	}
	while (n > 0) {
		size_t pick = 0;
		for (size_t i = 1; i < n; i++)
			if (rank(p, rest[i]) != rank(p, rest[pick])
			            ? rank(p, rest[i]) < rank(p, rest[pick])
			            : heavy[i] > heavy[pick])
				pick = i;
		uint32_t node = rest[pick];
		add_product(p, best[pick], node);
		n--;
		rest[pick] = rest[n];
		best[pick] = best[n];
		heavy[pick] = heavy[n];
		for (size_t i = 0; i < n; i++) {
			int w = weight(p, node, rest[i]);
			if (w > heavy[i] &&
			    (!is_leader(p, node) || can_make_sibling(p, node, rest[i]))) {
				heavy[i] = w;
				best[i] = node;
			}
		}
	}
	free(best);
	free(heavy);
}

static void connect_family(struct planner *p, uint32_t head, const uint32_t *family, size_t n,
                           struct wishes *wishes)
{
	uint32_t *rest = xcalloc(n + 1, sizeof(*rest));
	size_t n_rest = find_entangled(p, head, family, n, rest, wishes);

	span(p, head, rest, n_rest);
	free(rest);
}

/* threads of one process; then, per thread, the children it made */
static void connect_process(struct planner *p, uint32_t leader, uint32_t *scratch,
                            struct wishes *wishes)
{
	size_t n = 0;

	for (uint32_t t = p->members[leader].first_thread; t != PLAN_NONE;
	     t = p->members[t].next_thread)
		scratch[n++] = t;
	for (size_t i = 0; i < n / 2; i++) { /* the list is backwards */
		uint32_t t = scratch[i];
		scratch[i] = scratch[n - 1 - i];
		scratch[n - 1 - i] = t;
	}
	connect_family(p, leader, scratch, n, wishes);
}

static int by_parent(const void *a, const void *b, void *arg)
{
	const struct planner *p = arg;
	uint32_t x = p->members[*(const uint32_t *)a].parent;
	uint32_t y = p->members[*(const uint32_t *)b].parent;

	if (x != y)
		return x < y ? -1 : 1;
	return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

static void connect_children(struct planner *p, uint32_t process, uint32_t *scratch,
                             struct wishes *wishes)
{
	size_t n = 0;

	for (uint32_t c = p->members[process].first_child; c != PLAN_NONE;
	     c = p->members[c].next_child)
		if (p->members[c].entered) {
			add_product(p, process, c);
			p->plan->nodes[c].creator = PLAN_COORDINATOR;
		} else if (p->members[c].sibling)
			add_product(p, plan_find(p, plan_birth(p, c)), c);
		else if (!p->members[c].foreign)
			scratch[n++] = c;
	qsort_r(scratch, n, sizeof(*scratch), by_parent, p);
	for (size_t i = 0, end; i < n; i = end) {
		uint32_t parent = p->members[scratch[i]].parent;
		for (end = i; end < n && p->members[scratch[end]].parent == parent; end++)
			;
		connect_family(p, parent, scratch + i, end - i, wishes);
	}
}

/* ---- wishes ---- */

/* who waits for whom, and what has a way from the root: by nodes */
struct reached {
	uint32_t *waiting, *next; /* wishes, + 1, by the node of their maker; by themselves */
	uint32_t *queue;          /* has room for all */
	size_t n_queue, at;
};

static void grant(struct planner *p, struct reached *r, struct wish *w, uint32_t maker)
{
	struct member *m = &p->members[w->node];

	w->granted = true;
	m->orphan = maker != w->head &&
	            (p->tasks[w->node].n_stand_ins || p->members[maker].parent != w->head);
	add_product(p, maker, w->node);
	r->queue[r->n_queue++] = w->node;
}

/* all that is made by what has been reached */
static void reach(struct planner *p, struct reached *r, struct wishes *wishes)
{
	while (r->at < r->n_queue) {
		uint32_t node = r->queue[r->at++];
		for (uint32_t x = p->members[node].first_product; x != PLAN_NONE;
		     x = p->members[x].next_product)
			r->queue[r->n_queue++] = x;
		for (uint32_t w = r->waiting[node]; w; w = r->next[w - 1])
			if (!wishes->all[w - 1].granted)
				grant(p, r, &wishes->all[w - 1], node);
	}
}

/* nobody can be made by who descends from it: where wishes go in circles, one is not granted */
static void grant_wishes(struct planner *p, struct wishes *wishes)
{
	struct reached r = { xcalloc(p->n, sizeof(uint32_t)), xcalloc(wishes->n, sizeof(uint32_t)),
		             xcalloc(p->n, sizeof(uint32_t)), 0, 0 };

	for (uint32_t i = 0; i < wishes->n; i++) {
		r.next[i] = r.waiting[wishes->all[i].maker];
		r.waiting[wishes->all[i].maker] = i + 1;
	}
	for (uint32_t i = 0; i < p->n; i++)
		if (i == p->plan->root || (p->members[i].foreign && !p->members[i].entered))
			r.queue[r.n_queue++] = i;
	reach(p, &r, wishes);
	for (size_t i = 0; i < wishes->n; i++)
		if (!wishes->all[i].granted) { /* parents come first: so the head is reached */
			grant(p, &r, &wishes->all[i], wishes->all[i].head);
			reach(p, &r, wishes);
		}
	free(r.waiting);
	free(r.next);
	free(r.queue);
}

static int set_clone(struct planner *p, uint32_t i)
{
	struct plan_node *node = &p->plan->nodes[i];
	const struct plan_task *t = &p->tasks[i];

	node->exit_signal = t->exit_signal;
	if (node->creator == PLAN_COORDINATOR)
		return 0; /* the root; and foreign ones, whose placeholder shares nothing */
	if (plan_is_init(p, i) && ns_of(p, node->creator) != node->ns->parent)
		return plan_bad_shape(p, i,
		                      "it began a pid namespace from one that is not right "
		                      "above it");
	node->flags = shared(t, &p->tasks[node->creator]);
	if (!is_leader(p, i)) {
		node->flags |= CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
		node->exit_signal = 0;
	} else if (node->creator != p->members[i].parent && !p->members[i].orphan) {
		/* CLONE_PARENT takes the exit signal of the creator's process, clone(2) */
		uint32_t maker = p->members[node->creator].leader;
		if (plan_is_init(p, maker) || !plan_ns_within(node->ns, ns_of(p, maker)))
			return plan_bad_shape(p, i,
			                      "it shares with a sibling in another pid namespace");
		if (p->tasks[maker].exit_signal != t->exit_signal || maker == p->plan->root)
			return plan_bad_shape(p, i,
			                      "it shares with a sibling of another exit signal");
		node->flags |= CLONE_PARENT;
		node->exit_signal = 0;
	}
	if ((node->flags & CLONE_SIGHAND) && !(node->flags & CLONE_VM)) {
		int r = error_refuse(p->err, CODE_sharing_gap,
		                     "shares signal handlers but not the address space");
		error_task(p->err, t->tid, NULL);
		return r;
	}
	return 0;
}

/* every object must have exactly one task that did not get it from its creator */
static int check_gaps(struct planner *p)
{
	struct map *firsts = map_new();
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < p->n; i++) {
		for (uint32_t k = 0; r == 0 && k < PLAN_N_SHARES; k++) {
			uint32_t key[2] = { k, p->tasks[i].share[k] };
			if (key[1] == 0 || (p->plan->nodes[i].flags & share_flags[k]))
				continue;
			struct member *other = map_get(firsts, key, sizeof(key));
			if (!other) {
				map_put(firsts, key, sizeof(key), &p->members[i]);
				continue;
			}
			r = error_refuse(p->err, CODE_sharing_gap,
			                 "shares its %s with task %d, but no chain of relatives "
			                 "between them does",
			                 share_names[k], p->tasks[other - p->members].tid);
			error_task(p->err, p->tasks[i].tid, NULL);
		}
	}
	map_free(firsts);
	return r;
}

/* what is made by a sibling, in a session that is not that one's, was so before its setsid(2) */
static void settle_birth_of_maker(struct planner *p, uint32_t node)
{
	for (;;) {
		pid_t want = plan_birth(p, node);
		uint32_t creator = p->plan->nodes[node].creator;
		uint32_t maker = creator < p->n ? p->members[creator].leader : PLAN_NONE;
		if (!is_leader(p, node) || want == FREE || maker == PLAN_NONE ||
		    p->members[node].led || plan_has_been_in(p, maker, want) ||
		    !plan_can_begin_in(p, maker, want))
			return;
		p->members[maker].birth = want;
		node = maker;
	}
}

int plan_settle_sharing(struct planner *p)
{
	uint32_t *scratch = xcalloc(p->n + 1, sizeof(*scratch));
	struct wishes wishes = { 0 };

	for (size_t i = 0; i < p->n_order; i++) {
		connect_process(p, p->order[i], scratch, &wishes);
		connect_children(p, p->order[i], scratch, &wishes);
	}
	free(scratch);
	if (wishes.n)
		grant_wishes(p, &wishes);
	free(wishes.all);
	for (uint32_t i = 0; i < p->n; i++) {
		int r = set_clone(p, i);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < p->n; i++)
		settle_birth_of_maker(p, i);
	return check_gaps(p);
}
