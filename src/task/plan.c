/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner. See plan.h.
 *
 * Three things are decided here. (1) Sessions: a process is born into its creator's session, which
 * is the creator's present one or, before its setsid(2), the one it was born into itself. From the
 * leaves up each process learns into which session it must be born; where no creator can do that,
 * the process was an orphan: it is made by a placeholder that lives in that session and ends.
 * (2) Sharing: within a family (a process and its threads; a task and its children) tasks are made
 * along a maximum spanning tree of what they share, which connects the holders of each object
 * whenever that is possible at all (the junction tree property). (3) Process groups, when all
 * processes are there.
 */
#include "task/plan.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define OUTSIDE ((pid_t)-1) /* the session or group of the restart itself */
#define FREE    ((pid_t)0)  /* any session will do */

struct member {                               /* what the planner knows of a task */
	uint32_t leader, parent;              /* nodes */
	uint32_t first_child, next_child;     /* of a process: processes; by leader's node */
	uint32_t first_thread, next_thread;   /* of a process: its threads but the leader */
	uint32_t first_product, last_product; /* of a task: what it makes, in order */
	uint32_t next_product;
	uint32_t enter, leave; /* interval of the depth-first walk, for descent */
	pid_t sid, pgid;       /* OUTSIDE where that is so */
	pid_t birth;           /* leaders of sessions: the session to be born into */
	bool foreign;          /* made by a placeholder, then handed to its parent */
	bool made;
	pid_t group, birth_group; /* where it is while steps are played */
	pid_t birth_session;
};

struct foreign { /* a process that comes to its parent as an orphan */
	uint32_t node;
	pid_t sid;
};

struct planner {
	const struct plan_task *tasks;
	size_t n;
	struct member *members; /* per node, placeholders included */
	struct map *by_tid;     /* -> node + 1 */
	uint32_t *order;        /* processes, parents first */
	size_t n_order;
	struct foreign *foreign;
	size_t n_foreign;
	struct plan *plan;
	struct error *err;
};

static const uint64_t share_flags[PLAN_N_SHARES] = {
	[PLAN_VM] = CLONE_VM,           [PLAN_FILES] = CLONE_FILES, [PLAN_FS] = CLONE_FS,
	[PLAN_SIGHAND] = CLONE_SIGHAND, [PLAN_IO] = CLONE_IO,       [PLAN_SYSVSEM] = CLONE_SYSVSEM,
};
static const char *const share_names[PLAN_N_SHARES] = {
	[PLAN_VM] = "address space", [PLAN_FILES] = "descriptor table",
	[PLAN_FS] = "cwd and umask", [PLAN_SIGHAND] = "signal handlers",
	[PLAN_IO] = "io context",    [PLAN_SYSVSEM] = "SysV undo list",
};

uint64_t plan_share_flag(enum plan_share share)
{
	return share_flags[share];
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	free(plan->nodes);
	free(plan->steps);
	free(plan);
}

static int invalid(struct planner *p, uint32_t node, const char *why)
{
	error_refuse(p->err, CODE_image_invalid, "the tree contradicts itself: %s", why);
	error_task(p->err, p->tasks[node].tid, NULL);
	p->err->errnum = EBADMSG;
	return -EBADMSG;
}

static int bad_shape(struct planner *p, uint32_t node, const char *why)
{
	int r = error_refuse(p->err, CODE_tree_shape, "%s", why);

	error_task(p->err, p->tasks[node].tid, NULL);
	error_hint(p->err, "checkpoint a smaller subtree, or the whole container");
	return r;
}

static bool is_leader(const struct planner *p, uint32_t node)
{
	return p->tasks[node].tid == p->tasks[node].tgid;
}

static bool leads_session(const struct planner *p, uint32_t node)
{
	return p->members[node].sid == p->tasks[node].tid;
}

static uint32_t find(const struct planner *p, pid_t tid)
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
			return invalid(p, i, "a tid is not positive");
		if (p->tasks[i].sid < 0 || p->tasks[i].pgid < 0)
			return invalid(p, i, "a session or group is negative");
		if (map_get(p->by_tid, &tid, sizeof(tid)))
			return invalid(p, i, "a tid occurs twice");
		map_put(p->by_tid, &tid, sizeof(tid), (void *)(uintptr_t)(i + 1));
		p->members[i] = (struct member){ .leader = PLAN_NONE,
			                         .parent = PLAN_NONE,
			                         .first_child = PLAN_NONE,
			                         .next_child = PLAN_NONE,
			                         .first_thread = PLAN_NONE,
			                         .next_thread = PLAN_NONE,
			                         .first_product = PLAN_NONE,
			                         .last_product = PLAN_NONE,
			                         .next_product = PLAN_NONE };
	}
	return 0;
}

static int link_thread(struct planner *p, uint32_t i)
{
	struct member *m = &p->members[i];
	uint32_t leader = find(p, p->tasks[i].tgid);

	if (leader == PLAN_NONE || !is_leader(p, leader))
		return invalid(p, i, "a thread's leader is missing");
	m->leader = leader;
	if (leader == i)
		return 0;
	if (p->tasks[leader].state == PLAN_ZOMBIE || p->tasks[i].state != PLAN_LIVE)
		return invalid(p, i, "a thread of a dead process");
	m->next_thread = p->members[leader].first_thread;
	p->members[leader].first_thread = i;
	return 0;
}

static int link_parent(struct planner *p, uint32_t i)
{
	struct member *m = &p->members[i];

	if (!is_leader(p, i))
		return 0;
	if (p->tasks[i].parent == 0) {
		if (p->plan->root != PLAN_NONE)
			return invalid(p, i, "two roots");
		p->plan->root = i;
		return 0;
	}
	m->parent = find(p, p->tasks[i].parent);
	if (m->parent == PLAN_NONE)
		return invalid(p, i, "a parent is missing");
	if (p->tasks[m->parent].state == PLAN_ZOMBIE)
		return invalid(p, i, "a zombie has children");
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
		if (t->pgid == 0 ||
		    (m->sid == OUTSIDE && t->pgid == root->pgid && find(p, t->pgid) == PLAN_NONE))
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
	return p->n_order == processes ? 0 : invalid(p, p->plan->root, "parents form a ring");
}

/* what a dead leader had is gone: it gets what its first thread has, so that it can make threads */
static int complete_dead_leaders(struct planner *p, struct plan_task *tasks)
{
	for (uint32_t i = 0; i < p->n; i++) {
		if (tasks[i].state != PLAN_DEAD_LEADER)
			continue;
		if (!is_leader(p, i) || p->members[i].first_thread == PLAN_NONE)
			return invalid(p, i, "a dead leader without threads");
		memcpy(tasks[i].share, tasks[p->members[i].first_thread].share,
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
			return invalid(p, i, "a thread with another address space than its leader");
		if (t->sid != l->sid || t->pgid != l->pgid)
			return invalid(p, i, "a thread with another session than its leader");
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
		return invalid(p, 0, "no root");
	const struct plan_task *root = &p->tasks[p->plan->root];
	if (root->sid != root->tid && find(p, root->sid) != PLAN_NONE)
		return invalid(p, p->plan->root, "the root is in a session that a child began");
	name_outside(p);
	r = walk(p);
	if (r == 0)
		r = complete_dead_leaders(p, tasks);
	return r < 0 ? r : check_sharing(p);
}

/* ---- sessions ---- */

static bool descends(const struct planner *p, uint32_t node, uint32_t ancestor)
{
	const struct member *n = &p->members[node], *a = &p->members[ancestor];

	return n->enter >= a->enter && n->enter < a->leave;
}

/* the session into which a process must be born; FREE for a leader whose children do not care */
static pid_t birth_of(const struct planner *p, uint32_t node)
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

/* decides how a child is born, its own birth session being known */
static int settle_birth(struct planner *p, uint32_t parent, uint32_t child)
{
	struct member *m = &p->members[parent];
	pid_t want = birth_of(p, child);
	/* orphans go to the first thread that lives; a child of another one was made by it */
	bool left_to_thread = p->members[child].parent != parent &&
	                      p->tasks[parent].state != PLAN_DEAD_LEADER;
	uint32_t leader;

	if (want == FREE || want == m->sid)
		return 0;
	leader = want == OUTSIDE ? PLAN_NONE : find(p, want);
	if (leader != PLAN_NONE && !leads_session(p, leader))
		return invalid(p, child, "a session whose leader is not in it");
	if (want != OUTSIDE && want != m->birth &&
	    (leader == PLAN_NONE ? !left_to_thread && !began_in(p, parent, want)
	                         : descends(p, leader, parent))) {
		if (left_to_thread)
			return bad_shape(p, child, "it was left to a thread that leads none");
		p->members[child].foreign = true;
		*array_push(p->foreign, p->n_foreign) = (struct foreign){ child, want };
		return 0;
	}
	if (!leads_session(p, parent))
		return bad_shape(p, child, "no relative could have put it into its session");
	if (m->birth != FREE && m->birth != want)
		return bad_shape(p, parent, "its children are from three sessions");
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

static int settle_sessions(struct planner *p)
{
	for (size_t i = p->n_order; i-- > 0;) {
		uint32_t node = p->order[i];
		int r = settle_children(p, node, true);
		if (r == 0)
			r = settle_children(p, node, false);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- sharing ---- */

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
 * Members of a family that share something with another member that they do not share with its
 * head; all others are made by the head. Returns how many; in the order given.
 */
static size_t find_entangled(struct planner *p, uint32_t head, const uint32_t *family, size_t n,
                             uint32_t *ret)
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
			add_product(p, head, family[i]);
	free(entangled);
	map_free(seen);
	return n_ret;
}

/* Prim's algorithm: the heaviest edge from what is connected to what is not, the head first */
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
			if (heavy[i] > heavy[pick])
				pick = i;
		uint32_t node = rest[pick];
		add_product(p, best[pick], node);
		n--;
		rest[pick] = rest[n];
		best[pick] = best[n];
		heavy[pick] = heavy[n];
		for (size_t i = 0; i < n; i++) {
			int w = weight(p, node, rest[i]);
			if (w > heavy[i]) {
				heavy[i] = w;
				best[i] = node;
			}
		}
	}
	free(best);
	free(heavy);
}

static void connect_family(struct planner *p, uint32_t head, const uint32_t *family, size_t n)
{
	uint32_t *rest = xcalloc(n + 1, sizeof(*rest));
	size_t n_rest = find_entangled(p, head, family, n, rest);

	span(p, head, rest, n_rest);
	free(rest);
}

/* threads of one process; then, per thread, the children it made */
static void connect_process(struct planner *p, uint32_t leader, uint32_t *scratch)
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
	connect_family(p, leader, scratch, n);
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

static void connect_children(struct planner *p, uint32_t process, uint32_t *scratch)
{
	size_t n = 0;

	for (uint32_t c = p->members[process].first_child; c != PLAN_NONE;
	     c = p->members[c].next_child)
		if (!p->members[c].foreign)
			scratch[n++] = c;
	qsort_r(scratch, n, sizeof(*scratch), by_parent, p);
	for (size_t i = 0, end; i < n; i = end) {
		uint32_t parent = p->members[scratch[i]].parent;
		for (end = i; end < n && p->members[scratch[end]].parent == parent; end++)
			;
		connect_family(p, parent, scratch + i, end - i);
	}
}

static int set_clone(struct planner *p, uint32_t i)
{
	struct plan_node *node = &p->plan->nodes[i];
	const struct plan_task *t = &p->tasks[i];

	node->exit_signal = t->exit_signal;
	if (node->creator == PLAN_COORDINATOR)
		return 0; /* the root; and foreign ones, whose placeholder shares nothing */
	node->flags = shared(t, &p->tasks[node->creator]);
	if (!is_leader(p, i)) {
		node->flags |= CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
		node->exit_signal = 0;
	} else if (node->creator != p->members[i].parent) {
		/* CLONE_PARENT takes the exit signal of the creator's process, clone(2) */
		uint32_t maker = p->members[node->creator].leader;
		if (p->tasks[maker].exit_signal != t->exit_signal || maker == p->plan->root)
			return bad_shape(p, i, "it shares with a sibling of another exit signal");
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

static int settle_sharing(struct planner *p)
{
	uint32_t *scratch = xcalloc(p->n + 1, sizeof(*scratch));

	for (size_t i = 0; i < p->n_order; i++) {
		connect_process(p, p->order[i], scratch);
		connect_children(p, p->order[i], scratch);
	}
	free(scratch);
	for (uint32_t i = 0; i < p->n; i++) {
		int r = set_clone(p, i);
		if (r < 0)
			return r;
	}
	return check_gaps(p);
}

/* ---- steps ---- */

static struct plan_step *add_step(struct planner *p, enum plan_action action, uint32_t actor,
                                  uint32_t node)
{
	struct plan_step *s = array_push(p->plan->steps, p->plan->n_steps);

	*s = (struct plan_step){ .action = action, .actor = actor, .node = node };
	return s;
}

static uint32_t add_placeholder(struct planner *p, uint32_t creator, pid_t tid, pid_t group)
{
	uint32_t node = p->plan->n_nodes;
	size_t n_members = node;
	struct plan_node *n = array_push(p->plan->nodes, p->plan->n_nodes);

	*n = (struct plan_node){ .tid = tid, .leader = node, .creator = creator };
	array_push(p->members, n_members)->group = group;
	add_step(p, PLAN_CLONE, creator, node);
	return node;
}

/* a clone, and in which session and group the child finds itself */
static int make(struct planner *p, uint32_t creator, uint32_t node, pid_t session, pid_t group)
{
	struct member *m = &p->members[node];
	pid_t want = birth_of(p, node);

	if (is_leader(p, node) && want != FREE && want != session)
		return bad_shape(p, node, "sharing and sessions contradict each other");
	m->birth_session = session;
	m->group = m->birth_group = group;
	m->made = true;
	add_step(p, PLAN_CLONE, creator, node);
	return 0;
}

/* what the tasks of a process make in its session of birth (@early), or in its own */
static int make_products(struct planner *p, uint32_t process, uint32_t maker, bool early,
                         uint32_t **queue, size_t *n_queue)
{
	struct member *m = &p->members[process];

	for (uint32_t x = p->members[maker].first_product; x != PLAN_NONE;
	     x = p->members[x].next_product) {
		pid_t want = birth_of(p, x);
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
			add_step(p, PLAN_CLONE, at, x);
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
		ghost = add_placeholder(p, maker, 0, group);
	for (; r == 0 && i < end; i++) {
		p->plan->nodes[p->foreign[i].node].creator = ghost;
		r = make(p, ghost, p->foreign[i].node, p->foreign[i].sid, group);
		*array_push(*queue, *n_queue) = p->foreign[i].node;
	}
	if (!maker_ends)
		add_step(p, PLAN_EXIT, ghost, reaper);
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

	leader = add_placeholder(p, deepest, sid, sid);
	map_put(p->by_tid, &sid, sizeof(sid), (void *)(uintptr_t)(leader + 1ul));
	add_step(p, PLAN_SETSID, leader, PLAN_NONE);
	*array_push(*leaders, *n_leaders) = leader;
	*array_push(*leaders, *n_leaders) = deepest;
	for (size_t i = start, end; r == 0 && i < limit; i = end) {
		end = reaper_end(p, i, limit);
		uint32_t reaper = reaper_of(p, &p->foreign[i]);
		if (!descends(p, deepest, reaper))
			return bad_shape(p, p->foreign[i].node,
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
		add_step(p, PLAN_SETSID, process, PLAN_NONE);
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
		if (find(p, p->foreign[i].sid) != PLAN_NONE)
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
	         leads_session(p, p->plan->root) ? birth_of(p, p->plan->root) : OUTSIDE, OUTSIDE);
	*array_push(b->queue, b->n_queue) = p->plan->root;
	for (size_t i = 0; r == 0 && i < b->n_queue; i++)
		r = build_process(p, b, b->queue[i]);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		if (!p->members[i].made)
			r = bad_shape(p, i, "nobody could have made it");
	return r;
}

/* ---- process groups ---- */

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
		return invalid(p, node, "a session leader in another's process group");
	if (m->pgid == OUTSIDE && m->sid != OUTSIDE)
		return invalid(p, node, "a process group outside its session");
	if (m->pgid <= 0 && m->pgid != OUTSIDE)
		return invalid(p, node, "a process group that is not positive");
	if (m->pgid == OUTSIDE)
		return 0;
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		*g = (struct group){ m->pgid, m->sid, node, PLAN_NONE, false };
		map_put(groups, &m->pgid, sizeof(m->pgid), g);
	}
	if (g->session != m->sid)
		return invalid(p, node, "a process group in two sessions");
	return 0;
}

static void enter_group(struct planner *p, uint32_t node, pid_t pgid)
{
	if (p->members[node].group == pgid)
		return;
	add_step(p, PLAN_SETPGID, node, PLAN_NONE)->pgid = pgid == OUTSIDE ? 0 : pgid;
	p->members[node].group = pgid;
}

static int found_group(struct planner *p, struct group *g)
{
	uint32_t leader = find(p, g->pgid);

	if (leader == PLAN_NONE) {
		leader = g->placeholder = add_placeholder(p, g->member, g->pgid,
		                                          p->members[g->member].group);
	} else if (leader < p->n) {
		if (!is_leader(p, leader) || p->members[leader].sid != g->session)
			return invalid(p, g->member,
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
		*array_push(*placeholders, *n_placeholders) = add_placeholder(p, node, 0, g->pgid);
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

static int finish_groups(struct planner *p)
{
	struct map *groups = map_new();
	uint32_t *placeholders = NULL;
	size_t n = 0, cursor = 0;
	int r = settle_groups(p, groups, &placeholders, &n);

	for (size_t i = 0; r == 0 && i < n; i++)
		add_step(p, PLAN_EXIT, placeholders[i], PLAN_NONE);
	for (void *g; (g = map_next(groups, &cursor));)
		free(g);
	map_free(groups);
	free(placeholders);
	return r;
}

static int make_steps(struct planner *p)
{
	struct building b = { 0 };
	int r = build_all(p, &b);

	if (r == 0)
		r = finish_groups(p);
	for (size_t i = 0; r == 0 && i < b.n_leaders; i += 2)
		add_step(p, PLAN_EXIT, b.leaders[i], b.leaders[i + 1]);
	for (uint32_t i = 0; r == 0 && i < p->n; i++)
		if (p->tasks[i].state != PLAN_LIVE)
			add_step(p, PLAN_DIE, i, PLAN_NONE);
	free(b.queue);
	free(b.leaders);
	free(b.next_dead);
	map_free(b.dead_sessions);
	return r;
}

static void name_nodes(struct planner *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct plan_node *node = array_push(p->plan->nodes, p->plan->n_nodes);
		*node = (struct plan_node){ .tid = p->tasks[i].tid,
			                    .is_task = true,
			                    .leader = i,
			                    .creator = PLAN_COORDINATOR };
	}
}

int plan_make(const struct plan_task *tasks, size_t n, struct plan **ret, struct error *err)
{
	struct plan_task *copy = xmemdup(tasks, n * sizeof(*tasks));
	struct planner p = { .tasks = copy, .n = n, .by_tid = map_new(), .err = err };
	int r;

	p.plan = xcalloc(1, sizeof(*p.plan));
	p.plan->root = PLAN_NONE;
	for (size_t i = 0; i < n;)
		array_push(p.members, i);
	name_nodes(&p);
	r = n ? read_input(&p, copy) : error_raise(err, EBADMSG, "a tree without tasks");
	for (uint32_t i = 0; r == 0 && i < n; i++)
		p.plan->nodes[i].leader = p.members[i].leader;
	if (r == 0)
		r = settle_sessions(&p);
	if (r == 0)
		r = settle_sharing(&p);
	if (r == 0)
		r = make_steps(&p);
	map_free(p.by_tid);
	free(p.members);
	free(p.order);
	free(p.foreign);
	free(copy);
	if (r < 0) {
		plan_free(p.plan);
		return error_trace(err, r);
	}
	*ret = take_ptr(p.plan);
	return 0;
}
