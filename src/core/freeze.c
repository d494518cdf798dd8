/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Held tasks make no children, so the walk through the set (freeze_scan.c) is repeated until it
 * meets only tasks that are held, or dead.
 *
 * A task in uninterruptible sleep does not stop. Mostly it waits in vfork(2) for a child that we
 * have just stopped: the child's subtree is let go until it has called exec or exit, within
 * --timeout.
 */
#include "core/freeze.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "core/freeze_private.h"
#include "kind/cgroup.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/map.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

/* ---- holding ---- */

static void refuse_tid(struct freezer *f, pid_t tid, struct error *refusal)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/comm", tid), *comm = NULL;

	if (file_read(AT_FDCWD, path, &comm) > 0 && comm)
		comm[strcspn(comm, "\n")] = 0;
	error_task(refusal, tid, comm);
	refuse(f->c, NULL, refusal);
}

static void refuse_denied(struct freezer *f, const struct hold *hold)
{
	struct error refusal = ERROR_INIT;

	if (hold->errnum == EBUSY) {
		error_refuse(&refusal, CODE_task_ptraced, "it is being traced by another process");
		error_hint(&refusal, "end the debugger or strace that is attached to it");
	} else {
		error_refuse(&refusal, CODE_task_permission, "it may not be traced: %s",
		             strerror(hold->errnum));
		error_hint(&refusal, "run stasis as the task's user, or with CAP_SYS_PTRACE");
	}
	refuse_tid(f, hold->tid, &refusal);
}

static void refuse_unseen(struct freezer *f)
{
	const char *hint = "run stasis as root, or end that process";
	struct error refusal = ERROR_INIT;

	for (size_t i = 0; i < f->scan.n_unseen; i++) {
		error_refuse(&refusal, CODE_task_permission, "%s", f->scan.unseen[i].why);
		error_hint(&refusal, "%s", hint);
		refuse_tid(f, f->scan.unseen[i].pid, &refusal);
	}
	if (f->scan.blind) {
		error_refuse(&refusal, CODE_task_permission,
		             "whether other users' processes are in its pid namespace cannot be "
		             "seen: %s",
		             strerror(f->scan.blind));
		error_hint(&refusal, "run stasis as root, or on Linux 6.11 or later");
		refuse_tid(f, f->c->options->root, &refusal);
	}
}

/*
 * What is frozen by its cgroup (docker pause) does not stop for us (v1), or cannot run a list of
 * calls (v2), before it is thawed. Asked once for each group, while the tasks are not held yet.
 */
static void refuse_frozen(struct freezer *f)
{
	struct map *seen = map_new();

	for (size_t i = 0; i < f->scan.n; i++) {
		const struct found *item = &f->scan.items[i];
		_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/cgroup", item->tgid,
		                                         item->tid);
		_cleanup_(free_p) char *text = NULL, *group = NULL;
		struct error refusal = ERROR_INIT;
		ssize_t n = item->dead ? 0 : file_read(AT_FDCWD, path, &text);
		if (n <= 0 || map_get(seen, text, (size_t)n))
			continue;
		map_put(seen, text, (size_t)n, f);
		group = cgroup_frozen_of(text);
		if (!group)
			continue;
		error_refuse(&refusal, CODE_cgroup_frozen, "its cgroup is frozen");
		error_object(&refusal, "cgroup %s", group);
		error_hint(&refusal,
		           "thaw it first (cgroup.freeze, freezer.state, docker unpause)");
		refuse_tid(f, item->tid, &refusal);
	}
	map_free(seen);
}

/* a thread that has gone may have called execve(2): its process's leader is another task since */
static void ask_leader_again(const struct freezer *f, pid_t tgid)
{
	struct hold *leader = freeze_hold(f, tgid);

	if (leader)
		leader->state = HOLD_GONE;
}

/* holds what the last scan has found and is neither held nor dead; *ret_n = how many those were */
static int hold_found(struct freezer *f, size_t *ret_n, struct error *err)
{
	_cleanup_(free_p) struct hold *holds = xcalloc(f->scan.n, sizeof(*holds));
	_cleanup_(free_p) pid_t *tgids = xcalloc(f->scan.n, sizeof(*tgids));
	uint64_t now = now_ms();
	size_t n = 0;

	for (size_t i = 0; i < f->scan.n; i++) {
		const struct found *item = &f->scan.items[i];
		const struct hold *known = freeze_hold(f, item->tid);
		if (item->dead || (known && known->state != HOLD_RUNNING))
			continue;
		tgids[n] = item->tgid;
		holds[n++].tid = item->tid;
	}
	*ret_n = n;
	if (n == 0)
		return 0;
	int r = tracer_hold(f->c->tracer, holds, n,
	                    now < f->end_ms ? (unsigned)(f->end_ms - now) : 0, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < n; i++) {
		if (holds[i].state == HOLD_GONE) {
			ask_leader_again(f, tgids[i]);
			continue;
		}
		if (holds[i].state == HOLD_DENIED)
			refuse_denied(f, &holds[i]);
		struct hold *known = map_get(f->held, &holds[i].tid, sizeof(holds[i].tid));
		if (!known)
			map_put(f->held, &holds[i].tid, sizeof(holds[i].tid),
			        known = xmalloc(sizeof(*known)));
		*known = holds[i];
	}
	return 0;
}

static bool is_running(const struct freezer *f, pid_t tid)
{
	const struct hold *hold = freeze_hold(f, tid);

	return hold && hold->state == HOLD_RUNNING;
}

/* lets the descendants of what sleeps uninterruptibly go on; *ret: whether anything sleeps so */
static int release_waited_for(struct freezer *f, bool *ret, struct error *err)
{
	_cleanup_(free_p) pid_t *tids = xcalloc(f->scan.n, sizeof(*tids));
	_cleanup_(free_p) bool *free_to_run = xcalloc(f->scan.n, sizeof(*free_to_run));
	size_t n = 0;

	*ret = false;
	for (size_t i = 0; i < f->scan.n; i++) {
		const struct found *item = &f->scan.items[i];
		bool running = is_running(f, item->tid);
		bool below = item->caller != SIZE_MAX && free_to_run[item->caller];
		*ret |= running;
		free_to_run[i] = running || below;
		struct hold *hold = freeze_hold(f, item->tid);
		if (below && hold && !running) {
			tids[n++] = item->tid;
			hold->state = HOLD_GONE;
		}
	}
	int r = n ? tracer_release(f->c->tracer, tids, n, err) : 0;
	return r < 0 ? error_trace(err, r) : 0;
}

static bool is_asleep(const struct found *item)
{
	struct proc_stat stat;
	struct error ignored;

	return freeze_read_stat(item->tgid, item->tid, &stat, &ignored) == 0 && stat.state == 'D';
}

static int refuse_late(struct freezer *f)
{
	struct error refusal = ERROR_INIT;
	bool any = false;

	for (size_t i = 0; i < f->scan.n; i++) {
		if (!is_running(f, f->scan.items[i].tid))
			continue;
		any = true;
		error_refuse(&refusal, CODE_task_state, "it %sdid not stop within %u ms",
		             is_asleep(&f->scan.items[i]) ? "is in uninterruptible sleep and " : "",
		             f->c->options->timeout_ms);
		error_hint(&refusal,
		           "wait until it has done its I/O, or its vfork child has called "
		           "exec; or raise --timeout");
		refuse_tid(f, f->scan.items[i].tid, &refusal);
	}
	if (!any) {
		error_refuse(&refusal, CODE_task_changed,
		             "tasks kept appearing; no two scans agreed within %u ms",
		             f->c->options->timeout_ms);
		error_hint(&refusal, "try again, or raise --timeout");
		refuse_tid(f, f->c->options->root, &refusal);
	}
	return -EOPNOTSUPP;
}

static int hold_set(struct freezer *f, struct error *err)
{
	bool first = true, late = false;

	for (;;) {
		bool sleeping = false;
		size_t n_new = 0;
		int r = freeze_scan(f, err);
		if (r == 0 && first)
			refuse_frozen(f);
		if (r == 0 && f->c->refusals.n)
			return -EOPNOTSUPP;
		first = false;
		if (r == 0)
			r = hold_found(f, &n_new, err);
		if (r < 0)
			return error_trace(err, r);
		bool done = n_new == 0 && !f->scan.vanished;
		if (done) /* now that nothing moves */
			refuse_unseen(f);
		if (f->c->refusals.n)
			return -EOPNOTSUPP;
		if (done)
			return 0;
		r = release_waited_for(f, &sleeping, err);
		if (r < 0)
			return error_trace(err, r);
		/* when all have stopped, one more scan is due to see that there are no others */
		if (late || (sleeping && now_ms() >= f->end_ms))
			return refuse_late(f);
		late = now_ms() >= f->end_ms;
		if (sleeping) /* nothing tells of the end of a vfork */
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

/* ---- the root ---- */

static int refuse_root(struct freezer *f, struct error *refusal)
{
	refuse_tid(f, f->c->options->root, refusal);
	return -EOPNOTSUPP;
}

/* the coordinator cannot stop itself, nor what waits for it */
static int check_ancestors(struct freezer *f, struct error *err)
{
	struct error refusal = ERROR_INIT;
	struct proc_stat stat;

	for (pid_t pid = getpid(); pid > 0; pid = stat.ppid) {
		if (pid == f->c->options->root) {
			error_refuse(&refusal, CODE_task_ancestor,
			             "stasis itself is one of its descendants");
			error_hint(&refusal, "run stasis from another shell or session");
			return refuse_root(f, &refusal);
		}
		int r = freeze_read_stat(pid, pid, &stat, err);
		if (r == -ENOENT || r == -ESRCH || r == -EPERM)
			return 0; /* EPERM, by hidepid: were it of the set, it would be found below
			           */
		if (r < 0)
			return error_raise(err, -r, "read /proc/%d/stat", pid);
	}
	return 0;
}

/* a thread other than the first: /proc/TID is there for those, too, but they have no pidfd */
static bool is_thread(pid_t tid)
{
	_cleanup_(close_p) int fd = pidfd_open(tid, 0);

	return fd < 0 && (errno == EINVAL || errno == ENOENT);
}

static int check_root(struct freezer *f, struct error *err)
{
	pid_t root = f->c->options->root;
	struct error refusal = ERROR_INIT;
	struct proc_stat stat;
	int r = freeze_read_leader(root, &stat, err);

	if (r == -ESRCH)
		return error_raise(err, ESRCH, "there is no process %d", root);
	if (r == 0 && is_thread(root)) {
		r = error_raise(err, EINVAL, "%d is a thread, not a process", root);
		error_hint(err, "give the pid of its process (Tgid in /proc/%d/status)", root);
		return r;
	}
	if (r == -EACCES || r == -EPERM) {
		error_refuse(&refusal, CODE_task_permission, "/proc does not show it (hidepid)");
		error_hint(&refusal, "run stasis as the task's user, or with CAP_SYS_PTRACE");
		return refuse_root(f, &refusal);
	}
	if (r < 0)
		return error_raise(err, -r, "read /proc/%d/stat", root);
	if (stat.flags & PF_KTHREAD || (freeze_is_dead(stat.state) && stat.num_threads <= 1)) {
		error_refuse(&refusal, CODE_task_gone, "it is %s",
		             stat.flags & PF_KTHREAD ? "a thread of the kernel" : "dead");
		return refuse_root(f, &refusal);
	}
	return check_ancestors(f, err);
}

static int hold_and_list(struct freezer *f, struct error *err)
{
	for (;;) {
		int r = hold_set(f, err);
		if (r == 0)
			r = freeze_list(f, err);
		if (r <= 0)
			return r;
		freeze_free_tasks(f->c);
		f->c->by_tid = map_new();
	}
}

static int look_and_list(struct freezer *f, struct error *err)
{
	int r = freeze_scan(f, err);

	if (r < 0)
		return error_trace(err, r);
	refuse_unseen(f);
	refuse_frozen(f);
	return f->scan.n ? freeze_list(f, err) : -EOPNOTSUPP;
}

int freeze_set(struct checkpoint *c, struct error *err)
{
	struct freezer f = { .c = c,
		             .held = map_new(),
		             .end_ms = now_ms() + c->options->timeout_ms };
	size_t cursor = 0;
	int r = check_root(&f, err);

	if (r == 0)
		r = c->tracer ? hold_and_list(&f, err) : look_and_list(&f, err);
	for (void *hold; (hold = map_next(f.held, &cursor));)
		free(hold);
	map_free(f.held);
	freeze_scan_free(&f.scan);
	return r;
}

static bool is_known(const struct checkpoint *c, const struct found *item)
{
	const struct task *task = checkpoint_task(c, item->tid);
	struct proc_stat stat;
	struct error ignored;

	return task &&
	       item->dead == (task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER) &&
	       freeze_read_stat(item->tgid, item->tid, &stat, &ignored) == 0 &&
	       stat.starttime == task->stat.starttime;
}

bool freeze_is_same(struct checkpoint *c)
{
	struct freezer f = { .c = c, .held = map_new() };
	struct error ignored;
	bool same = freeze_scan(&f, &ignored) == 0;
	size_t n = 0;

	for (size_t i = 0; same && i < f.scan.n; i++) {
		const struct found *item = &f.scan.items[i];
		if (item->dead && item->tid != item->tgid)
			continue;
		same = is_known(c, item);
		n++;
	}
	map_free(f.held);
	freeze_scan_free(&f.scan);
	return same && n == c->n_tasks;
}
