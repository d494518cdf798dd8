/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds cred, sched and seccomp compute: lists of groups and CPUs, chains of filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/restart.h"
#include "kind/cred/own.h"
#include "kind/seccomp.h"
#include "kind/seccomp/chains.h"
#include "proc/cpus.h"
#include "seccomp.pb-c.h"
#include "task/plan.h"
#include "task/stub.h"

static void cpus(void **state)
{
	struct cpus c;

	assert_true(cpus_parse("0-2,9\n", &c));
	assert_int_equal(c.mask[0], 7);
	assert_int_equal(c.mask[1], 2);
	assert_true(cpus_parse("\n", &c));
	assert_int_equal(c.mask[0], 0);
	assert_true(cpus_parse("8191", &c));
	assert_int_equal(c.mask[1023], 0x80);
	assert_false(cpus_parse("8192", &c));
	assert_false(cpus_parse("3-1", &c));
	assert_false(cpus_parse("a", &c));
	assert_false(cpus_parse("1;2", &c));
	assert_false(cpus_parse("99999999999999999999", &c));
}

static void groups(void **state)
{
	struct error err;
	uint32_t *list;
	size_t n;

	assert_int_equal(
		cred_parse_groups("Name:\tx\nGroups:\t5 100 \nNStgid:\t7\n", &list, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_int_equal(list[0], 5);
	assert_int_equal(list[1], 100);
	free(list);
	assert_int_equal(cred_parse_groups("Name:\tx\nGroups:\t \n7\n", &list, &n, &err), 0);
	assert_int_equal(n, 0);
	free(list);
	assert_true(cred_parse_groups("Name:\tGroups: 5\n", &list, &n, &err) < 0);
	assert_int_equal(cred_login_uid("4294967295\n"), 0);
	assert_int_equal(cred_login_uid("0"), 1);
	assert_int_equal(cred_login_uid(""), 0);
}

/* ---- chains: a tree of at most N tasks, each with the first n filters of one list ---- */

#define N 5

struct world {
	SeccompFilter filters[N];
	SeccompFilter *list[N];
	SeccompState states[N];
	struct object objects[N];
	struct object *refs[N];
	struct stub stubs[N];
	struct stub *stub_list[N];
	struct plan_node nodes[N];
	struct plan_step steps[N];
	struct plan plan;
	struct restart r;
};

/* node 0 is the coordinator's; steps say who clones whom; -1 filters: a placeholder */
static struct chains *make(struct world *w, const int *n_filters, size_t n,
                           const struct plan_step *steps, size_t n_steps)
{
	static uint8_t programs[N][8];

	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < N; i++) {
		seccomp_filter__init(&w->filters[i]);
		programs[i][0] = (uint8_t)i;
		w->filters[i].program = (ProtobufCBinaryData){ 8, programs[i] };
		w->list[i] = &w->filters[i];
	}
	for (size_t i = 0; i < n; i++) {
		seccomp_state__init(&w->states[i]);
		w->states[i].filters = w->list;
		w->states[i].n_filters = n_filters[i] < 0 ? 0 : (size_t)n_filters[i];
		w->objects[i] = (struct object){ .id = (uint32_t)i + 1,
			                         .kind = &seccomp_kind,
			                         .message = &w->states[i].base };
		w->refs[i] = &w->objects[i];
		w->stubs[i].node = (uint32_t)i;
		w->stubs[i].objects = &w->refs[i];
		w->stubs[i].n_objects = n_filters[i] >= 0;
		w->stub_list[i] = &w->stubs[i];
		w->nodes[i].is_task = n_filters[i] >= 0;
	}
	memcpy(w->steps, steps, n_steps * sizeof(*steps));
	w->plan = (struct plan){ w->nodes, n, w->steps, n_steps, 0 };
	w->r.plan = &w->plan;
	w->r.stubs = w->stub_list;
	w->r.n_stubs = n;
	return chains_new(&w->r);
}

#define CLONES(who, whom)                    \
	{                                    \
		PLAN_CLONE, (who), (whom), 0 \
	}

static void assert_part(const struct world *w, const struct chains *c, size_t node, size_t from,
                        size_t to)
{
	struct chain_part part = chains_before_clone(c, &w->stubs[node]);

	assert_int_equal(part.from, from);
	assert_int_equal(part.to, to);
}

static void chain_of_threads(void **state)
{
	const int filters[] = { 2, 2, 3 };
	const struct plan_step steps[] = { CLONES(PLAN_COORDINATOR, 0), CLONES(0, 1),
		                           CLONES(0, 2) };
	struct world w;
	struct chains *c = make(&w, filters, 3, steps, 3);

	/* both are installed before the first clone, nothing before the second */
	assert_part(&w, c, 1, 0, 2);
	assert_part(&w, c, 2, 2, 2);
	assert_int_equal(chains_installed(c, &w.stubs[0]), 2);
	assert_int_equal(chains_installed(c, &w.stubs[2]), 2);
	chains_free(c);
}

static void chain_grows(void **state)
{
	const int filters[] = { 3, 0, 2 };
	const struct plan_step steps[] = { CLONES(PLAN_COORDINATOR, 0), CLONES(0, 1),
		                           CLONES(0, 2) };
	struct world w;
	struct chains *c = make(&w, filters, 3, steps, 3);

	assert_part(&w, c, 1, 0, 0);
	assert_part(&w, c, 2, 0, 2);
	assert_int_equal(chains_installed(c, &w.stubs[1]), 0);
	chains_free(c);
}

/* a later child has less: nothing may be installed for the sake of the earlier one */
static void chain_shrinks(void **state)
{
	const int filters[] = { 3, 3, 1 };
	const struct plan_step steps[] = { CLONES(PLAN_COORDINATOR, 0), CLONES(0, 1),
		                           CLONES(0, 2) };
	struct world w;
	struct chains *c = make(&w, filters, 3, steps, 3);

	assert_part(&w, c, 1, 0, 1);
	assert_part(&w, c, 2, 1, 1);
	assert_int_equal(chains_installed(c, &w.stubs[1]), 1);
	chains_free(c);
}

/* a placeholder passes on what it has inherited */
static void chain_through_placeholder(void **state)
{
	const int filters[] = { 3, 2, -1, 1 };
	const struct plan_step steps[] = { CLONES(PLAN_COORDINATOR, 0), CLONES(0, 1), CLONES(0, 2),
		                           CLONES(2, 3) };
	struct world w;
	struct chains *c = make(&w, filters, 4, steps, 4);

	assert_part(&w, c, 1, 0, 1);
	assert_int_equal(chains_installed(c, &w.stubs[2]), 1);
	assert_part(&w, c, 3, 1, 1);
	assert_int_equal(chains_installed(c, &w.stubs[3]), 1);
	chains_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpus),
		cmocka_unit_test(groups),
		cmocka_unit_test(chain_of_threads),
		cmocka_unit_test(chain_grows),
		cmocka_unit_test(chain_shrinks),
		cmocka_unit_test(chain_through_placeholder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
