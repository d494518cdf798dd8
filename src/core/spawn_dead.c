/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tasks that end before the others run: placeholders, and those that are dead in the image. */
#include <linux/reboot.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "core/spawn.h"
#include "core/spawn_parts.h"
#include "kind/cred.h"
#include "kind/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static int set_reaper(struct stub *reaper, bool on, struct error *err)
{
	CALL(reaper->calls, prctl, PR_SET_CHILD_SUBREAPER, on);
	return calls_run(reaper->calls, err);
}

int spawn_exit(struct restart *r, const struct plan_step *step, struct error *err)
{
	struct stub *stub = r->stubs[step->actor];
	struct stub *reaper = step->node == PLAN_NONE ? NULL : r->stubs[step->node];
	struct stub *parent = spawn_real_parent(r, stub);
	int e = spawn_run_list(r, stub, err);

	if (e == 0 && reaper)
		e = set_reaper(reaper, true, err);
	if (e < 0)
		return error_trace(err, e);
	CALL(stub->calls, exit_group, 0);
	calls_leave(stub->calls);
	stub->n_objects = 0; /* a midwife's are those of the child */
	CALL(parent->calls, wait4, (uint64_t)stub_number(stub, parent), 0, __WALL, 0);
	e = calls_run(parent->calls, err);
	if (e == 0 && reaper)
		e = set_reaper(reaper, false, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static void add_signal_death(struct stub *stub, int signal)
{
	static const uint64_t default_action[4];
	struct calls *calls = stub->calls;
	uint64_t set = calls_copy(calls, &(uint64_t){ 1ull << (signal - 1) }, 8);

	/* no core: not dumpable, core(5) */
	CALL(calls, prctl, PR_SET_DUMPABLE, 0);
	if (signal != SIGKILL)
		CALL(calls, rt_sigaction, signal,
		     calls_copy(calls, default_action, sizeof(default_action)), 0, 8);
	CALL(calls, tgkill, (uint64_t)stub_number(stub, stub), (uint64_t)stub_number(stub, stub),
	     signal);
	CALL(calls, rt_sigprocmask, SIG_UNBLOCK, set, 0, 8);
}

/*
 * An init does not die of signals from its own namespace, nor of any from outside but SIGKILL; by
 * reboot(2) it ends as if by SIGHUP or SIGINT, pid_namespaces(7).
 */
static int kill_init(struct restart *r, struct stub *stub, int signal, struct error *err)
{
	struct stub *parent = spawn_real_parent(r, stub);
	int e;

	if (signal != SIGKILL) {
		CALL(stub->calls, reboot, (uint32_t)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		     signal == SIGHUP ? LINUX_REBOOT_CMD_RESTART : LINUX_REBOOT_CMD_POWER_OFF, 0);
		calls_leave(stub->calls);
		return 0;
	}
	e = calls_run(stub->calls, err);
	if (e < 0)
		return error_trace(err, e);
	calls_leave(stub->calls);
	CALL(parent->calls, kill, (uint64_t)stub_number(stub, parent), SIGKILL);
	e = calls_run(parent->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int spawn_die(struct restart *r, const struct plan_step *step, struct error *err)
{
	struct stub *stub = r->stubs[step->actor];
	const TaskState *t = object_state(stub->task, TaskState);
	bool is_init = stub->ns && stub->ns->init == stub->node;
	int e = task_kind.install(r, stub->task, stub, err);

	if (e < 0)
		return e;
	/* one in a user namespace may not make it higher than ours is */
	if (t->dead_nice != getpriority(PRIO_PROCESS, 0) && stub->user_ns && stub->host_tid > 0) {
		if (setpriority(PRIO_PROCESS, (id_t)stub->host_tid, t->dead_nice) < 0)
			return error_raise(err, errno, "setpriority of %d", stub->tid);
	} else if (t->dead_nice != getpriority(PRIO_PROCESS, 0))
		CALL(stub->calls, setpriority, PRIO_PROCESS, 0, t->dead_nice);
	if (is_init && t->exit_code & 0x7f) /* reboot(2) wants the capability that goes with 0 */
		CALL(stub->calls, prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
	e = cred_of_dead(r, stub, t->dead_uid, t->dead_gid, err);
	if (e < 0) {
		error_task(err, stub->tid, NULL);
		return error_trace(err, e);
	}
	if (is_init && t->exit_code & 0x7f)
		return kill_init(r, stub, (int)(t->exit_code & 0x7f), err);
	if (t->exit_code & 0x7f)
		add_signal_death(stub, (int)(t->exit_code & 0x7f));
	else if (t->state == TASK_STATE__STATE__ZOMBIE)
		CALL(stub->calls, exit_group, t->exit_code >> 8);
	else
		CALL(stub->calls, exit, t->exit_code >> 8);
	calls_leave(stub->calls);
	return 0;
}

/*
 * The parent sees the zombie, and leaves it; WNOWAIT needs the exit, not the reaping. It does not
 * block there: the one that is to end may have come back from its last list with an error.
 */
static int look_for_zombie(struct stub *parent, struct stub *stub, siginfo_t *ret,
                           struct error *err)
{
	int e = 0;

	*ret = (siginfo_t){ 0 };
	for (unsigned i = 0; e == 0 && !ret->si_pid; i++) {
		uint64_t addr;
		siginfo_t *info = calls_data(parent->calls, sizeof(*info), &addr);
		CALL(parent->calls, waitid, P_PID, (uint64_t)stub_number(stub, parent), addr,
		     WEXITED | WNOWAIT | WNOHANG | __WALL, 0);
		e = calls_run(parent->calls, err);
		if (e == 0)
			*ret = *info;
		if (e == 0 && !ret->si_pid)
			e = calls_came_back(stub->calls, err);
		if (e == 0 && !ret->si_pid)
			nanosleep(&(struct timespec){ .tv_nsec = i < 100 ? 20000 : 500000 }, NULL);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

static int await_zombie(struct restart *r, struct stub *stub, struct error *err)
{
	const TaskState *t = object_state(stub->task, TaskState);
	siginfo_t info;
	int e = look_for_zombie(restart_stub(r, (pid_t)t->parent), stub, &info, err);

	if (e < 0)
		return error_trace(err, e);
	int want = t->exit_code & 0x7f ? (int)(t->exit_code & 0x7f) : (int)(t->exit_code >> 8);
	if (info.si_status != want ||
	    info.si_code != (t->exit_code & 0x7f ? CLD_KILLED : CLD_EXITED))
		return error_raise(err, EPROTO, "zombie %d got status %d instead of %d", stub->tid,
		                   info.si_status, want);
	return 0;
}

/* the signal that told the parent is not one that it had pending when it was recorded */
static int drain(struct stub *parent, struct error *err)
{
	static const uint64_t all = ~0ull;
	static const struct timespec now = { 0 };
	int64_t result;
	int e;

	do {
		uint64_t set = calls_copy(parent->calls, &all, sizeof(all));
		uint64_t zero = calls_copy(parent->calls, &now, sizeof(now));
		unsigned i = calls_add(parent->calls, &(struct call){ .nr = __NR_rt_sigtimedwait,
		                                                      .arg = { set, 0, zero, 8 },
		                                                      .may_fail = true });
		e = calls_run(parent->calls, err);
		result = e == 0 ? calls_result(parent->calls, i) : 0;
	} while (result > 0);
	return e;
}

/* a leader that ends before its threads tells nobody; proc_pid_stat(5) */
static int await_dead_leader(struct stub *stub, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/stat", stub->host_tid,
	                                         stub->host_tid);

	for (unsigned i = 0; i < 20000; i++) {
		_cleanup_(fclose_p) FILE *f = fopen(path, "re");
		char text[512] = "";
		if (f && fread(text, 1, sizeof(text) - 1, f) > 0) {
			const char *end = strrchr(text, ')');
			if (end && (end[2] == 'Z' || end[2] == 'X'))
				return 0;
		}
		nanosleep(&(struct timespec){ .tv_nsec = i < 100 ? 20000 : 500000 }, NULL);
	}
	return error_raise(err, ETIMEDOUT, "wait for the leader %d to end", stub->tid);
}

int spawn_await_dead(struct restart *r, struct error *err)
{
	struct stub *parent = NULL;
	int e = 0;

	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		if (r->plan_tasks[i].state == PLAN_DEAD_LEADER)
			e = await_dead_leader(r->stubs[i], err);
	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		if (r->plan_tasks[i].state == PLAN_ZOMBIE)
			e = await_zombie(r, r->stubs[i], err);
	for (size_t i = 0; e == 0 && i < r->n_tasks; i++) {
		if (r->plan_tasks[i].state != PLAN_ZOMBIE)
			continue;
		struct stub *next = restart_stub(r, r->plan_tasks[i].parent);
		if (next != parent)
			e = drain(next, err);
		parent = next;
	}
	return e;
}
