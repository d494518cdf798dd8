/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner against a model of the kernel: random histories of clone, setsid, setpgid,
 * unshare and exit lead to trees; the plan of each, played on a fresh model, must lead to the same.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "task/plan.h"
#include "util/alloc.h"

#define MAX       1600
#define NODES_MAX 3200
#define OUT_SID   7 /* the session and group in which the coordinator was, and is */
#define OUT_PGID  8

struct thread {
	pid_t tid, tgid, parent, sid, pgid;
	int exit_signal;
	enum { RUNS, ZOMBIE, GONE } state;
	bool subreaper;
	uint32_t share[PLAN_N_SHARES];
	const struct plan_ns *ns;
};

/* kinds of histories */
enum {
	SHARING = 1,
	NESTED = 2,     /* pid namespaces */
	WILD = 4,       /* CLONE_PARENT, subreapers no more, and a root that may do as it likes */
	LEADS = 8,      /* the root leads its session */
	CONTAINER = 16, /* it is the init of its pid namespace, which others enter from outside */
};

struct model {
	struct thread t[MAX];
	size_t n;
	uint32_t next_share;
	pid_t out_sid, out_pgid, root;
	unsigned mode;
	struct plan_ns spaces[MAX]; /* pid namespaces below the root's; init is a tid here */
	size_t n_spaces;
};

static const uint64_t flags_of[] = { CLONE_VM,      CLONE_FILES, CLONE_FS,
	                             CLONE_SIGHAND, CLONE_IO,    CLONE_SYSVSEM };

static struct thread *get(struct model *m, pid_t tid)
{
	for (size_t i = m->n; i-- > 0;)
		if (m->t[i].tid == tid && m->t[i].state != GONE)
			return &m->t[i];
	return NULL;
}

/* dead or alive; NULL: outside */
static struct thread *recall(struct model *m, pid_t tid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].tid == tid)
			return &m->t[i];
	return NULL;
}

/* the number that @tid has in a namespace; 0: it cannot be seen there */
static int32_t number_in(struct model *m, pid_t tid, const struct plan_ns *ns)
{
	const struct thread *t = recall(m, tid);

	if (!t || !plan_ns_within(t->ns, ns))
		return 0;
	return ns->init == (uint32_t)tid ? 1 : tid + (int32_t)ns->level * 100000;
}

/* whether a process or group, by its leader, can be named in a namespace */
static bool is_visible(struct model *m, pid_t tid, const struct plan_ns *ns)
{
	return ns ? number_in(m, tid, ns) != 0 : m->root != 1 || tid != m->out_pgid;
}

static bool group_exists(struct model *m, pid_t pgid, pid_t sid)
{
	if (pgid == m->out_pgid && (sid == 0 || sid == m->out_sid)) /* the coordinator's */
		return true;
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].state != GONE && m->t[i].pgid == pgid &&
		    (sid == 0 || m->t[i].sid == sid))
			return true;
	return false;
}

static struct thread *add(struct model *m, pid_t tid)
{
	assert_true(m->n < MAX);
	struct thread *t = &m->t[m->n++];
	*t = (struct thread){ .tid = tid, .tgid = tid, .exit_signal = SIGCHLD };
	for (int k = 0; k < PLAN_N_SHARES; k++)
		t->share[k] = ++m->next_share;
	return t;
}

static struct thread *clone_model(struct model *m, struct thread *c, pid_t tid, uint64_t flags,
                                  int exit_signal)
{
	assert_int_equal(c->state, RUNS);
	assert_null(get(m, tid));
	assert_false((flags & CLONE_SIGHAND) && !(flags & CLONE_VM));
	assert_false((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND));
	struct thread *t = add(m, tid);
	t->sid = c->sid;
	t->pgid = c->pgid;
	t->ns = c->ns;
	t->parent = c->tid;
	t->exit_signal = exit_signal;
	if (flags & CLONE_THREAD) {
		t->tgid = c->tgid;
		t->parent = 0;
	} else if (flags & CLONE_PARENT) {
		t->parent = get(m, c->tgid)->parent;
		t->exit_signal = get(m, c->tgid)->exit_signal;
	}
	for (int k = 0; k < PLAN_N_SHARES; k++)
		if (flags & flags_of[k])
			t->share[k] = c->share[k];
	return t;
}

static void set_process(struct model *m, pid_t tgid, pid_t sid, pid_t pgid)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->t[i].tgid != tgid || m->t[i].state == GONE)
			continue;
		m->t[i].sid = sid;
		m->t[i].pgid = pgid;
	}
}

static bool setsid_model(struct model *m, struct thread *t)
{
	if (t->tgid == t->sid || group_exists(m, t->tgid, 0))
		return false;
	set_process(m, t->tgid, t->tgid, t->tgid);
	return true;
}

static bool setpgid_model(struct model *m, struct thread *t, pid_t pgid)
{
	if (t->sid == t->tgid || !is_visible(m, pgid, t->ns) ||
	    (pgid != t->tgid && !group_exists(m, pgid, t->sid)))
		return false;
	set_process(m, t->tgid, t->sid, pgid);
	return true;
}

/* the parent does it for its child */
static bool setpgid_child_model(struct model *m, struct thread *t, struct thread *child, pid_t pgid)
{
	const struct thread *parent = child->parent ? get(m, child->parent) : NULL;

	if (child->tid != child->tgid || !parent || parent->tgid != t->tgid ||
	    child->sid != t->sid || child->sid == child->tgid || !is_visible(m, pgid, t->ns) ||
	    (pgid != child->tgid && !group_exists(m, pgid, t->sid)))
		return false;
	set_process(m, child->tgid, child->sid, pgid);
	return true;
}

static struct thread *living_thread(struct model *m, pid_t tgid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].tgid == tgid && m->t[i].state == RUNS)
			return &m->t[i];
	return NULL;
}

static struct thread *reaper_for(struct model *m, struct thread *dead)
{
	struct thread *t = living_thread(m, dead->tgid);
	pid_t up = get(m, dead->tgid) ? get(m, dead->tgid)->parent : dead->parent;

	while (!t && up) {
		struct thread *p = get(m, up);
		if (plan_ns_level(p->ns) != plan_ns_level(dead->ns))
			break;
		if (get(m, p->tgid)->subreaper)
			t = living_thread(m, p->tgid);
		up = get(m, p->tgid)->parent;
	}
	return t ? t : living_thread(m, dead->ns ? (pid_t)dead->ns->init : m->root);
}

static bool is_init(const struct thread *t)
{
	return t->ns && t->ns->init == (uint32_t)t->tgid;
}

/* the init of a namespace has ended: so have all in it, and they have been waited for */
static void end_space(struct model *m, const struct plan_ns *ns, pid_t init)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].tgid != init && plan_ns_within(m->t[i].ns, ns))
			m->t[i].state = GONE;
}

/* one thread ends; children go to another thread or the next subreaper; false: that is nobody */
static void exit_model(struct model *m, struct thread *t, bool reaped)
{
	pid_t tid = t->tid;

	t->state = ZOMBIE;
	struct thread *reaper = reaper_for(m, t);
	for (size_t i = 0; i < m->n; i++) {
		if (m->t[i].state == GONE || m->t[i].parent != tid || m->t[i].tgid == t->tgid)
			continue;
		assert_non_null(reaper);
		m->t[i].parent = reaper->tid;
		if (reaper->tgid != t->tgid)
			m->t[i].exit_signal = SIGCHLD;
	}
	memset(t->share, 0, sizeof(t->share));
	if (t->tid != t->tgid || reaped || (!t->parent && !living_thread(m, t->tgid)))
		t->state = GONE; /* a parent outside has waited */
	/* the last thread of a process whose leader ended before */
	struct thread *leader = get(m, t->tgid);
	if (leader && leader != t && (reaped || !leader->parent) && !living_thread(m, t->tgid))
		leader->state = GONE;
}

/* ---- from a model to the planner's input, and its plan played ---- */

/* of all tasks, on all levels */
static int32_t inner[MAX][3][PLAN_LEVELS_MAX];

static void set_inner(struct model *m, const struct thread *t, size_t i, struct plan_task *p)
{
	p->ns = t->ns;
	p->inner_tids = inner[i][0];
	p->inner_pgids = inner[i][1];
	p->inner_sids = inner[i][2];
	for (const struct plan_ns *ns = t->ns; ns; ns = ns->parent) {
		inner[i][0][ns->level - 1] = number_in(m, t->tid, ns);
		inner[i][1][ns->level - 1] = number_in(m, t->pgid, ns);
		inner[i][2][ns->level - 1] = number_in(m, t->sid, ns);
	}
}

static size_t to_tasks(struct model *m, struct plan_task *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct thread *t = &m->t[i];
		if (t->state == GONE)
			continue;
		struct plan_task *p = &ret[n++];
		*p = (struct plan_task){ .tid = t->tid,
			                 .tgid = t->tgid,
			                 .parent = t->parent,
			                 .pgid = t->pgid,
			                 .sid = t->sid,
			                 .exit_signal = t->exit_signal };
		if (m->mode &
		    (WILD | CONTAINER)) { /* as it is told of a leader outside that lives */
			p->sid = t->sid == m->out_sid ? 0 : t->sid;
			p->pgid = t->pgid == m->out_pgid ? 0 : t->pgid;
		}
		memcpy(p->share, t->share, sizeof(p->share));
		set_inner(m, t, n - 1, p);
		if (t->state == ZOMBIE)
			p->state = living_thread(m, t->tgid) ? PLAN_DEAD_LEADER : PLAN_ZOMBIE;
	}
	return n;
}

/* where the child is: there is an init, or it is the init and its maker right above */
static void check_ns(struct model *m, const struct thread *maker, struct thread *t,
                     const struct plan_node *n)
{
	t->ns = n->ns;
	if (n->ns == maker->ns) {
		assert_false(n->ns && n->inner && n->inner[n->ns->level - 1] == 1);
	} else if (n->inner && n->inner[n->ns->level - 1] == 1) {
		assert_ptr_equal(n->ns->parent, maker->ns);
		assert_false(n->flags & CLONE_THREAD);
		assert_int_equal(n->ns->init, t->tid);
	} else {
		assert_true(plan_ns_within(n->ns, maker->ns));
		assert_false(n->flags & CLONE_THREAD);
		assert_non_null(living_thread(m, (pid_t)n->ns->init));
	}
	for (const struct plan_ns *ns = n->inner ? n->ns : NULL; ns; ns = ns->parent)
		assert_int_equal(n->inner[ns->level - 1], number_in(m, t->tid, ns));
}

/* by the coordinator: the root, or what enters its namespace */
static void play_first(const struct plan_node *n, pid_t tid, struct model *m)
{
	struct thread *t = add(m, tid);

	assert_true(m->n == 1 || m->root == 1);
	assert_int_equal(n->flags, 0);
	assert_true(!n->ns || living_thread(m, (pid_t)n->ns->init));
	t->sid = m->out_sid;
	t->pgid = m->out_pgid;
	t->ns = n->ns;
}

static void play(const struct plan *plan, struct model *m, pid_t root)
{
	pid_t tids[NODES_MAX], spare = 50000;

	*m = (struct model){ .out_sid = OUT_SID, .out_pgid = OUT_PGID, .root = root };
	for (size_t i = 0; i < plan->n_nodes; i++)
		tids[i] = plan->nodes[i].tid ? plan->nodes[i].tid : spare++;
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_step *s = &plan->steps[i];
		struct thread *a = s->actor == PLAN_COORDINATOR ? NULL : get(m, tids[s->actor]);
		if (s->actor == PLAN_COORDINATOR) {
			assert_int_equal(s->action, PLAN_CLONE);
			play_first(&plan->nodes[s->node], tids[s->node], m);
			continue;
		}
		assert_non_null(a);
		assert_int_equal(a->state, RUNS);
		switch (s->action) {
		case PLAN_CLONE: {
			const struct plan_node *n = &plan->nodes[s->node];
			assert_int_equal(tids[n->creator], a->tid);
			struct thread *t = clone_model(m, a, tids[s->node], n->flags,
			                               n->exit_signal);
			check_ns(m, a, t, n);
			break;
		}
		case PLAN_SETSID:
			assert_true(setsid_model(m, a));
			break;
		case PLAN_SETPGID:
			assert_true(s->pgid || (!a->ns && m->root != 1));
			if (s->node != s->actor)
				assert_true(setpgid_child_model(m, a, get(m, tids[s->node]),
				                                s->pgid ? s->pgid : m->out_pgid));
			else
				assert_true(setpgid_model(m, a, s->pgid ? s->pgid : m->out_pgid));
			break;
		case PLAN_EXIT:
			assert_false(plan->nodes[s->actor].is_task);
			if (s->node != PLAN_NONE)
				get(m, tids[s->node])->subreaper = true;
			exit_model(m, a, true);
			if (s->node != PLAN_NONE)
				get(m, tids[s->node])->subreaper = false;
			break;
		case PLAN_DIE:
			exit_model(m, a, false);
			break;
		}
	}
}

static void compare(struct model *want, struct model *got)
{
	size_t n_want = 0, n_got = 0;

	for (size_t i = 0; i < got->n; i++)
		n_got += got->t[i].state != GONE;
	for (size_t i = 0; i < want->n; i++) {
		struct thread *w = &want->t[i];
		if (w->state == GONE)
			continue;
		n_want++;
		struct thread *g = get(got, w->tid);
		assert_non_null(g);
		assert_int_equal(g->tgid, w->tgid);
		assert_int_equal(g->state, w->state);
		assert_int_equal(g->sid, w->sid);
		assert_int_equal(g->pgid, w->pgid);
		assert_ptr_equal(g->ns, w->ns);
		if (w->tid == w->tgid)
			assert_int_equal(g->parent, w->parent);
		if (w->tid == w->tgid && w->parent)
			assert_int_equal(g->exit_signal, w->exit_signal);
		for (size_t j = 0; j < i; j++) {
			struct thread *w2 = &want->t[j];
			if (w->state != RUNS || w2->state != RUNS)
				continue;
			struct thread *g2 = get(got, w2->tid);
			for (int k = 0; k < PLAN_N_SHARES; k++)
				assert_int_equal(w->share[k] == w2->share[k],
				                 g->share[k] == g2->share[k]);
		}
	}
	assert_int_equal(n_want, n_got);
}

/* plans what @m has become, plays it, compares; returns the code of a refusal */
static uint64_t seed;
static unsigned any(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

/*
 * whoever is to make a task for the sake of its pages, and in whichever order: the tree is the same
 */
static void add_hints(struct plan_task *tasks, size_t n)
{
	static const uint32_t numbers[] = { 1, 2, 3 };

	for (size_t i = 0; i < n; i++) {
		tasks[i].turn = any(4);
		tasks[i].maker = any(3) ? tasks[any((unsigned)n)].tid : 0;
		tasks[i].stand_ins = numbers + any(2);
		tasks[i].n_stand_ins = any(3);
	}
}

static enum code round_trip_with(struct model *m, bool hints)
{
	struct plan_task tasks[MAX];
	struct plan *plan = NULL;
	struct error err = ERROR_INIT;
	struct model *got;
	size_t n = to_tasks(m, tasks);

	if (hints)
		add_hints(tasks, n);
	if (plan_make(tasks, n, &plan, &err) < 0 || getenv("PLAN_TEST_STEPS")) {
		if (getenv("PLAN_TEST_VERBOSE")) {
			for (size_t i = 0; i < n; i++)
				print_message("tid %d tgid %d parent %d pgid %d sid %d state %d "
				              "level %u of %u\n",
				              tasks[i].tid, tasks[i].tgid, tasks[i].parent,
				              tasks[i].pgid, tasks[i].sid, tasks[i].state,
				              plan_ns_level(tasks[i].ns),
				              tasks[i].ns ? tasks[i].ns->init : 0);
			if (!plan)
				error_print(stdout, &err, "plan", true);
		}
		if (!plan)
			return (enum code)err.code;
	}
	assert_true(plan->n_nodes <= NODES_MAX);
	got = xcalloc(1, sizeof(*got));
	if (getenv("PLAN_TEST_STEPS"))
		for (size_t i = 0; i < plan->n_steps; i++)
			print_message("  step %d actor %d node %d pgid %d\n", plan->steps[i].action,
			              (int)plan->steps[i].actor, (int)plan->steps[i].node,
			              plan->steps[i].pgid);
	play(plan, got, m->root);
	compare(m, got);
	free(got);
	plan_free(plan);
	return CODE_NONE;
}

static enum code round_trip(struct model *m)
{
	enum code code = round_trip_with(m, false);

	for (int i = 0; i < 3; i++) { /* another order may do what this one cannot, but no less */
		enum code hinted = round_trip_with(m, true);
		assert_true(hinted == code || code != CODE_NONE);
	}
	return code;
}

/* ---- random histories ---- */

static struct thread *any_running(struct model *m)
{
	struct thread *t;

	do
		t = &m->t[any((unsigned)m->n)];
	while (t->state != RUNS);
	return t;
}

static uint64_t any_flags(bool sharing)
{
	uint64_t flags = 0;

	if (!sharing)
		return 0;
	for (int k = 0; k < PLAN_N_SHARES; k++)
		if (any(4) == 0)
			flags |= flags_of[k];
	if (flags & CLONE_SIGHAND)
		flags |= CLONE_VM;
	return flags;
}

static void unshare_model(struct model *m, struct thread *t)
{
	static const int can[] = { PLAN_FILES, PLAN_FS, PLAN_SYSVSEM };

	t->share[can[any(3)]] = ++m->next_share;
}

/* a child that begins a pid namespace, enters one, or is put into a group by its parent */
static void one_nested_event(struct model *m, pid_t *next, bool sharing)
{
	struct thread *t = any_running(m), *child;
	struct plan_ns *ns;

	switch (any(4)) {
	case 0:
		if (plan_ns_level(t->ns) == PLAN_LEVELS_MAX || m->n_spaces == MAX)
			break;
		ns = &m->spaces[m->n_spaces++];
		/* one in four belongs to a user namespace of its own, the others to that above */
		*ns = (struct plan_ns){ .parent = t->ns,
			                .level = plan_ns_level(t->ns) + 1,
			                .id = (uint32_t)m->n_spaces,
			                .init = (uint32_t)*next };
		ns->owner = m->n_spaces % 4 == 0 ? ns->id : t->ns ? t->ns->owner : 0;
		clone_model(m, t, (*next)++, any_flags(sharing), SIGCHLD)->ns = ns;
		break;
	case 1:
		ns = m->n_spaces ? &m->spaces[any((unsigned)m->n_spaces)] : NULL;
		if (ns && plan_ns_within(ns, t->ns) && living_thread(m, (pid_t)ns->init))
			clone_model(m, t, (*next)++, any_flags(sharing), SIGCHLD)->ns = ns;
		break;
	default:
		child = any_running(m);
		setpgid_child_model(m, t, child, any(2) ? child->tid : any_running(m)->pgid);
		break;
	}
}

/* a process ends as a whole, or one thread; the last thread takes the leader along */
static void end_model(struct model *m, struct thread *t)
{
	pid_t tgid = t->tgid;

	if (any(2) == 0) {
		if (!is_init(t))
			exit_model(m, t, t->tid != tgid || (any(2) && !living_thread(m, tgid)));
		return;
	}
	bool reaped = any(3) > 0;
	if (is_init(t))
		end_space(m, t->ns, tgid);
	while ((t = living_thread(m, tgid)))
		exit_model(m, t, false);
	if (reaped && get(m, tgid))
		get(m, tgid)->state = GONE;
}

/* clone(2): not for an init */
static uint64_t any_parent(struct model *m, const struct thread *t)
{
	return m->mode & WILD && get(m, t->tgid)->parent && !is_init(t) && any(4) == 0
	               ? CLONE_PARENT
	               : 0;
}

static void one_event(struct model *m, pid_t *next, bool sharing)
{
	const uint64_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
	struct thread *t = any_running(m), *other;
	/* the session outside would seem to be one whose leader died, if the root left it */
	bool is_root = t->tgid == m->root;

	switch (any(12)) {
	case 0:
	case 1:
	case 2:
		clone_model(m, t, (*next)++, any_flags(sharing) | any_parent(m, t), SIGCHLD);
		break;
	case 3:
		clone_model(m, t, (*next)++,
		            thread | CLONE_FILES | CLONE_FS | CLONE_IO | CLONE_SYSVSEM, 0);
		break;
	case 4:
		if (sharing)
			clone_model(m, t, (*next)++, thread | any_flags(true), 0);
		break;
	case 5:
		if (!is_root || m->mode & WILD)
			setsid_model(m, t);
		break;
	case 6:
		setpgid_model(m, t, t->tgid);
		break;
	case 7:
		other = any_running(m);
		if (!is_root)
			setpgid_model(m, t, other->pgid);
		break;
	case 8:
		if (sharing)
			unshare_model(m, t);
		break;
	case 9:
		get(m, t->tgid)->subreaper |= any(3) == 0;
		if (m->mode & WILD && !is_root && any(2))
			get(m, t->tgid)->subreaper = false;
		break;
	default:
		if (!is_root)
			end_model(m, t);
		break;
	}
}

/* from outside, setns(2): as nsenter(1) does */
static void enter_model(struct model *m, pid_t tid)
{
	struct thread *t = add(m, tid);

	t->sid = m->out_sid;
	t->pgid = m->out_pgid;
}

/* a process whose last thread is gone is a zombie; nothing to do, but threads that lead none */
static struct model *history(uint64_t s, unsigned events, unsigned mode)
{
	struct model *m = xcalloc(1, sizeof(*m));
	pid_t next = 1001;

	m->mode = mode;
	m->root = mode & CONTAINER ? 1 : 1000;
	seed = s * 977 + 12345;
	m->out_sid = OUT_SID;
	m->out_pgid = OUT_PGID;
	struct thread *root = add(m, m->root);
	root->sid = OUT_SID;
	root->pgid = OUT_PGID;
	root->subreaper = true;
	if (mode & LEADS)
		setsid_model(m, root);
	while (events-- && m->n < MAX - 2) {
		if (mode & CONTAINER && any(10) == 0)
			enter_model(m, next++);
		else if (mode & NESTED && any(5) == 0)
			one_nested_event(m, &next, mode & SHARING);
		else
			one_event(m, &next, mode & SHARING);
	}
	return m;
}

/* @n histories of a mode, a third with a root in the session outside; returns how many gaps */
static unsigned random_histories(unsigned first, unsigned n, unsigned mode, unsigned may_refuse)
{
	unsigned gaps = 0, refused = 0;

	for (unsigned i = first; i < first + n; i++) {
		struct model *m = history(i, 10 + i % (mode & SHARING ? 50 : 150),
		                          mode | (i % 3 > 0 ? LEADS : 0));
		enum code code = round_trip(m);
		if (code == CODE_sharing_gap && mode & SHARING)
			gaps++;
		else if (code != CODE_NONE && ++refused > may_refuse)
			fail_msg("history %u of mode %u is refused: %s", i, mode, code_name(code));
		free(m);
	}
	return gaps;
}

static void trees_of_random_histories(void **state)
{
	random_histories(0, 4000, 0, 0);
	random_histories(4000, 4000, WILD, 0);
	random_histories(0, 2000, CONTAINER, 0);
	random_histories(2000, 2000, CONTAINER | WILD, 0);
}

static void sharing_in_random_histories(void **state)
{
	assert_true(random_histories(0, 4000, SHARING, 0) < 2000);
}

static void namespaces_in_random_histories(void **state)
{
	random_histories(0, 1500, NESTED, 4);
	random_histories(1500, 1500, NESTED | WILD, 4);
	random_histories(0, 1500, NESTED | CONTAINER, 10);
	random_histories(1500, 1500, NESTED | CONTAINER | WILD, 10);
	assert_true(random_histories(0, 1000, NESTED | WILD | SHARING, 50) < 500);
}

/*
 * Some that were hard: a group led by one who is dead, in a namespace whose init is made after the
 * first of the group; one made by a thread before its process's setsid(2), in a session whose
 * leader is dead; such a session's orphans at reapers that are not above one another.
 */
static void rare_trees(void **state)
{
	random_histories(12196, 1, NESTED, 4);
	random_histories(17150, 1, NESTED, 4);
	random_histories(45239, 1, 0, 0);
	random_histories(48831, 1, 0, 0);
	random_histories(41306, 1, 0, 0);
	random_histories(41541, 1, WILD, 0);
}

/* ---- chosen ones ---- */

static struct plan_task process(pid_t pid, pid_t parent, pid_t pgid, pid_t sid)
{
	return (struct plan_task){ .tid = pid,
		                   .tgid = pid,
		                   .parent = parent,
		                   .pgid = pgid,
		                   .sid = sid,
		                   .exit_signal = SIGCHLD };
}

static enum code plan_code(const struct plan_task *tasks, size_t n)
{
	struct plan *plan = NULL;
	struct error err = ERROR_INIT;

	if (plan_make(tasks, n, &plan, &err) < 0)
		return (enum code)err.code;
	plan_free(plan);
	return CODE_NONE;
}

static void contradictions_are_refused(void **state)
{
	struct plan_task two_roots[] = { process(10, 0, 10, 10), process(11, 0, 11, 11) };
	struct plan_task ring[] = { process(10, 0, 10, 10), process(11, 12, 10, 10),
		                    process(12, 11, 10, 10) };
	struct plan_task twice[] = { process(10, 0, 10, 10), process(10, 10, 10, 10) };
	struct plan_task orphan[] = { process(10, 0, 10, 10), process(11, 99, 10, 10) };
	struct plan_task negative[] = { process(10, 0, 10, 10), process(11, 10, -1, 10) };
	struct plan_task astray[] = { process(10, 0, 10, 10), process(11, 10, 11, 11),
		                      process(12, 10, 11, 10) };
	struct plan_task dead_parent[] = { process(10, 0, 10, 10), process(11, 10, 10, 10),
		                           process(12, 11, 10, 10) };

	dead_parent[1].state = PLAN_ZOMBIE;
	assert_int_equal(plan_code(two_roots, 2), CODE_image_invalid);
	assert_int_equal(plan_code(ring, 3), CODE_image_invalid);
	assert_int_equal(plan_code(twice, 2), CODE_image_invalid);
	assert_int_equal(plan_code(orphan, 2), CODE_image_invalid);
	assert_int_equal(plan_code(negative, 2), CODE_image_invalid);
	assert_int_equal(plan_code(astray, 3), CODE_image_invalid);
	assert_int_equal(plan_code(dead_parent, 3), CODE_image_invalid);
	assert_int_not_equal(plan_code(NULL, 0), CODE_sharing_gap);
}

/* the same with numbers below the root's pid namespace */
static struct plan_task inside(const struct plan_ns *ns, const int32_t *numbers, pid_t pid,
                               pid_t parent)
{
	static const int32_t nobody[PLAN_LEVELS_MAX];
	struct plan_task t = process(pid, parent, 10, 10);

	t.ns = ns;
	t.inner_tids = numbers;
	t.inner_pgids = t.inner_sids = nobody;
	return t;
}

static void namespaces_that_contradict_are_refused(void **state)
{
	static const struct plan_ns a = { NULL, 1, 1, 1 }, b = { NULL, 1, 2, 2 },
				    c = { &a, 2, 3, 2 };
	static const int32_t one[] = { 1 }, two[] = { 2 }, none[] = { 0 }, minus[] = { -1 };
	static const int32_t init2[] = { 3, 1 }, clash[] = { 1, 1 }, gap[] = { 0, 1 };
	const struct plan_task root = process(10, 0, 10, 10);
	struct plan_task t[4] = { root, inside(&a, one, 11, 10), inside(&a, two, 12, 11) };

	assert_int_equal(plan_code(t, 3), CODE_NONE);
	t[2] = inside(&a, two, 12, 10); /* from outside */
	assert_int_equal(plan_code(t, 3), CODE_NONE);
	t[2] = inside(&c, init2, 12, 11);
	assert_int_equal(plan_code(t, 3), CODE_NONE);
	t[2] = inside(&a, one, 12, 11); /* two inits */
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&a, none, 12, 11);
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&a, minus, 12, 11);
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&c, clash, 12, 11); /* the init of the one above, too */
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&c, gap, 12, 11);
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&b, two, 12, 10); /* without an init */
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = process(12, 11, 10, 10); /* above its parent */
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&a, two, 12, 11); /* in a group that it should see */
	t[2].pgid = 11;
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2].inner_pgids = two; /* which has another number */
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&a, two, 12, 11);
	t[2].sid = t[2].pgid = 99; /* dead, and was the init */
	t[2].inner_sids = t[2].inner_pgids = one;
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&a, two, 12, 11);
	t[1].state = PLAN_ZOMBIE;
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[0] = inside(&a, one, 10, 0);
	assert_int_equal(plan_code(t, 1), CODE_image_invalid);
	/* a thread elsewhere than its leader; an init that is a thread; the root's child is its
	 * init */
	t[0] = root;
	t[1] = inside(&a, one, 11, 10);
	t[2] = inside(&a, two, 12, 11);
	t[2].tgid = 10;
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[1] = inside(&a, two, 11, 10);
	t[2] = inside(&a, one, 12, 11);
	t[2].tgid = 11;
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
	t[2] = inside(&a, one, 12, 11); /* whose parent is in the namespace already */
	assert_int_equal(plan_code(t, 3), CODE_image_invalid);
}

/* an address space shared by grandparent and grandchild with another between */
static void gap_is_refused(void **state)
{
	struct plan_task t[] = { process(10, 0, 10, 10), process(11, 10, 10, 10),
		                 process(12, 11, 10, 10) };

	t[0].share[PLAN_VM] = t[2].share[PLAN_VM] = 5;
	t[1].share[PLAN_VM] = 6;
	assert_int_equal(plan_code(t, 3), CODE_sharing_gap);
	t[1].share[PLAN_VM] = 5;
	assert_int_equal(plan_code(t, 3), CODE_NONE);
	t[0].share[PLAN_SIGHAND] = t[1].share[PLAN_SIGHAND] = 7;
	assert_int_equal(plan_code(t, 3), CODE_NONE);
	t[1].share[PLAN_VM] = 6;
	t[2].share[PLAN_VM] = 8;
	assert_int_equal(plan_code(t, 3), CODE_sharing_gap);
}

/* siblings that share what their parent does not have: CLONE_PARENT */
static void siblings_share(void **state)
{
	struct plan_task t[] = { process(10, 0, 10, 10), process(11, 10, 10, 10),
		                 process(12, 10, 10, 10), process(13, 10, 10, 10) };

	t[0].share[PLAN_FILES] = t[1].share[PLAN_FILES] = 4;
	t[2].share[PLAN_FILES] = t[3].share[PLAN_FILES] = 5;
	assert_int_equal(plan_code(t, 4), CODE_NONE);
	t[3].exit_signal = SIGUSR1;
	assert_int_equal(plan_code(t, 4), CODE_tree_shape);
}

/* many tasks, no quadratic step: this would take minutes */
static void large_trees_are_fast(void **state)
{
	enum { N = 30000 };
	struct plan_task *t = xcalloc(N, sizeof(*t));

	for (int i = 0; i < N; i++) {
		t[i] = process(10 + i, i == 0 ? 0 : 10, 10, 10);
		t[i].share[PLAN_FILES] = 1 + (uint32_t)i;
	}
	assert_int_equal(plan_code(t, N), CODE_NONE);
	for (int i = 1; i < N; i++)
		t[i].parent = 9 + i;
	assert_int_equal(plan_code(t, N), CODE_NONE);
	for (int i = 0; i < N; i++) {
		t[i].tgid = 10;
		t[i].parent = 0;
		t[i].share[PLAN_FILES] = t[i].share[PLAN_VM] = t[i].share[PLAN_SIGHAND] = 3;
	}
	assert_int_equal(plan_code(t, N), CODE_NONE);
	free(t);
}

/* each third an init, the rest in its namespace: one made by it, one from outside */
static void many_namespaces_are_fast(void **state)
{
	enum { N = 10000 };
	struct plan_task *t = xcalloc(3 * N + 1, sizeof(*t));
	struct plan_ns *ns = xcalloc(N, sizeof(*ns));
	static const int32_t numbers[] = { 1, 2, 3 };

	t[0] = process(10, 0, 10, 10);
	for (uint32_t i = 0; i < N; i++) {
		pid_t pid = (pid_t)(11 + 3 * i);
		ns[i] = (struct plan_ns){ NULL, 1, i + 1, 1 + 3 * i };
		t[1 + 3 * i] = inside(&ns[i], &numbers[0], pid, 10);
		t[2 + 3 * i] = inside(&ns[i], &numbers[1], pid + 1, pid);
		t[3 + 3 * i] = inside(&ns[i], &numbers[2], pid + 2, 10);
	}
	assert_int_equal(plan_code(t, 3 * N + 1), CODE_NONE);
	free(t);
	free(ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trees_of_random_histories),
		cmocka_unit_test(sharing_in_random_histories),
		cmocka_unit_test(namespaces_in_random_histories),
		cmocka_unit_test(rare_trees),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(namespaces_that_contradict_are_refused),
		cmocka_unit_test(many_namespaces_are_fast),
		cmocka_unit_test(gap_is_refused),
		cmocka_unit_test(siblings_share),
		cmocka_unit_test(large_trees_are_fast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
