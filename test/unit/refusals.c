/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refusals that no program can cause here, since they are for other processors, other kernels or
 * other privileges: asked of the functions that give them. Needs root, for a user namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "core/restart_parts.h"
#include "cpu.pb-c.h"
#include "image/image.h"
#include "kind/cpu.h"
#include "kind/file.h"
#include "kind/posix_timer.h"
#include "kind/rlimit.h"
#include "kind/sched.h"
#include "kind/task.h"
#include "rlimit.pb-c.h"
#include "sched.pb-c.h"
#include "task.pb-c.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define XSAVE_HEADER 512 /* where XSTATE_BV is */

static void assert_refused(const struct refusals *refusals, enum code code)
{
	assert_int_equal(refusals->n, 1);
	assert_int_equal(refusals->items[0].code, code);
	free(refusals->items);
}

/* a CPU's register set that this one lacks */
static void test_xstate(void **state)
{
	uint8_t area[XSAVE_HEADER + 64] = { 0 };
	CpuState cpu = CPU_STATE__INIT;
	struct object object = { .id = 1, .kind = &cpu_kind, .message = &cpu.base };
	struct restart r = { 0 };
	struct error err = ERROR_INIT;

	memcpy(area + XSAVE_HEADER, &(uint64_t){ 3 }, sizeof(uint64_t));
	cpu.extended.data = area;
	cpu.extended.len = sizeof(area);
	assert_int_equal(cpu_kind.preflight(&r, &object, &err), 0);
	memcpy(area + XSAVE_HEADER, &(uint64_t){ 1ull << 61 }, sizeof(uint64_t));
	assert_int_equal(cpu_kind.preflight(&r, &object, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_cpu_xstate);
}

static void test_shadow_stack(void **state)
{
	struct checkpoint c = { .objects = objects_new() };
	struct task task = { .tid = 1 };
	struct error err = ERROR_INIT;

	snprintf(task.status.x86_thread_features, sizeof(task.status.x86_thread_features), "shstk");
	assert_int_equal(cpu_kind.collect(&c, &task, &err), 0);
	assert_refused(&c.refusals, CODE_cpu_shstk);
	free(c.unexamined.items);
	free(task.objects);
	objects_free(c.objects);
}

static void test_policy(void **state)
{
	SchedState sched = SCHED_STATE__INIT;
	struct object object = { .id = 1, .kind = &sched_kind, .message = &sched.base };
	struct restart r = { 0 };
	struct error err = ERROR_INIT;

	sched.nice = getpriority(PRIO_PROCESS, 0);
	assert_int_equal(sched_kind.preflight(&r, &object, &err), 0);
	assert_int_equal(r.refusals.n, 0);
	sched.policy = 99;
	assert_int_equal(sched_kind.preflight(&r, &object, &err), 0);
	assert_refused(&r.refusals, CODE_sched_policy);
}

static void test_file_flags(void **state)
{
	struct error err = ERROR_INIT;

	assert_int_equal(file_check_flags(O_RDWR | O_APPEND | O_CLOEXEC, &err), 0);
	assert_int_equal(file_check_flags(O_RDWR | 1u << 30, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_file_flags);
}

static void test_timer_clock(void **state)
{
	struct error err = ERROR_INIT;

	assert_int_equal(posix_timer_check_clock(CLOCK_BOOTTIME, &err), 0);
	assert_int_equal(posix_timer_check_clock(CLOCK_THREAD_CPUTIME_ID, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_posix_timer_cpu_clock);
	assert_int_equal(posix_timer_check_clock(16 /* of 6.17's auxiliary ones */, &err),
	                 -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_posix_timer_clock);
}

/* root of a user namespace has CAP_SYS_RESOURCE, if only there: preflight goes on to the ceiling */
static void test_nr_open(void **state)
{
	RlimitLimit limits[RLIM_NLIMITS], *items[RLIM_NLIMITS];
	RlimitState rlimit = RLIMIT_STATE__INIT;
	struct object object = { .id = 1, .kind = &rlimit_kind, .message = &rlimit.base };
	struct restart r = { 0 };
	struct error err = ERROR_INIT;

	if (unshare(CLONE_NEWUSER) < 0)
		skip();
	for (uint32_t i = 0; i < RLIM_NLIMITS; i++) {
		rlimit_limit__init(&limits[i]);
		limits[i].resource = i;
		items[i] = &limits[i];
	}
	rlimit.limits = items;
	rlimit.n_limits = RLIM_NLIMITS;
	assert_int_equal(rlimit_kind.preflight(&r, &object, &err), 0);
	assert_int_equal(r.refusals.n, 0);
	limits[RLIMIT_NOFILE].hard = limits[RLIMIT_NOFILE].soft = 1ull << 40;
	assert_int_equal(rlimit_kind.preflight(&r, &object, &err), 0);
	assert_refused(&r.refusals, CODE_rlimit_nr_open);
}

/* no checkpoint makes such an image; one whose root is alive is read */
static int read_image_of(TaskState__State root)
{
	const struct image_writer_options options = { .compression = IMAGE_RAW };
	const struct restart_options restart_options = { 0 };
	struct restart r = { .options = &restart_options };
	struct image_writer *w;
	struct error err = ERROR_INIT;
	TaskState task = TASK_STATE__INIT;
	_cleanup_(close_p) int fd = memfd_create("image", MFD_CLOEXEC);

	task.tid = task.tgid = task.pgid = task.sid = 77;
	task.exit_signal = 17;
	task.state = root;
	assert_int_equal(image_writer_new(&w, fd, &options, &err), 0);
	assert_int_equal(image_writer_message(w, task_kind.number, 1, &task.base, &err), 0);
	assert_int_equal(image_writer_finish(w, &err), 0);
	image_writer_free(w);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(contents_open(&r.image, fd, &err), 0);
	r.objects = r.image.objects;
	int e = restart_read(&r, fd, &err);
	if (e < 0)
		assert_int_equal(err.code, CODE_image_invalid);
	if (e < 0)
		assert_string_equal(err.cause, "its root task is dead");
	contents_close(&r.image);
	return e;
}

static void test_dead_root(void **state)
{
	assert_int_equal(read_image_of(TASK_STATE__STATE__LIVE), 0);
	assert_int_equal(read_image_of(TASK_STATE__STATE__ZOMBIE), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xstate),      cmocka_unit_test(test_shadow_stack),
		cmocka_unit_test(test_policy),      cmocka_unit_test(test_file_flags),
		cmocka_unit_test(test_timer_clock), cmocka_unit_test(test_dead_root),
		cmocka_unit_test(test_nr_open), /* the last: it is in a user namespace afterwards */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
