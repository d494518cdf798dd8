/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set is found by walking /proc/PID/task/TID/children from the root, and from what has entered
 * its pid namespace. Held tasks make no children, so the walk is repeated until it meets only tasks
 * that are held, or dead.
 *
 * A task in uninterruptible sleep does not stop. Mostly it waits in vfork(2) for a child that we
 * have just stopped: the child's subtree is let go until it has called exec or exit, within
 * --timeout.
 */
#include "core/freeze.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "core/entered.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/map.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

struct found {
	pid_t tid, tgid;
	pid_t parent;  /* the thread that it is a child of; of a further thread: its leader's */
	size_t caller; /* index of that thread in the scan; SIZE_MAX: that is outside */
	bool dead;
};

struct scan {
	struct found *items;
	size_t n;
};

struct freezer {
	struct checkpoint *c;
	struct map *held; /* tid -> struct hold, as the tracer has answered */
	uint64_t end_ms;  /* CLOCK_MONOTONIC: the deadline */
	struct scan scan; /* the last one */
};

/* what the tracer has said of a task; NULL when it does not hold it, or has let it go again */
static struct hold *find_hold(const struct freezer *f, pid_t tid)
{
	struct hold *hold = map_get(f->held, &tid, sizeof(tid));

	return hold && hold->state != HOLD_GONE ? hold : NULL;
}

/* ---- looking ---- */

static int read_stat(pid_t tgid, pid_t tid, struct proc_stat *ret, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/stat", tgid, tid);
	_cleanup_(free_p) char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text);

	if (n < 0)
		return (int)n;
	int r = proc_stat_parse(text, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static bool is_dead(char state)
{
	return state == 'Z' || state == 'X' || state == 'x';
}

static int compare_tids(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

/* adds a process, its leader first; nothing when it has gone meanwhile */
static int scan_process(struct freezer *f, struct scan *s, pid_t tgid, pid_t parent, size_t caller,
                        struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task", tgid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	size_t first = s->n;

	while (dir) {
		const struct dirent *entry = readdir(dir);
		if (!entry)
			break;
		pid_t tid = atoi(entry->d_name);
		if (tid <= 0)
			continue;
		struct found *item = array_push(s->items, s->n);
		*item = (struct found){
			.tid = tid, .tgid = tgid, .parent = parent, .caller = caller
		};
		if (find_hold(f, tid))
			continue;
		struct proc_stat stat;
		int r = read_stat(tgid, tid, &stat, err);
		if (r == -ENOENT || r == -ESRCH)
			s->n--;
		else if (r < 0)
			return error_trace(err, r);
		else
			item->dead = is_dead(stat.state);
	}
	if (s->n == first)
		return 0;
	qsort(s->items + first, s->n - first, sizeof(*s->items), compare_tids);
	for (size_t i = first; i < s->n; i++) /* the leader's pid may have wrapped around */
		if (s->items[i].tid == tgid) {
			struct found leader = s->items[i];
			memmove(s->items + first + 1, s->items + first,
			        (i - first) * sizeof(*s->items));
			s->items[first] = leader;
		}
	return 0;
}

static int scan_children(struct freezer *f, struct scan *s, size_t index, struct error *err)
{
	const struct found item = s->items[index];
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/children", item.tgid, item.tid);
	_cleanup_(free_p) char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text);

	if (n == -ENOENT && find_hold(f, item.tid))
		return error_raise(err, ENOENT, "read %s, which needs CONFIG_PROC_CHILDREN", path);
	if (n <= 0 || !text)
		return 0; /* it has none, or has gone: the next scan sorts that out */
	for (char *p = text; *p;) {
		char *end;
		long tid = strtol(p, &end, 10);
		if (end == p)
			break;
		int r = scan_process(f, s, (pid_t)tid, item.tid, index, err);
		if (r < 0)
			return error_trace(err, r);
		p = end + strspn(end, " ");
	}
	return 0;
}

/* the root with all below it; then what has entered its pid namespace, each with the same */
static int scan_set(struct freezer *f, struct error *err)
{
	_cleanup_(free_p) pid_t *entered = NULL;
	struct scan s = { 0 };
	pid_t root = f->c->options->root;
	size_t n = 0, at = 0;
	int r = scan_process(f, &s, root, 0, SIZE_MAX, err);

	if (r == 0)
		r = entered_find(root, &entered, &n, err);
	for (size_t i = 0; r == 0 && i <= n; i++) {
		for (; r == 0 && at < s.n; at++)
			r = scan_children(f, &s, at, err);
		if (r == 0 && i < n)
			r = scan_process(f, &s, entered[i], 0, SIZE_MAX, err);
	}
	if (r == 0 && s.n == 0)
		r = error_raise(err, ESRCH, "there is no process %d", root);
	free(f->scan.items);
	f->scan = s;
	return r < 0 ? error_trace(err, r) : 0;
}

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

/* a thread that has gone may have called execve(2): its process's leader is another task since */
static void ask_leader_again(const struct freezer *f, pid_t tgid)
{
	struct hold *leader = find_hold(f, tgid);

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
		const struct hold *known = find_hold(f, item->tid);
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
	const struct hold *hold = find_hold(f, tid);

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
		struct hold *hold = find_hold(f, item->tid);
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

	return read_stat(item->tgid, item->tid, &stat, &ignored) == 0 && stat.state == 'D';
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
	bool late = false;

	for (;;) {
		bool sleeping = false;
		size_t n_new = 0;
		int r = scan_set(f, err);
		if (r == 0)
			r = hold_found(f, &n_new, err);
		if (r < 0)
			return error_trace(err, r);
		if (f->c->refusals.n)
			return -EOPNOTSUPP;
		if (n_new == 0)
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

/* ---- the list of tasks ---- */

/* what the root's pid namespace calls it; what is outside of that has no number there */
static void number_task(const struct checkpoint *c, struct task *task)
{
	const struct proc_status *s = &task->status, *root = &c->tasks[0]->status;
	size_t level = root->n_ns_pids - 1;

	if (level >= s->n_ns_pids)
		return;
	task->recorded = (struct task_numbers){ .tid = s->ns_pid[level],
		                                .tgid = s->ns_tgid[level],
		                                .pgid = s->ns_pgid[level],
		                                .sid = s->ns_sid[level] };
}

static int read_task(struct freezer *f, struct task *task, struct error *err)
{
	_cleanup_(free_p) char *stat = NULL, *status = NULL;
	struct error refusal = ERROR_INIT;
	char unknown[64] = "";
	int r = task_read(task, "stat", &stat, NULL, err);

	if (r == 0)
		r = proc_stat_parse(stat, &task->stat, err);
	if (r == 0)
		r = task_read(task, "status", &status, NULL, err);
	if (r == 0)
		r = proc_status_parse(status, &task->status, unknown, err);
	if (r < 0)
		return error_trace(err, r);
	number_task(f->c, task);
	snprintf(task->comm, sizeof(task->comm), "%.19s", task->stat.comm);
	if (unknown[0]) {
		error_refuse(&refusal, CODE_unknown_state,
		             "/proc/PID/status shows \"%s\", which this version does not know",
		             unknown);
		refuse(f->c, task, &refusal);
	}
	if (!f->c->tracer && task->status.tracer_pid) {
		error_refuse(&refusal, CODE_task_ptraced, "it is being traced by pid %d",
		             task->status.tracer_pid);
		error_hint(&refusal, "end the debugger or strace that is attached to it");
		refuse(f->c, task, &refusal);
	}
	return 0;
}

static enum task_state state_of(const struct freezer *f, const struct task *task)
{
	const struct hold *hold = find_hold(f, task->tid);

	if (is_dead(task->stat.state))
		return TASK_ZOMBIE;
	if (f->c->tracer)
		return hold && hold->state == HOLD_STOPPED ? TASK_STOPPED : TASK_HELD;
	return task->stat.state == 'T' ? TASK_STOPPED : TASK_HELD;
}

/* it called execve(2) before it was held, and has the number of the leader, which was, since */
static void refuse_successor(struct checkpoint *c, const struct task *task)
{
	struct error refusal = ERROR_INIT;

	error_refuse(&refusal, CODE_task_changed,
	             "one of its threads called execve(2) while it was being frozen");
	error_hint(&refusal, "try again");
	refuse(c, task, &refusal);
}

static int add_task(struct freezer *f, const struct found *item, struct error *err)
{
	struct checkpoint *c = f->c;
	struct task *task = xcalloc(1, sizeof(*task));
	const struct hold *hold = find_hold(f, item->tid);

	*array_push(c->tasks, c->n_tasks) = task;
	map_put(c->by_tid, &item->tid, sizeof(item->tid), task);
	task->tid = item->tid;
	task->tgid = item->tgid;
	task->leader = checkpoint_task(c, item->tgid);
	task->parent = item->parent ? checkpoint_task(c, item->parent) : NULL;
	int r = read_task(f, task, err);
	if (r < 0) {
		error_task(err, item->tid, NULL);
		return error_trace(err, r);
	}
	task->state = state_of(f, task);
	task->stop_signal = hold && task->state == TASK_STOPPED ? hold->stop_signal : 0;
	if (task->stat.state == 'D')
		check_unexamined(c, task, "whether it wakes from uninterruptible sleep",
		                 CODE_task_state);
	if (c->tracer && !is_dead(task->stat.state) && task->stat.state != 't')
		refuse_successor(c, task);
	return 0;
}

/* who is asked for the process: the leader, or while it is dead the first thread that lives */
static void choose_speakers(struct checkpoint *c)
{
	const struct task *spoken_for = NULL;

	for (size_t i = 0; i < c->n_tasks; i++) {
		struct task *task = c->tasks[i];
		if (task->state == TASK_ZOMBIE) {
			if (task->leader == task && i + 1 < c->n_tasks &&
			    c->tasks[i + 1]->leader == task)
				task->state = TASK_DEAD_LEADER;
			continue;
		}
		task->speaks = task->leader != spoken_for;
		spoken_for = task->leader;
	}
}

/*
 * What its parent will be told is the process' exit code, which is another than that of its leader
 * if that ended alone, or by reboot(2) as the init of a pid namespace.
 */
static int read_wait_statuses(struct freezer *f, struct error *err)
{
	for (size_t i = 0; i < f->c->n_tasks; i++) {
		struct task *task = f->c->tasks[i];
		_cleanup_(free_p) char *text = NULL;
		struct proc_stat stat = { 0 };
		int r = task->state == TASK_ZOMBIE ? task_read(task, "../../stat", &text, NULL, err)
		                                   : 1;
		if (r == 0)
			r = proc_stat_parse(text, &stat, err);
		if (r < 0)
			return error_trace(err, r);
		if (r == 0)
			task->stat.exit_code = stat.exit_code;
	}
	return 0;
}

static int list_tasks(struct freezer *f, struct error *err)
{
	for (size_t i = 0; i < f->scan.n; i++) {
		/* a thread that is on its way out has left nothing behind */
		if (f->scan.items[i].dead && f->scan.items[i].tid != f->scan.items[i].tgid)
			continue;
		int r = add_task(f, &f->scan.items[i], err);
		if (r < 0)
			return error_trace(err, r);
	}
	choose_speakers(f->c);
	return read_wait_statuses(f, err);
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
		int r = read_stat(pid, pid, &stat, err);
		if (r == -ENOENT)
			return 0;
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
	int r = read_stat(root, root, &stat, err);

	if (r == -ENOENT || r == -ESRCH)
		return error_raise(err, ESRCH, "there is no process %d", root);
	if (r == 0 && is_thread(root)) {
		r = error_raise(err, EINVAL, "%d is a thread, not a process", root);
		error_hint(err, "give the pid of its process (Tgid in /proc/%d/status)", root);
		return r;
	}
	if (r < 0)
		return error_raise(err, -r, "read /proc/%d/stat", root);
	if (stat.flags & PF_KTHREAD || (is_dead(stat.state) && stat.num_threads <= 1)) {
		error_refuse(&refusal, CODE_task_gone, "it is %s",
		             stat.flags & PF_KTHREAD ? "a thread of the kernel" : "dead");
		return refuse_root(f, &refusal);
	}
	return check_ancestors(f, err);
}

int freeze_set(struct checkpoint *c, struct error *err)
{
	struct freezer f = { .c = c,
		             .held = map_new(),
		             .end_ms = now_ms() + c->options->timeout_ms };
	size_t cursor = 0;
	int r = check_root(&f, err);

	if (r == 0)
		r = c->tracer ? hold_set(&f, err) : scan_set(&f, err);
	if (r == 0)
		r = list_tasks(&f, err);
	for (void *hold; (hold = map_next(f.held, &cursor));)
		free(hold);
	map_free(f.held);
	free(f.scan.items);
	return r;
}

static bool is_known(const struct checkpoint *c, const struct found *item)
{
	const struct task *task = checkpoint_task(c, item->tid);
	struct proc_stat stat;
	struct error ignored;

	return task &&
	       item->dead == (task->state == TASK_ZOMBIE || task->state == TASK_DEAD_LEADER) &&
	       read_stat(item->tgid, item->tid, &stat, &ignored) == 0 &&
	       stat.starttime == task->stat.starttime;
}

bool freeze_is_same(struct checkpoint *c)
{
	struct freezer f = { .c = c, .held = map_new() };
	struct error ignored;
	bool same = scan_set(&f, &ignored) == 0;
	size_t n = 0;

	for (size_t i = 0; same && i < f.scan.n; i++) {
		const struct found *item = &f.scan.items[i];
		if (item->dead && item->tid != item->tgid)
			continue;
		same = is_known(c, item);
		n++;
	}
	map_free(f.held);
	free(f.scan.items);
	return same && n == c->n_tasks;
}

void freeze_free_tasks(struct checkpoint *c)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		free(c->tasks[i]->objects);
		map_free(c->tasks[i]->refers);
		free(c->tasks[i]);
	}
	free(c->tasks);
	c->tasks = NULL;
	c->n_tasks = 0;
	map_free(c->by_tid);
	c->by_tid = NULL;
}
