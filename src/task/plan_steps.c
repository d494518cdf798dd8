/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: the steps that make all processes, placeholders among them. See plan.h.
 */
#include "task/plan_private.h"

#include <sched.h>
#include <signal.h>
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

/* ---- what waits ---- */

struct orphans { /* of one session and reaper: p->foreign[start..end) */
	uint32_t maker;
	bool maker_ends; /* the maker itself will end and leave them behind */
	size_t start, end;
};

/* what is made when all above this level of pid namespaces is there */
struct level {
	uint32_t *queue; /* processes made but not yet built */
	size_t n_queue, next;
	uint32_t *due; /* products of tasks of higher levels */
	size_t n_due;
	struct orphans *orphans;
	size_t n_orphans;
	uint32_t *blocked; /* processes with early products in namespaces that have no init yet */
	size_t n_blocked;
};

struct building {
	struct level levels[PLAN_LEVELS_MAX + 1];
	unsigned level;    /* where we are */
	uint32_t *leaders; /* placeholders that lead sessions, each followed by its reaper */
	size_t n_leaders;
	struct map *dead_sessions; /* reaper -> index + 1 of the first foreign of the session */
	uint32_t *next_dead;       /* per foreign index: another session at the same reaper, + 1 */
};

static unsigned level_of(const struct planner *p, uint32_t node)
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

	if (n->flags & (CLONE_PARENT | CLONE_FS))
		return plan_bad_shape(p, node,
		                      "it shares with others what the init of another user "
		                      "namespace's pid namespace cannot share");
	uint64_t flags = n->flags;
	int exit_signal = p->tasks[node].exit_signal;
	uint32_t midwife = plan_add_placeholder(p, *creator, (struct plan_pid){ .ns = above },
	                                        group);
	p->plan->nodes[midwife].flags = flags;
	p->plan->nodes[midwife].exit_signal = exit_signal;
	p->plan->nodes[midwife].bears = node + 1;
	n = &p->plan->nodes[node];
	n->flags |= CLONE_PARENT;
	n->exit_signal = 0;
	n->creator = *creator = midwife;
	return 0;
}

/* a clone, and in which session and group the child finds itself */
static int make(struct planner *p, struct building *b, uint32_t creator, uint32_t node,
                pid_t session, pid_t group)
{
	struct level *level = &b->levels[level_of(p, node)];
	struct member *m = &p->members[node];
	pid_t want = plan_birth(p, node);

	if (is_leader(p, node) && want != FREE && want != session)
		return plan_bad_shape(p, node, "sharing and sessions contradict each other");
	if (creator != PLAN_COORDINATOR && !plan_ns_within(ns_of(p, node), ns_of(p, creator)))
		return plan_bad_shape(p, node, "who made it is in a pid namespace below its own");
	m->birth_session = session;
	m->group = m->birth_group = group;
	m->made = true;
	if (creator == PLAN_COORDINATOR) {
		plan_add_step(p, PLAN_CLONE, creator, node);
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

/* ---- placeholders that stand in for the dead ---- */

/* those that are there, the outermost first */
struct stand_ins {
	uint32_t maker; /* of the outermost */
	size_t n;
	struct {
		uint32_t node, number;
		uint32_t reaper; /* who gets the children that it leaves behind; PLAN_NONE */
	} all[PLAN_STAND_INS_MAX + 1];
};

/* they can make it for its parent, by CLONE_PARENT or by dying: it shares nothing with anybody */
static bool has_stand_ins(const struct planner *p, uint32_t x)
{
	const struct plan_node *n = &p->plan->nodes[x];
	const struct member *m = &p->members[x];

	return (m->orphan || p->tasks[x].n_stand_ins) &&
	       p->tasks[x].n_stand_ins <= PLAN_STAND_INS_MAX && !n->flags &&
	       n->exit_signal == SIGCHLD && (m->orphan || n->creator == m->parent) &&
	       n->ns == ns_of(p, n->creator) && !m->birth_in;
}

/* all but the first @n end */
static void end_stand_ins(struct planner *p, struct stand_ins *s, size_t n)
{
	for (; s->n > n; s->n--)
		plan_add_step(p, PLAN_EXIT, s->all[s->n - 1].node, s->all[s->n - 1].reaper);
}

/*
 * What CLONE_PARENT makes has the parent of its maker, and the signal that this sends when it ends,
 * clone(2).
 */
static void make_for_parent(struct planner *p, uint32_t node, uint32_t creator)
{
	struct plan_node *n = &p->plan->nodes[node];

	n->creator = creator;
	n->flags |= CLONE_PARENT;
	n->exit_signal = 0;
}

/* the placeholders that @x wants, and no others; it becomes the last one's product */
static void go_to_stand_ins(struct planner *p, struct stand_ins *s, uint32_t x, pid_t group)
{
	const struct plan_task *t = &p->tasks[x];
	uint32_t maker = p->plan->nodes[x].creator;
	const struct plan_pid any = { .ns = ns_of(p, maker) };
	uint32_t reaper = p->members[x].orphan ? p->members[p->members[x].parent].leader
	                                       : PLAN_NONE;
	size_t same = 0, wanted = t->n_stand_ins;

	while (s->n && s->maker == maker && same < s->n && same < t->n_stand_ins &&
	       s->all[same].number == t->stand_ins[same])
		same++;
	/* what one leaves behind goes to one process: another makes it, if need be */
	bool engaged = same && same == wanted && s->all[same - 1].reaper != PLAN_NONE &&
	               s->all[same - 1].reaper != reaper;
	if (reaper != PLAN_NONE && (!wanted || engaged))
		wanted++;
	end_stand_ins(p, s, same);
	s->maker = maker;
	for (; s->n < wanted; s->n++) {
		uint32_t creator = s->n ? s->all[s->n - 1].node : maker;
		uint32_t node = plan_add_placeholder(p, creator, any, group);
		p->plan->nodes[node].exit_signal = SIGCHLD;
		if (s->n)
			make_for_parent(p, node, creator);
		s->all[s->n].node = node;
		s->all[s->n].number = s->n < t->n_stand_ins ? t->stand_ins[s->n] : 0;
		s->all[s->n].reaper = PLAN_NONE;
	}
	if (reaper == PLAN_NONE) {
		make_for_parent(p, x, s->all[s->n - 1].node);
		return;
	}
	p->plan->nodes[x].creator = s->all[s->n - 1].node;
	s->all[s->n - 1].reaper = reaper;
}

/* ---- what a process makes ---- */

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
		struct level *level = &b->levels[level_of(p, x)];
		if (p->members[x].made || (early && !plan_ns_ready(p, x)))
			continue;
		if (!early && level_of(p, x) > level_of(p, process)) {
			*array_push(level->due, level->n_due) = x;
			continue;
		}
		if (has_stand_ins(p, x))
			go_to_stand_ins(p, &stand_ins, x, group);
		r = make(p, b, p->plan->nodes[x].creator, x, session, group);
	}
	end_stand_ins(p, &stand_ins, 0);
	return r;
}

/* a product that must be early and cannot be made yet; PLAN_NONE: there is none */
static uint32_t find_blocking(const struct planner *p, uint32_t process)
{
	const struct member *m = &p->members[process];

	for (uint32_t t = process; t != PLAN_NONE;
	     t = t == process ? m->first_thread : p->members[t].next_thread) {
		for (uint32_t x = p->members[t].first_product; x != PLAN_NONE;
		     x = p->members[x].next_product) {
			pid_t want = plan_birth(p, x);
			if (is_leader(p, x) && !p->members[x].made && leads_session(p, process) &&
			    want != FREE && want != m->sid)
				return x;
		}
	}
	return PLAN_NONE;
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

/* the processes that a thread makes, @early or not, behind those in *list */
static void add_products(const struct planner *p, uint32_t process, uint32_t maker, bool early,
                         uint32_t **list, size_t *n)
{
	const struct member *m = &p->members[process];

	for (uint32_t x = p->members[maker].first_product; x != PLAN_NONE;
	     x = p->members[x].next_product) {
		pid_t want = plan_birth(p, x);
		bool is_early = leads_session(p, process) && want != FREE && want != m->sid;
		if (is_leader(p, x) && is_early == early)
			*array_push(*list, *n) = x;
	}
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
static int make_all_products(struct planner *p, struct building *b, uint32_t process, bool early)
{
	_cleanup_(free_p) uint32_t *list = NULL;
	size_t n = 0;

	add_products(p, process, process, early, &list, &n);
	for (uint32_t t = p->members[process].first_thread; t != PLAN_NONE;
	     t = p->members[t].next_thread)
		add_products(p, process, t, early, &list, &n);
	if (n)
		qsort_r(list, n, sizeof(*list), by_turn, p);
	return make_products(p, b, process, list, n, early);
}

/* what of a higher level makes, now that this level's turn has come; *ret: anything at all */
static int make_due(struct planner *p, struct building *b, struct level *level, bool *ret)
{
	size_t n = level->n_due;

	level->n_due = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t x = level->due[i], maker = p->plan->nodes[x].creator;
		const struct member *m = &p->members[p->members[maker].leader];
		if (!plan_ns_ready(p, x) || !plan_group_ready(p, x)) {
			level->due[level->n_due++] = x;
			continue;
		}
		int r = make(p, b, maker, x, m->sid, m->group);
		if (r < 0)
			return r;
		*ret = true;
	}
	return 0;
}

/* ---- orphans ---- */

static uint32_t reaper_of(const struct planner *p, const struct foreign *f)
{
	return p->members[p->members[f->node].parent].leader;
}

/* the maker makes them; unless it ends itself, by a child that ends in the reaper's namespace */
static int make_orphans(struct planner *p, struct building *b, const struct orphans *o)
{
	uint32_t reaper = reaper_of(p, &p->foreign[o->start]), maker = o->maker;
	int r = 0;

	if (!o->maker_ends)
		maker = plan_add_placeholder(p, o->maker,
		                             (struct plan_pid){ .ns = ns_of(p, reaper) },
		                             p->members[o->maker].group);
	for (size_t i = o->start; r == 0 && i < o->end; i++) {
		const struct foreign *f = &p->foreign[i];
		p->plan->nodes[f->node].creator = maker;
		r = make(p, b, maker, f->node, f->sid, p->members[maker].group);
	}
	if (!o->maker_ends)
		plan_add_step(p, PLAN_EXIT, maker, reaper);
	return r;
}

/* now, or when the namespaces that they are in are there */
static int plan_orphans(struct planner *p, struct building *b, struct orphans o)
{
	unsigned level = level_of(p, p->foreign[o.start].node);

	if (level < b->level || level == level_of(p, o.maker))
		return make_orphans(p, b, &o);
	*array_push(b->levels[level].orphans, b->levels[level].n_orphans) = o;
	return 0;
}

static int make_late_orphans(struct planner *p, struct building *b, struct level *level, bool *ret)
{
	size_t n = level->n_orphans;

	level->n_orphans = 0;
	for (size_t k = 0; k < n; k++) {
		const struct orphans o = level->orphans[k];
		bool ready = p->members[reaper_of(p, &p->foreign[o.start])].made;
		for (size_t i = o.start; i < o.end; i++)
			ready = ready && plan_ns_ready(p, p->foreign[i].node) &&
			        plan_group_ready(p, p->foreign[i].node);
		if (!ready) {
			level->orphans[level->n_orphans++] = o;
			continue;
		}
		int r = make_orphans(p, b, &o);
		if (r < 0)
			return r;
		*ret = true;
	}
	return 0;
}

static int by_session(const void *a, const void *b, void *arg)
{
	const struct foreign *x = a, *y = b;
	const struct planner *p = arg;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	/* the deepest reaper last; it is the one that makes a missing leader */
	unsigned k = level_of(p, reaper_of(p, x)), l = level_of(p, reaper_of(p, y));
	if (k != l)
		return k < l ? -1 : 1;
	uint32_t i = p->members[reaper_of(p, x)].enter, j = p->members[reaper_of(p, y)].enter;
	if (i != j)
		return i < j ? -1 : 1;
	k = level_of(p, x->node);
	l = level_of(p, y->node);
	if (k != l)
		return k < l ? -1 : 1;
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

/* of one reaper, and on one level */
static size_t reaper_end(const struct planner *p, size_t start, size_t limit)
{
	const struct foreign *first = &p->foreign[start];
	size_t end = start;

	while (end < limit && reaper_of(p, &p->foreign[end]) == reaper_of(p, first) &&
	       level_of(p, p->foreign[end].node) == level_of(p, first->node))
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
	size_t limit = i < p->n_foreign ? session_end(p, i) : i;
	int r = 0;

	if (limit == i || p->foreign[i].sid != sid)
		return 0;
	for (size_t end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		r = plan_orphans(p, b, (struct orphans){ maker, false, i, end });
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
	size_t limit = session_end(p, start);
	const struct plan_pid *who = plan_dead_leader(p, p->foreign[start].sid);
	uint32_t deepest = reaper_of(p, &p->foreign[limit - 1]), above = deepest, leader;
	pid_t sid = p->foreign[start].sid;
	int r = 0;

	while (!plan_ns_within(who->ns, ns_of(p, above)))
		above = p->members[p->members[above].parent].leader;
	leader = plan_add_placeholder(p, above, *who, sid);
	map_put(p->by_tid, &sid, sizeof(sid), (void *)(uintptr_t)(leader + 1ul));
	plan_add_step(p, PLAN_SETSID, leader, PLAN_NONE);
	*array_push(b->leaders, b->n_leaders) = leader;
	*array_push(b->leaders, b->n_leaders) = deepest;
	for (size_t i = start, end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		uint32_t reaper = reaper_of(p, &p->foreign[i]);
		if (!comes_to(p, above, who->ns, reaper))
			return plan_bad_shape(p, p->foreign[i].node,
			                      "orphans of one session went to unrelated reapers");
		bool ends = reaper == deepest && who->ns == ns_of(p, reaper);
		r = plan_orphans(p, b, (struct orphans){ leader, ends, i, end });
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
		if (p->foreign[i].sid == OUTSIDE || plan_find(p, p->foreign[i].sid) != PLAN_NONE)
			continue;
		uint32_t reaper = reaper_of(p, &p->foreign[end - 1]);
		uintptr_t next = (uintptr_t)map_get(b->dead_sessions, &reaper, sizeof(reaper));
		b->next_dead[i] = next;
		map_put(b->dead_sessions, &reaper, sizeof(reaper), (void *)(uintptr_t)(i + 1));
	}
}

/* ---- processes ---- */

static int build_orphans(struct planner *p, struct building *b, uint32_t process)
{
	uintptr_t dead = (uintptr_t)map_get(b->dead_sessions, &process, sizeof(process));
	int r = 0;

	if (leads_session(p, process))
		r = orphans_of_session(p, b, process, p->tasks[process].tid);
	else if (process == p->plan->root && p->members[process].sid == OUTSIDE)
		r = orphans_of_session(p, b, process, OUTSIDE);
	while (r == 0 && dead) {
		size_t start = dead - 1;
		r = orphans_of_dead(p, b, start);
		dead = b->next_dead[start];
	}
	return r;
}

static int build_process(struct planner *p, struct building *b, uint32_t process)
{
	int r;

	make_threads(p, process);
	r = make_all_products(p, b, process, true);
	if (r == 0) /* those in a namespace whose init was among them */
		r = make_all_products(p, b, process, true);
	if (r < 0)
		return r;
	uint32_t blocking = find_blocking(p, process);
	if (blocking != PLAN_NONE) {
		struct level *level = &b->levels[level_of(p, blocking)];
		*array_push(level->blocked, level->n_blocked) = process;
		return 0;
	}
	p->members[process].built = true;
	if (leads_session(p, process)) {
		p->members[process].group = p->tasks[process].tid;
		plan_add_step(p, PLAN_SETSID, process, PLAN_NONE);
	}
	r = make_all_products(p, b, process, false);
	return r < 0 ? r : build_orphans(p, b, process);
}

static int build_blocked(struct planner *p, struct level *level, bool *ret_any)
{
	size_t n = level->n_blocked;
	int r = 0;

	level->n_blocked = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		uint32_t process = level->blocked[i], blocking = find_blocking(p, process);
		if (!plan_ns_ready(p, blocking)) {
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
		r = make_late_orphans(p, b, level, ret_any);
	return r < 0 ? r : build_blocked(p, level, ret_any);
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
	}
	plan_finish_groups(p, b->level);
	return r;
}

static unsigned deepest_level(const struct planner *p)
{
	unsigned level = 0;

	for (uint32_t i = 0; i < p->n; i++)
		if (level_of(p, i) > level)
			level = level_of(p, i);
	return level;
}

static int build_all(struct planner *p, struct building *b)
{
	unsigned deepest = deepest_level(p);
	uint32_t root = p->plan->root;
	int r;

	place_dead_sessions(p, b);
	r = make(p, b, PLAN_COORDINATOR, root,
	         leads_session(p, root) ? plan_birth(p, root) : OUTSIDE, OUTSIDE);
	*array_push(b->levels[0].queue, b->levels[0].n_queue) = root;
	for (b->level = 0; r == 0 && b->level <= deepest; b->level++)
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
		free(b->levels[i].blocked);
	}
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
