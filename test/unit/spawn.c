/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spawning for real, without any state but the tree: the plan of a tree is executed under the
 * tracer, and /proc must show the tree that was asked for. Then everything is undone and nothing
 * must be left. Needs root; every tree is made in a pid namespace of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "core/restart.h"
#include "core/spawn.h"
#include "core/tree.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "proc/stat.h"
#include "task/plan.h"
#include "task/stub.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

static TaskState *new_task(struct restart *r, pid_t tid, pid_t tgid, pid_t parent, pid_t pgid,
                           pid_t sid)
{
	TaskState *t = xmalloc(sizeof(*t));

	task_state__init(t);
	t->tid = (uint32_t)tid;
	t->tgid = (uint32_t)tgid;
	t->parent = (uint32_t)parent;
	t->pgid = (uint32_t)pgid;
	t->sid = (uint32_t)sid;
	t->exit_signal = SIGCHLD;
	t->comm.data = xmalloc(2);
	memcpy(t->comm.data, "st", 2);
	t->comm.len = 2;
	*array_push(r->tasks, r->n_tasks) = objects_insert(r->objects, (uint32_t)tid, &task_kind,
	                                                   &t->base);
	return t;
}

static void check(int e, struct error *err)
{
	if (e < 0) {
		error_print(stderr, err, "test", true);
		_exit(1);
	}
}

static struct proc_stat stat_of(pid_t tgid, pid_t tid)
{
	char path[64], text[1024] = "";
	struct proc_stat st = { 0 };
	struct error err = ERROR_INIT;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", tgid, tid);
	FILE *f = fopen(path, "re");
	if (!f || fread(text, 1, sizeof(text) - 1, f) == 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	else
		check(proc_stat_parse(text, &st, &err), &err);
	if (f)
		fclose(f);
	return st;
}

static int wrong(const TaskState *t, const char *what, long got, long want)
{
	if (got != want)
		fprintf(stderr, "task %u: %s is %ld, should be %ld\n", t->tid, what, got, want);
	return got != want;
}

/* the process (leader) of a task's parent, as stat shows it */
static pid_t parent_process(struct restart *r, const TaskState *t)
{
	return t->parent ? restart_stub(r, (pid_t)t->parent)->leader->host_tid : getpid();
}

static bool is_child_of(pid_t tgid, pid_t tid, pid_t child)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/children", tgid, tid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		if (pid == child)
			return true;
	return false;
}

/* a recorded pid as we see it: in a new pid namespace the numbers differ */
static long seen(struct restart *r, pid_t pid)
{
	struct stub *stub = restart_stub_any(r, pid);

	return stub ? stub->host_tid : pid;
}

static int compare(struct restart *r)
{
	int n = 0;

	for (size_t i = 0; i < r->n_tasks; i++) {
		const TaskState *t = object_state(r->tasks[i], TaskState);
		struct proc_stat st = stat_of((pid_t)seen(r, (pid_t)t->tgid),
		                              (pid_t)seen(r, (pid_t)t->tid));
		bool dead = t->state >= TASK_STATE__STATE__ZOMBIE;
		if (t->tid == t->tgid)
			n += wrong(t, "ppid", st.ppid, parent_process(r, t));
		n += wrong(t, "sid", st.session, t->sid == 7 ? getsid(0) : seen(r, (pid_t)t->sid));
		n += wrong(t, "pgid", st.pgrp, t->pgid == 8 ? getpgrp() : seen(r, (pid_t)t->pgid));
		n += wrong(t, "zombie", st.state == 'Z', dead);
		if (dead)
			n += wrong(t, "exit code", st.exit_code, t->exit_code);
		if (t->tid == t->tgid && t->parent &&
		    !is_child_of(restart_stub(r, (pid_t)t->parent)->leader->host_tid,
		                 (pid_t)seen(r, (pid_t)t->parent), (pid_t)seen(r, (pid_t)t->tid)))
			n += wrong(t, "child of the right thread", 0, 1);
	}
	return n;
}

static int count_tasks(void)
{
	DIR *d = opendir("/proc");
	int n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] >= '1' && e->d_name[0] <= '9';
	closedir(d);
	return n;
}

/* in the new pid namespace, as its second process: spawns, compares, undoes */
static bool new_pidns;

static int spawn_and_compare(void (*make)(struct restart *r))
{
	const struct restart_options options = { .terminal = -1, .new_pidns = new_pidns };
	struct restart r = { .options = &options,
		             .new_pidns = new_pidns,
		             .socket = -1,
		             .stub_socket_here = -1,
		             .init_socket = -1,
		             .pidns_before = -1 };
	struct tree_namespaces namespaces = { 0 };
	struct error err = ERROR_INIT;
	struct timespec a, b, c;
	int before = count_tasks();

	pthread_mutex_init(&r.socket_lock, NULL);
	r.objects = objects_new();
	make(&r);
	check(tree_from_objects(r.objects, r.tasks, r.n_tasks, &r.plan_tasks, &namespaces, &err),
	      &err);
	check(plan_make(r.plan_tasks, r.n_tasks, &r.plan, &err), &err);
	clock_gettime(CLOCK_MONOTONIC, &a);
	check(tracer_start(&r.tracer, &err), &err);
	check(spawn_preflight(&r, &err), &err);
	check(spawn_prepare(&r, &err), &err);
	check(spawn_tree(&r, &err), &err);
	clock_gettime(CLOCK_MONOTONIC, &b);
	int n = compare(&r);
	clock_gettime(CLOCK_MONOTONIC, &c);
	tracer_stop(r.tracer);
	spawn_undo(&r);
	spawn_free(&r);
	fprintf(stderr, "%zu tasks, %zu steps: %.2f ms\n", r.n_tasks, r.plan->n_steps,
	        (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6);
	for (int i = 0; count_tasks() > before && i < 200; i++)
		usleep(10000);
	if (count_tasks() != before) {
		fprintf(stderr, "%d tasks are left\n", count_tasks() - before);
		n++;
	}
	plan_free(r.plan);
	tree_namespaces_done(&namespaces);
	free(r.plan_tasks);
	free(r.tasks);
	objects_free(r.objects);
	return n != 0;
}

static int reap_until(pid_t pid)
{
	int status;
	pid_t got;

	while ((got = wait(&status)) > 0)
		if (got == pid)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
	_exit(98);
}

/* pid 1 of a new pid namespace reaps; its child does the work */
static int in_namespace(void (*make)(struct restart *r))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
			_exit(77);
		pid = fork();
		if (pid > 0) {
			waitpid(pid, &status, 0);
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
		}
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
		mount("proc", "/proc", "proc", 0, NULL);
		pid = fork();
		if (pid == 0)
			_exit(spawn_and_compare(make));
		reap_until(pid);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}

static void expect(void (*make)(struct restart *r))
{
	int status = geteuid() == 0 ? in_namespace(make) : 77;

	if (status == 77)
		skip();
	assert_int_equal(status, 0);
}

static void make_one(struct restart *r)
{
	new_task(r, 500, 500, 0, 8, 7);
}
static void one(void **state)
{
	expect(make_one);
}

static void make_shell(struct restart *r)
{
	new_task(r, 500, 500, 0, 500, 500);
	for (pid_t pid = 501; pid < 506; pid++)
		new_task(r, pid, pid, 500, 501, 500);
	new_task(r, 510, 510, 500, 509, 500); /* a group whose leader is dead */
	new_task(r, 511, 511, 505, 511, 511); /* a daemon */
	new_task(r, 512, 512, 511, 512, 512);
	new_task(r, 513, 513, 512, 511, 511); /* made before its parent's setsid */
	new_task(r, 514, 514, 500, 520, 520); /* an orphan whose session leader is dead */
	new_task(r, 515, 515, 514, 530, 520);
}
static void shell(void **state)
{
	expect(make_shell);
}

static void thread(struct restart *r, pid_t tid, pid_t tgid)
{
	new_task(r, tid, tgid, 0, 8, 7)->parent = 0;
}

static void make_threads(struct restart *r)
{
	TaskState *t;

	new_task(r, 500, 500, 0, 8, 7);
	thread(r, 501, 500);
	thread(r, 502, 500);
	new_task(r, 503, 503, 502, 8, 7); /* a thread's child */
	t = new_task(r, 504, 504, 500, 8, 7);
	t->state = TASK_STATE__STATE__DEAD_LEADER;
	t->exit_code = 7 << 8;
	thread(r, 505, 504);
	thread(r, 506, 504);
	new_task(r, 507, 507, 505, 8, 7);
	t = new_task(r, 508, 508, 507, 8, 7);
	t->state = TASK_STATE__STATE__ZOMBIE;
	t->exit_code = 3 << 8;
	t = new_task(r, 509, 509, 501, 8, 7);
	t->state = TASK_STATE__STATE__ZOMBIE;
	t->exit_code = SIGSEGV;
	t = new_task(r, 510, 510, 500, 510, 510);
	t->state = TASK_STATE__STATE__ZOMBIE;
	t->exit_code = SIGKILL;
}
static void threads(void **state)
{
	expect(make_threads);
}

static void make_many(struct restart *r)
{
	new_task(r, 500, 500, 0, 8, 7);
	for (pid_t tid = 501; tid < 1500; tid++)
		thread(r, tid, 500);
}
static void thousand_threads(void **state)
{
	expect(make_many);
}

static void make_hundred(struct restart *r)
{
	new_task(r, 500, 500, 0, 500, 500);
	for (pid_t pid = 501; pid < 600; pid++)
		new_task(r, pid, pid, 500, 500, 500);
}
static void hundred_processes(void **state)
{
	expect(make_hundred);
}

static void make_deep(struct restart *r)
{
	new_task(r, 500, 500, 0, 500, 500);
	for (pid_t pid = 501; pid < 600; pid++)
		new_task(r, pid, pid, pid - 1, 500, 500);
}
static void chain_of_hundred(void **state)
{
	expect(make_deep);
}

static void in_new_pidns(void **state)
{
	new_pidns = true;
	expect(make_one);
	expect(make_shell);
	expect(make_threads);
	new_pidns = false;
}

static void make_init(struct restart *r)
{
	new_task(r, 1, 1, 0, 1, 1);
	new_task(r, 2, 2, 1, 2, 1);
	new_task(r, 3, 3, 1, 4, 4);
}
static void root_is_init(void **state)
{
	new_pidns = true;
	expect(make_init);
	new_pidns = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one),
		cmocka_unit_test(shell),
		cmocka_unit_test(threads),
		cmocka_unit_test(thousand_threads),
		cmocka_unit_test(hundred_processes),
		cmocka_unit_test(chain_of_hundred),
		cmocka_unit_test(in_new_pidns),
		cmocka_unit_test(root_is_init),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
