/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart, phase preflight: all that stands in the way, at once, before anything is made. What only
 * a try can tell (a pid that is taken in the meantime) fails later and is rolled back.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/external.h"
#include "core/pidns.h"
#include "core/restart_parts.h"
#include "core/spawn.h"
#include "host/features.h"
#include "kind/kind.h"
#include "kind/mnt_ns.h"
#include "proc/read.h"
#include "proc/stat.h"
#include "task/plan.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define CAP_SYS_ADMIN          21
#define CAP_CHECKPOINT_RESTORE 40
#define PATIENCE_MS            1000 /* for the dead to be waited for */

bool preflight_pid_in_use(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH || kill(-pid, 0) == 0 || errno != ESRCH;
}

/* the parent of a process that is dead; 0 when it is alive, -1 when it has gone altogether */
static pid_t parent_of_dead(pid_t pid)
{
	char text[1024];
	struct proc_stat stat;
	struct error ignored;

	if (proc_read(pid, "stat", text, sizeof(text)) <= 0 ||
	    proc_stat_parse(text, &stat, &ignored) < 0)
		return -1;
	return stat.state == 'Z' || stat.state == 'X' ? stat.ppid : 0;
}

/*
 * A tree that was just killed by a checkpoint is waited for by init, which takes a moment: give it
 * that, @patience_ms in all.
 */
static bool pid_stays_in_use(pid_t pid, unsigned *patience_ms)
{
	while (preflight_pid_in_use(pid)) {
		if (*patience_ms == 0 || parent_of_dead(pid) == 0)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		--*patience_ms;
	}
	return false;
}

bool preflight_needs_pid(const struct restart *r, pid_t pid)
{
	for (size_t i = 0; !r->new_pidns && i < r->plan->n_nodes; i++)
		if (r->plan->nodes[i].tid == pid)
			return true;
	return false;
}

static void refuse_pid(struct restart *r, pid_t pid)
{
	struct error refusal;
	pid_t parent = parent_of_dead(pid);

	error_refuse(&refusal, CODE_pid_in_use, "pid %d is in use on this host", pid);
	error_task(&refusal, pid, NULL);
	if (pid == getpid() || pid == getppid())
		error_hint(&refusal, "it is this command itself: run it again, or with "
		                     "--new-pidns");
	else if (parent > 0)
		error_hint(&refusal,
		           "it is dead, but pid %d has not waited for it; or restart "
		           "with --new-pidns",
		           parent);
	else
		error_hint(&refusal, "end that process, or restart with --new-pidns");
	restart_refuse(r, &refusal);
}

static int pid_max(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	int n;

	return f && fscanf(f, "%d", &n) == 1 ? n : 4 << 20; /* the most there can be, proc(5) */
}

static void check_pids(struct restart *r)
{
	struct error refusal;
	pid_t highest = 0;
	int max = pid_max();
	unsigned patience_ms = PATIENCE_MS;

	for (size_t i = 0; i < r->plan->n_nodes; i++) {
		const struct plan_node *node = &r->plan->nodes[i];
		if (!node->tid) /* a placeholder takes one that is free */
			continue;
		/* pid 1 of a new namespace is the root, or an init of ours */
		bool in_use = r->new_pidns ? node->tid == 1 && i != r->plan->root
		                           : node->tid < max &&
		                                     pid_stays_in_use(node->tid, &patience_ms);
		if (node->tid > 0 && in_use)
			refuse_pid(r, node->tid);
		if (node->tid > highest)
			highest = node->tid;
	}
	if (highest < max)
		return;
	error_refuse(&refusal, CODE_pid_max, "the image has pid %d, the kernel's limit is %d",
	             highest, max);
	error_hint(&refusal, "sysctl kernel.pid_max=%u", (unsigned)highest + 1);
	restart_refuse(r, &refusal);
}

static void refuse_capability(struct restart *r, int capability, const char *what, const char *hint)
{
	struct error refusal;

	error_refuse(&refusal, CODE_capability, "%s is needed to %s",
	             features_capability_name(capability), what);
	error_hint(&refusal, "%s", hint);
	restart_refuse(r, &refusal);
}

static void check_privileges(struct restart *r)
{
	if (r->new_pidns) {
		if (!features_capability(CAP_SYS_ADMIN) && !feature(FEATURE_user_namespaces))
			refuse_capability(r, CAP_SYS_ADMIN, "make a pid namespace",
			                  "restart as root, or allow unprivileged user namespaces");
	} else if (!feature(FEATURE_clone3_set_tid)) {
		refuse_capability(r, CAP_CHECKPOINT_RESTORE, "choose the pids of new tasks",
		                  "restart as root, or with --new-pidns");
	}
}

/* the restart's own process group is not to be found in a new namespace */
static void check_groups(struct restart *r)
{
	struct error refusal;

	for (size_t i = 0; r->new_pidns && i < r->plan->n_steps; i++) {
		const struct plan_step *step = &r->plan->steps[i];
		if (step->action != PLAN_SETPGID || step->pgid)
			continue;
		error_refuse(&refusal, CODE_tree_shape,
		             "it must enter a process group outside its pid namespace");
		error_task(&refusal, r->plan->nodes[step->actor].tid, NULL);
		error_hint(&refusal, "restart without --new-pidns");
		restart_refuse(r, &refusal);
		return;
	}
}

static int check_kinds(struct restart *r, struct error *err)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, NULL, &cursor));) {
		if (!o->kind->preflight)
			continue;
		int e = o->kind->preflight(r, o, err);
		if (e == -EOPNOTSUPP && err->code != CODE_NONE) {
			restart_refuse(r, err);
			e = 0;
		}
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}

/* every kind has looked at what it needs: a name that is left is mistyped */
static void check_externals(struct restart *r)
{
	struct error refusal = ERROR_INIT;
	const char *name = externals_unused_name(r->options->externals);

	if (!name)
		return;
	error_refuse(&refusal, CODE_external_unused,
	             "--external %s=...: the image has no external object of that name", name);
	error_hint(&refusal, "stasis inspect FILE --objects shows the names");
	restart_refuse(r, &refusal);
}

static void check_root(struct restart *r)
{
	struct error refusal;
	size_t cursor = 0;

	if (!r->options->root || objects_next(r->objects, &mnt_ns_kind, &cursor))
		return;
	error_refuse(&refusal, CODE_root_unused, "the image has no mount namespace of its own");
	error_object(&refusal, "--root %s", r->options->root);
	restart_refuse(r, &refusal);
}

int restart_preflight(struct restart *r, struct error *err)
{
	check_privileges(r);
	check_pids(r);
	check_groups(r);
	int e = check_kinds(r, err);
	if (e == 0)
		e = spawn_preflight(r, err);
	if (e < 0)
		return error_trace(err, e);
	check_externals(r);
	check_root(r);
	return r->refusals.n ? -EOPNOTSUPP : 0;
}
