/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner against a model of the kernel: random histories of clone, setsid, setpgid,
 * unshare and exit lead to trees; the plan of each, played on a fresh model, must lead to the same.
 * With arguments, a mode (plan/model.h), the first seed and their number, it tells which histories
 * of these are refused, and why.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/model.h"
#include "task/plan.h"
#include "util/alloc.h"

#define NODES_MAX 3200

/* ---- from a model to the planner's input, and its plan played ---- */

/* of all tasks, on all levels */
static int32_t inner[THREADS_MAX][3][PLAN_LEVELS_MAX];

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

static char why[320]; /* the last one was refused */

/* plans what @m has become, plays it, compares; returns the code of a refusal */
static enum code round_trip_with(struct model *m, bool hints)
{
	struct plan_task tasks[THREADS_MAX];
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
		snprintf(why, sizeof(why), "%s", err.cause);
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

static struct model *a_history(unsigned i, unsigned mode)
{
	return history(i, 10 + i % (mode & SHARING ? 50 : 150), mode | (i % 3 > 0 ? LEADS : 0));
}

/* @n histories of a mode, a third with a root in the session outside; returns how many gaps */
static unsigned random_histories(unsigned first, unsigned n, unsigned mode, unsigned may_refuse)
{
	unsigned gaps = 0, refused = 0;

	for (unsigned i = first; i < first + n; i++) {
		struct model *m = a_history(i, mode);
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
	random_histories(0, 3000, NESTED, 0);
	random_histories(3000, 3000, NESTED | WILD, 0);
	random_histories(0, 3000, NESTED | CONTAINER, 0);
	random_histories(3000, 3000, NESTED | CONTAINER | WILD, 0);
	assert_true(random_histories(0, 1000, NESTED | WILD | SHARING, 1) < 500);
}

/*
 * Some that were hard: a group led by one who is dead, in a namespace whose init is made after the
 * first of the group; one made by a thread before its process's setsid(2), in a session whose
 * leader is dead; such a session's orphans at reapers that are not above one another.
 */
static void rare_trees(void **state)
{
	random_histories(12196, 1, NESTED, 0);
	random_histories(17150, 1, NESTED, 0);
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

/* whose maker, inside, gave it a parent outside (CLONE_PARENT): nobody outside can begin it */
static void init_from_outside_is_refused(void **state)
{
	static const struct plan_ns a = { NULL, 1, 1, 1 };
	static const int32_t one[] = { 1 }, two[] = { 2 };
	struct plan_task t[] = { process(1, 0, 1, 1), inside(&a, one, 11, 0),
		                 inside(&a, two, 12, 11) };

	for (int i = 1; i < 3; i++)
		t[i].pgid = t[i].sid = 0;
	assert_int_equal(plan_code(t, 3), CODE_tree_shape);
	t[1].parent = 1;
	t[2].parent = 0; /* it has entered the inner one */
	assert_int_equal(plan_code(t, 3), CODE_NONE);
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

static unsigned surveyed;

static void tell_last(void)
{
	printf("the last one was %u\n", surveyed);
}

static int survey(unsigned mode, unsigned first, unsigned n)
{
	unsigned refused = 0, gaps = 0;

	atexit(tell_last); /* a wrong plan ends it */
	for (surveyed = first; surveyed < first + n; surveyed++) {
		struct model *m = a_history(surveyed, mode);
		enum code code = round_trip_with(m, false);
		if (code == CODE_sharing_gap)
			gaps++;
		else if (code != CODE_NONE && ++refused)
			printf("%u: %s: %s (%zu)\n", surveyed, code_name(code), why, m->n);
		free(m);
	}
	printf("%u of %u refused, %u are gaps\n", refused, n, gaps);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4)
		return survey((unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]),
		              (unsigned)atoi(argv[3]));
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trees_of_random_histories),
		cmocka_unit_test(sharing_in_random_histories),
		cmocka_unit_test(namespaces_in_random_histories),
		cmocka_unit_test(rare_trees),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(namespaces_that_contradict_are_refused),
		cmocka_unit_test(many_namespaces_are_fast),
		cmocka_unit_test(init_from_outside_is_refused),
		cmocka_unit_test(gap_is_refused),
		cmocka_unit_test(siblings_share),
		cmocka_unit_test(large_trees_are_fast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
