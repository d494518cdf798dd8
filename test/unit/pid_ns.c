/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What images say of pid namespaces: those that are below themselves, too deep, or contradict the
 * tasks in them, are refused before anything is made.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "core/contents.h"
#include "kind/kind.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "kind/user_ns.h"
#include "pid_ns.pb-c.h"
#include "user_ns.pb-c.h"
#include "util/alloc.h"

static struct contents c;

static void begin(void)
{
	c = (struct contents){ .objects = objects_new() };
}

static enum code end(void)
{
	struct error err = ERROR_INIT;
	int r = contents_check(&c, &err);

	contents_close(&c);
	return r < 0 ? (enum code)err.code : CODE_NONE;
}

static PidNsState *add_ns(uint32_t id, uint32_t parent)
{
	PidNsState *s = xmalloc(sizeof(*s));

	pid_ns_state__init(s);
	s->parent = parent;
	assert_non_null(objects_insert(c.objects, id, &pid_ns_kind, &s->base));
	return s;
}

static int32_t *list(size_t n, int32_t first, int32_t last)
{
	int32_t *numbers = xcalloc(n, sizeof(*numbers));

	for (size_t i = 0; i < n; i++)
		numbers[i] = i + 1 == n ? last : first;
	return numbers;
}

/* a task in namespace @ns (0: none) with @n numbers below the root's, the last of them @number */
static TaskState *add_task(uint32_t tid, uint32_t parent, uint32_t ns, size_t n, int32_t number)
{
	TaskState *t = xmalloc(sizeof(*t));

	task_state__init(t);
	t->tid = t->tgid = tid;
	t->parent = parent;
	t->exit_signal = SIGCHLD;
	if (ns) {
		t->objects = xcalloc(1, sizeof(*t->objects));
		t->objects[t->n_objects++] = ns;
	}
	t->inner_tids = list(n, (int32_t)tid, number);
	t->inner_pgids = list(n, 0, 0);
	t->inner_sids = list(n, 0, 0);
	t->n_inner_tids = t->n_inner_pgids = t->n_inner_sids = n;
	*array_push(c.tasks, c.n_tasks) = objects_insert(c.objects, 1000 + tid, &task_kind,
	                                                 &t->base);
	return t;
}

static void add_user(PidNsState *s, uint32_t tid)
{
	*array_push(s->users, s->n_users) = tid;
}

static void what_is_right_is_taken(void **state)
{
	begin();
	add_ns(1, 0);
	add_ns(2, 1);
	add_task(10, 0, 0, 0, 0);
	add_task(11, 10, 1, 1, 1);
	add_task(12, 11, 2, 2, 1);
	add_task(13, 11, 1, 1, 7);
	add_user(add_ns(3, 1), 13);
	assert_int_equal(end(), CODE_NONE);
	/* that of the root, and one below it, whose init is dead */
	begin();
	add_ns(1, 0);
	add_ns(2, 0)->dead = true;
	add_task(1, 0, 1, 0, 0);
	add_task(12, 1, 2, 1, 1)->state = TASK_STATE__STATE__ZOMBIE;
	assert_int_equal(end(), CODE_NONE);
}

static void rings_are_refused(void **state)
{
	begin();
	add_ns(1, 1);
	add_task(10, 0, 0, 0, 0);
	assert_int_equal(end(), CODE_image_invalid);
	begin();
	add_ns(1, 2);
	add_ns(2, 1);
	add_task(10, 0, 0, 0, 0);
	assert_int_equal(end(), CODE_image_invalid);
	begin();
	add_ns(1, 99);
	add_task(10, 0, 0, 0, 0);
	assert_int_equal(end(), CODE_image_invalid);
}

static enum code deep(uint32_t n)
{
	begin();
	add_task(10, 0, 0, 0, 0);
	for (uint32_t i = 1; i <= n; i++) {
		add_ns(i, i - 1);
		add_task(10 + i, 9 + i, i, i, 1);
	}
	return end();
}

static void depth_is_bounded(void **state)
{
	assert_int_equal(deep(31), CODE_NONE);
	assert_int_equal(deep(33), CODE_image_invalid);
	assert_int_equal(deep(200), CODE_image_invalid);
}

static void numbers_must_be_as_many(void **state)
{
	for (size_t n = 0; n < 3; n++) {
		begin();
		add_ns(1, 0);
		add_task(10, 0, 0, 0, 0);
		add_task(11, 10, 1, n, 1);
		assert_int_equal(end(), n == 1 ? CODE_NONE : CODE_image_invalid);
	}
	begin();
	add_ns(1, 0);
	add_task(10, 0, 0, 0, 0);
	add_task(11, 10, 1, 1, 1)->n_inner_sids = 0;
	assert_int_equal(end(), CODE_image_invalid);
	begin(); /* in none, with a number */
	add_task(10, 0, 0, 0, 0);
	add_task(11, 10, 0, 1, 1);
	assert_int_equal(end(), CODE_image_invalid);
}

/* who is named as making children in a namespace */
static void users_must_be_above(void **state)
{
	static const struct {
		uint32_t user;
		enum code code;
	} cases[] = { { 10, CODE_NONE },
		      { 11, CODE_image_invalid },   /* in it */
		      { 13, CODE_image_invalid },   /* beside it */
		      { 99, CODE_image_invalid },   /* nobody */
		      { 14, CODE_image_invalid } }; /* dead */

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		PidNsState *s = add_ns(1, 0);
		add_ns(2, 0);
		add_task(10, 0, 0, 0, 0);
		add_task(11, 10, 1, 1, 1);
		add_task(13, 10, 2, 1, 1);
		add_task(14, 10, 0, 0, 0)->state = TASK_STATE__STATE__ZOMBIE;
		add_user(s, cases[i].user);
		assert_int_equal(end(), cases[i].code);
	}
	begin(); /* in two */
	add_task(10, 0, 0, 0, 0);
	add_user(add_ns(1, 0), 10);
	add_user(add_ns(2, 0), 10);
	assert_int_equal(end(), CODE_image_invalid);
}

/* owners are nested as the pid namespaces are */
static void owners_must_be_below(void **state)
{
	for (uint32_t i = 0; i < 4; i++) {
		begin();
		for (uint32_t id = 1; id <= 2; id++) {
			UserNsState *u = xmalloc(sizeof(*u));
			user_ns_state__init(u);
			assert_non_null(objects_insert(c.objects, id, &user_ns_kind, &u->base));
		}
		PidNsState *outer = add_ns(3, 0), *inner = add_ns(4, 3);
		outer->owner = 1;
		inner->owner = i; /* the coordinator's, the same, one beside it, none at all */
		add_task(10, 0, 0, 0, 0);
		add_task(11, 10, 3, 1, 1);
		add_task(12, 11, 4, 2, 1);
		assert_int_equal(end(), i == 1 ? CODE_NONE : CODE_image_invalid);
	}
}

static void states_must_agree_with_the_tasks(void **state)
{
	PidNsState *s;

	begin(); /* nobody's */
	add_ns(1, 0);
	add_task(10, 0, 0, 0, 0);
	assert_int_equal(end(), CODE_image_invalid);
	begin(); /* unborn, for two */
	s = add_ns(1, 0);
	add_task(10, 0, 0, 0, 0);
	add_task(11, 10, 0, 0, 0);
	add_user(s, 10);
	add_user(s, 11);
	assert_int_equal(end(), CODE_image_invalid);
	begin(); /* dead, and its init alive */
	add_ns(1, 0)->dead = true;
	add_task(10, 0, 0, 0, 0);
	add_task(11, 10, 1, 1, 1);
	assert_int_equal(end(), CODE_image_invalid);
	begin(); /* the root's, dead */
	add_ns(1, 0)->dead = true;
	add_task(1, 0, 1, 0, 0);
	assert_int_equal(end(), CODE_image_invalid);
	begin(); /* a dead init that no signal could have killed */
	add_ns(1, 0)->dead = true;
	add_task(10, 0, 0, 0, 0);
	TaskState *t = add_task(11, 10, 1, 1, 1);
	t->state = TASK_STATE__STATE__ZOMBIE;
	t->exit_code = SIGSEGV;
	assert_int_equal(end(), CODE_image_invalid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_right_is_taken),
		cmocka_unit_test(rings_are_refused),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(numbers_must_be_as_many),
		cmocka_unit_test(users_must_be_above),
		cmocka_unit_test(owners_must_be_below),
		cmocka_unit_test(states_must_agree_with_the_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
