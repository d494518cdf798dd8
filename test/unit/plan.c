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

#define MAX      400
#define OUT_SID  7 /* the session and group in which the coordinator was, and is */
#define OUT_PGID 8

struct thread {
	pid_t tid, tgid, parent, sid, pgid;
	int exit_signal;
	enum { RUNS, ZOMBIE, GONE } state;
	bool subreaper;
	uint32_t share[PLAN_N_SHARES];
};

struct model {
	struct thread t[MAX];
	size_t n;
	uint32_t next_share;
	pid_t out_sid, out_pgid;
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

static bool group_exists(struct model *m, pid_t pgid, pid_t sid)
{
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
	if (t->sid == t->tgid || (pgid != t->tgid && !group_exists(m, pgid, t->sid)))
		return false;
	set_process(m, t->tgid, t->sid, pgid);
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
		if (get(m, p->tgid)->subreaper)
			t = living_thread(m, p->tgid);
		up = get(m, p->tgid)->parent;
	}
	return t;
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
	if (t->tid != t->tgid || reaped)
		t->state = GONE;
	/* the last thread of a process whose leader ended before */
	struct thread *leader = get(m, t->tgid);
	if (leader && leader != t && reaped && !living_thread(m, t->tgid))
		leader->state = GONE;
}

/* ---- from a model to the planner's input, and its plan played ---- */

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
		memcpy(p->share, t->share, sizeof(p->share));
		if (t->state == ZOMBIE)
			p->state = living_thread(m, t->tgid) ? PLAN_DEAD_LEADER : PLAN_ZOMBIE;
	}
	return n;
}

static void play(const struct plan *plan, struct model *m)
{
	pid_t tids[MAX * 2], spare = 100000;

	*m = (struct model){ .out_sid = OUT_SID, .out_pgid = OUT_PGID };
	for (size_t i = 0; i < plan->n_nodes; i++)
		tids[i] = plan->nodes[i].tid ? plan->nodes[i].tid : spare++;
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_step *s = &plan->steps[i];
		struct thread *a = s->actor == PLAN_COORDINATOR ? NULL : get(m, tids[s->actor]);
		if (s->action == PLAN_CLONE && !a) {
			assert_int_equal(m->n, 0);
			a = add(m, tids[s->node]);
			a->sid = m->out_sid;
			a->pgid = m->out_pgid;
			continue;
		}
		assert_non_null(a);
		assert_int_equal(a->state, RUNS);
		switch (s->action) {
		case PLAN_CLONE: {
			const struct plan_node *n = &plan->nodes[s->node];
			assert_int_equal(tids[n->creator], a->tid);
			clone_model(m, a, tids[s->node], n->flags, n->exit_signal);
			break;
		}
		case PLAN_SETSID:
			assert_true(setsid_model(m, a));
			break;
		case PLAN_SETPGID:
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
		if (w->tid == w->tgid && w->parent) {
			assert_int_equal(g->parent, w->parent);
			assert_int_equal(g->exit_signal, w->exit_signal);
		}
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
static enum code round_trip(struct model *m)
{
	struct plan_task tasks[MAX];
	struct plan *plan = NULL;
	struct error err = ERROR_INIT;
	struct model *got;
	size_t n = to_tasks(m, tasks);

	if (plan_make(tasks, n, &plan, &err) < 0 || getenv("PLAN_TEST_STEPS")) {
		if (getenv("PLAN_TEST_VERBOSE")) {
			for (size_t i = 0; i < n; i++)
				print_message("tid %d tgid %d parent %d pgid %d sid %d state %d\n",
				              tasks[i].tid, tasks[i].tgid, tasks[i].parent,
				              tasks[i].pgid, tasks[i].sid, tasks[i].state);
			if (!plan)
				error_print(stdout, &err, "plan", true);
		}
		if (!plan)
			return (enum code)err.code;
	}
	assert_true(plan->n_nodes <= 2 * MAX);
	got = xcalloc(1, sizeof(*got));
	if (getenv("PLAN_TEST_STEPS"))
		for (size_t i = 0; i < plan->n_steps; i++)
			print_message("  step %d actor %d node %d pgid %d\n", plan->steps[i].action,
			              (int)plan->steps[i].actor, (int)plan->steps[i].node,
			              plan->steps[i].pgid);
	play(plan, got);
	compare(m, got);
	free(got);
	plan_free(plan);
	return CODE_NONE;
}

/* ---- random histories ---- */

static uint64_t seed;
static unsigned any(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

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

static void one_event(struct model *m, pid_t *next, bool sharing)
{
	struct thread *t = any_running(m), *other;

	switch (any(12)) {
	case 0:
	case 1:
	case 2:
		clone_model(m, t, (*next)++, any_flags(sharing), SIGCHLD);
		break;
	case 3:
		clone_model(m, t, (*next)++,
		            CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FILES | CLONE_FS |
		                    CLONE_IO | CLONE_SYSVSEM,
		            0);
		break;
	case 4:
		if (sharing)
			clone_model(m, t, (*next)++,
			            CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | any_flags(true), 0);
		break;
	case 5:
		if (t->tgid !=
		    1000) /* the session outside would seem to be one whose leader died */
			setsid_model(m, t);
		break;
	case 6:
		setpgid_model(m, t, t->tgid);
		break;
	case 7:
		other = any_running(m);
		if (t->tgid != 1000) /* likewise */
			setpgid_model(m, t, other->pgid);
		break;
	case 8:
		if (sharing)
			unshare_model(m, t);
		break;
	case 9:
		get(m, t->tgid)->subreaper |= any(3) == 0;
		break;
	default:
		if (t->tgid == 1000)
			break;
		/* a process ends as a whole, or one thread; the last thread takes the leader along
		 */
		if (any(2) == 0) {
			exit_model(m, t,
			           t->tid != t->tgid || (any(2) && !living_thread(m, t->tgid)));
			break;
		}
		pid_t tgid = t->tgid;
		bool reaped = any(3) > 0;
		while ((t = living_thread(m, tgid)))
			exit_model(m, t, false);
		if (reaped)
			get(m, tgid)->state = GONE;
		break;
	}
}

/* a process whose last thread is gone is a zombie; nothing to do, but threads that lead none */
static struct model *history(uint64_t s, unsigned events, bool root_leads, bool sharing)
{
	struct model *m = xcalloc(1, sizeof(*m));
	pid_t next = 1001;

	seed = s * 977 + 12345;
	m->out_sid = OUT_SID;
	m->out_pgid = OUT_PGID;
	struct thread *root = add(m, 1000);
	root->sid = OUT_SID;
	root->pgid = OUT_PGID;
	root->subreaper = true;
	if (root_leads)
		setsid_model(m, root);
	while (events-- && m->n < MAX - 2)
		one_event(m, &next, sharing);
	return m;
}

static void trees_of_random_histories(void **state)
{
	for (unsigned i = 0; i < 4000; i++) {
		struct model *m = history(i, 10 + i % 150, i % 3 > 0, false);
		enum code code = round_trip(m);
		if (code != CODE_NONE)
			fail_msg("history %u is refused: %s", i, code_name(code));
		free(m);
	}
}

static void sharing_in_random_histories(void **state)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < 4000; i++) {
		struct model *m = history(i, 5 + i % 60, i % 3 > 0, true);
		enum code code = round_trip(m);
		if (code != CODE_NONE && code != CODE_sharing_gap && code != CODE_tree_shape)
			fail_msg("history %u: %s", i, code_name(code));
		refused += code != CODE_NONE;
		free(m);
	}
	print_message("%u of 4000 refused\n", refused);
	assert_true(refused < 2000);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trees_of_random_histories),
		cmocka_unit_test(sharing_in_random_histories),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(gap_is_refused),
		cmocka_unit_test(siblings_share),
		cmocka_unit_test(large_trees_are_fast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
