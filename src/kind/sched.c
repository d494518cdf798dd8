/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scheduling, read and set from outside: the coordinator has the privileges when the tasks have
 * lost them. What equals what the new task has inherited is not touched.
 *
 * Not seen by anybody, hence not kept: oom_score_adj_min (how far the score may be lowered without
 * CAP_SYS_RESOURCE); how much of its runtime a SCHED_DEADLINE task has used in this period.
 */
#include "kind/sched.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "proc/cpus.h"
#include "proc/read.h"
#include "sched.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/uapi.h"

/* <linux/sched/types.h>, which defines struct sched_param a second time */
struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max; /* 5.3 */
};
#define FLAG_RESET_ON_FORK  0x01u
#define FLAG_RECLAIM        0x02u
#define FLAG_DL_OVERRUN     0x04u
#define FLAG_UTIL_CLAMP_MIN 0x20u
#define FLAG_UTIL_CLAMP_MAX 0x40u
#define FLAGS_KEPT          (FLAG_RESET_ON_FORK | FLAG_RECLAIM | FLAG_DL_OVERRUN)
#define POLICY_DEADLINE     6u
#define UTIL_MAX            1024u
#define PRIORITY_OF_NICE_0  20          /* in /proc/PID/stat */
#define SLICE_MAX           1000000000u /* the kernel itself allows 100 ms */

static int get_attributes(pid_t tid, struct sched_attributes *ret, struct error *err)
{
	memset(ret, 0, sizeof(*ret));
	if (syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) < 0)
		return error_raise(err, errno, "sched_getattr of %d", tid);
	return 0;
}

static bool is_fair(uint32_t policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_EXT;
}

/*
 * Since 6.12 the time slice of an ordinary task can be set, and reads as a number whether it was
 * set or not. To know the kernel's own choice we ask for it ourselves. UINT64_MAX: unknown.
 */
static uint64_t default_slice(void)
{
	struct sched_attributes own;
	struct error ignored;

	if (get_attributes(0, &own, &ignored) < 0 || !is_fair(own.policy))
		return UINT64_MAX;
	own.runtime = own.deadline = own.period = 0;
	if (syscall(SYS_sched_setattr, 0, &own, 0) < 0 || get_attributes(0, &own, &ignored) < 0)
		return UINT64_MAX;
	return own.runtime;
}

/* /proc/TID/NAME, which works for any thread */
static int write_proc(pid_t tid, const char *name, int value, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/%s", tid, name);
	int r = file_write(path, err, "%d", value);

	return r < 0 ? error_trace(err, r) : 0;
}

/* "/autogroup-ID nice N"; 0 when there is none */
static int autogroup_nice(pid_t tid, long *ret_id)
{
	char text[64];
	int nice = 0;

	*ret_id = 0;
	if (proc_read(tid, "autogroup", text, sizeof(text)) < 0 ||
	    sscanf(text, "/autogroup-%ld nice %d", ret_id, &nice) != 2)
		return 0;
	return nice;
}

/* ---- checkpoint ---- */

static int read_cpus(const struct task *task, SchedState *s, struct error *err)
{
	struct cpus cpus;
	size_t size = sizeof(cpus.mask);

	int r = cpus_of_task(task->tid, &cpus);
	if (r < 0)
		return error_raise(err, -r, "sched_getaffinity");
	if (cpus_are_all(&cpus, task->tid))
		return 0;
	while (size > 0 && cpus.mask[size - 1] == 0)
		size--;
	s->cpus.len = size;
	s->cpus.data = xmemdup(cpus.mask, size);
	return 0;
}

static int read_attributes(const struct task *task, SchedState *s, struct error *err)
{
	struct sched_attributes a;
	int r = get_attributes(task->tid, &a, err);

	if (r < 0)
		return error_trace(err, r);
	if (a.flags & ~(uint64_t)FLAGS_KEPT)
		return error_refuse(err, CODE_unknown_state, "its scheduling has flags 0x%llx",
		                    (unsigned long long)a.flags);
	s->policy = a.policy;
	s->flags = (uint32_t)a.flags;
	s->nice = (int32_t)task->stat.nice;
	s->priority = a.priority;
	if (a.policy == SCHED_IDLE && task->stat.priority >= 0) /* not boosted by a PI futex */
		s->idle_nice = (int32_t)task->stat.priority - PRIORITY_OF_NICE_0;
	if (a.policy == POLICY_DEADLINE || (a.runtime && a.runtime != default_slice()))
		s->runtime_ns = a.runtime;
	s->deadline_ns = a.deadline;
	s->period_ns = a.period;
	s->util_min = a.util_min;
	s->util_max = a.util_max;
	return 0;
}

static int read_of_process(const struct task *task, SchedState *s, struct error *err)
{
	char text[32];
	long id;

	int r = (int)proc_read(task->tid, "oom_score_adj", text, sizeof(text));
	if (r < 0)
		return error_raise(err, -r, "read /proc/%d/oom_score_adj", task->tid);
	s->oom_score_adj = atoi(text);
	s->autogroup_nice = autogroup_nice(task->tid, &id);
	return 0;
}

static int read_state(const struct task *task, SchedState *s, struct error *err)
{
	long priority = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, task->tid);
	int r = read_attributes(task, s, err);

	if (priority < 0)
		return error_raise(err, errno, "ioprio_get");
	s->io_priority = (uint32_t)priority;
	if (r == 0)
		r = read_cpus(task, s, err);
	if (r == 0)
		r = read_of_process(task, s, err);
	return r;
}

static int sched_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	SchedState *s = xmalloc(sizeof(*s));

	sched_state__init(s);
	int r = read_state(task, s, err);
	if (r < 0) {
		sched_state__free_unpacked(s, NULL);
		return error_trace(err, r);
	}
	task_refer(task, objects_get_equal(c->objects, &sched_kind, &s->base));
	return 0;
}

/* ---- restart ---- */

static int bad(struct error *err, const char *what)
{
	return error_raise(err, EBADMSG, "%s is out of range", what);
}

static int sched_validate(const struct objects *objects, const struct object *object,
                          struct error *err)
{
	const SchedState *s = object_state(object, SchedState);
	bool real_time = s->policy == SCHED_FIFO || s->policy == SCHED_RR;
	bool deadline = s->policy == POLICY_DEADLINE;

	if (s->policy > SCHED_EXT || s->flags & ~FLAGS_KEPT)
		return bad(err, "the policy");
	if (s->nice < -20 || s->nice > 19)
		return bad(err, "the nice value");
	if (s->idle_nice < -20 || s->idle_nice > 19)
		return bad(err, "the nice value of the idle policy");
	if (real_time ? s->priority < 1 || s->priority > 99 : s->priority != 0)
		return bad(err, "the real-time priority");
	if (deadline ? !s->runtime_ns || s->runtime_ns > s->deadline_ns
	             : s->runtime_ns > SLICE_MAX || s->deadline_ns || s->period_ns)
		return bad(err, "the runtime");
	if (s->util_min > s->util_max || s->util_max > UTIL_MAX)
		return bad(err, "the utilization clamp");
	if (s->cpus.len > CPUS_BYTES || (s->cpus.len && !s->cpus.data[s->cpus.len - 1]))
		return bad(err, "the affinity");
	if (s->io_priority > UINT16_MAX)
		return bad(err, "the I/O priority");
	if (s->oom_score_adj < -1000 || s->oom_score_adj > 1000)
		return bad(err, "the OOM score");
	if (s->autogroup_nice < -20 || s->autogroup_nice > 19)
		return bad(err, "the autogroup's nice value");
	return 0;
}

static void note(struct restart *r, struct error *refusal, const char *hint)
{
	if (hint)
		error_hint(refusal, "%s", hint);
	restart_refuse(r, refusal);
}

static int check_cpus(struct restart *r, const SchedState *s, struct error *err)
{
	struct error refusal;
	struct cpus online;
	int e = cpus_online(&online);

	if (e < 0)
		return error_raise(err, -e, "read which CPUs are online");
	for (unsigned i = 0; i < s->cpus.len * 8; i++) {
		if (!(s->cpus.data[i / 8] >> i % 8 & 1) || online.mask[i / 8] >> i % 8 & 1)
			continue;
		error_refuse(&refusal, CODE_sched_cpus,
		             "a thread is bound to CPUs of which this host lacks CPU %u", i);
		note(r, &refusal, "change its affinity with taskset(1) before the checkpoint");
		return 0;
	}
	return 0;
}

static void need_nice(struct restart *r, const char *what)
{
	struct error refusal;

	error_refuse(&refusal, CODE_sched_privilege, "%s, which needs CAP_SYS_NICE", what);
	note(r, &refusal, NULL);
}

static void check_privileges(struct restart *r, const SchedState *s,
                             const struct sched_attributes *own)
{
	struct rlimit nice = { 0 }, priority = { 0 };
	bool real_time = s->policy == SCHED_FIFO || s->policy == SCHED_RR;

	if (features_capability(CAP_SYS_NICE))
		return;
	getrlimit(RLIMIT_NICE, &nice);
	getrlimit(RLIMIT_RTPRIO, &priority);
	errno = 0;
	if (s->nice < getpriority(PRIO_PROCESS, 0) && 20 - s->nice > (int64_t)nice.rlim_cur)
		need_nice(r, "a thread has a nice value lower than this restart's own");
	if (real_time && s->priority > priority.rlim_cur &&
	    (s->policy != own->policy || s->priority > own->priority))
		need_nice(r, "a thread has a real-time priority");
	if (s->policy == POLICY_DEADLINE)
		need_nice(r, "a thread has the policy SCHED_DEADLINE");
	if (IOPRIO_PRIO_CLASS(s->io_priority) == IOPRIO_CLASS_RT &&
	    !features_capability(CAP_SYS_ADMIN))
		need_nice(r, "a thread has a real-time I/O priority");
}

static bool clamps_wanted(const SchedState *s, const struct sched_attributes *have)
{
	if (!s->util_max || (s->util_min == 0 && s->util_max == UTIL_MAX && !have->util_max))
		return false; /* none recorded, or none recorded that means anything */
	return s->util_min != have->util_min || s->util_max != have->util_max;
}

static void check_policy(struct restart *r, const SchedState *s, const struct sched_attributes *own)
{
	struct error refusal;

	if (sched_get_priority_max((int)s->policy) < 0) {
		error_refuse(&refusal, CODE_sched_policy,
		             "a thread has the scheduling policy %u, which this kernel lacks",
		             s->policy);
		note(r, &refusal, NULL);
	}
	if (clamps_wanted(s, own) && !own->util_max) {
		error_refuse(&refusal, CODE_sched_policy,
		             "a thread has utilization clamps, which this kernel lacks");
		note(r, &refusal, NULL);
	}
}

/* in a child that ends: whether this process may have that score; only system calls */
static bool may_lower_score(int value)
{
	char text[16];
	int size = snprintf(text, sizeof(text), "%d", value), status = 0;
	long pid = syscall(SYS_clone, 0, 0, 0, 0, 0);

	if (pid == 0) {
		long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY);
		syscall(SYS_exit_group, syscall(SYS_write, fd, text, size) == size ? 0 : 1);
	}
	while (pid > 0 && waitpid((pid_t)pid, &status, __WALL) < 0 && errno == EINTR)
		;
	return pid > 0 && status == 0;
}

static void check_score(struct restart *r, const SchedState *s)
{
	struct error refusal;
	char text[32] = "0";

	proc_read(getpid(), "oom_score_adj", text, sizeof(text));
	if (s->oom_score_adj >= atoi(text) || may_lower_score(s->oom_score_adj))
		return;
	error_refuse(&refusal, CODE_sched_oom_score,
	             "oom_score_adj %d is lower than this restart's own, %d, which needs "
	             "CAP_SYS_RESOURCE",
	             s->oom_score_adj, atoi(text));
	note(r, &refusal, NULL);
}

static int sched_preflight(struct restart *r, struct object *object, struct error *err)
{
	const SchedState *s = object_state(object, SchedState);
	struct sched_attributes own;

	int e = get_attributes(0, &own, err);
	if (e == 0)
		e = check_cpus(r, s, err);
	if (e < 0)
		return error_trace(err, e);
	check_policy(r, s, &own);
	check_privileges(r, s, &own);
	check_score(r, s);
	return 0;
}

/*
 * The stubs inherit our time slice: it is the kernel's choice from here on. Nor may they inherit an
 * I/O priority, which gives each an I/O context that it perhaps did not have: ours is kept aside
 * until all have been cloned.
 */
static int sched_prepare(struct restart *r, struct object *object, struct error *err)
{
	long own = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);

	default_slice();
	if (own > 0 && IOPRIO_PRIO_CLASS(own) != IOPRIO_CLASS_NONE &&
	    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0) == 0)
		object->live = (void *)own; /* NOLINT: a number */
	return 0;
}

static int sched_install(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	if (object->live)
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, (long)object->live);
	object->live = NULL;
	return 0;
}

static int set_cpus(const SchedState *s, pid_t tid, struct error *err)
{
	struct cpus want = { 0 }, have;
	int e = cpus_of_task(tid, &have);

	if (e < 0)
		return error_raise(err, -e, "sched_getaffinity");
	if (s->cpus.len)
		memcpy(want.mask, s->cpus.data, s->cpus.len);
	else
		memset(want.mask, 0xff, sizeof(want.mask));
	if (s->cpus.len ? !memcmp(&want, &have, sizeof(want)) : cpus_are_all(&have, tid))
		return 0;
	if (syscall(SYS_sched_setaffinity, tid, sizeof(want.mask), want.mask) < 0)
		return error_raise(err, errno, "sched_setaffinity");
	e = cpus_of_task(tid, &have);
	if (e == 0 && s->cpus.len && memcmp(&want, &have, sizeof(want)) != 0) {
		error_refuse(err, CODE_sched_cpus,
		             "the cpuset of this restart lacks CPUs that the thread is bound to");
		return -EOPNOTSUPP;
	}
	return 0;
}

static bool differs(const SchedState *s, const struct sched_attributes *have)
{
	return s->policy != have->policy || s->policy == SCHED_IDLE || s->flags != have->flags ||
	       s->priority != have->priority || (s->runtime_ns && s->runtime_ns != have->runtime) ||
	       s->deadline_ns != have->deadline || s->period_ns != have->period ||
	       clamps_wanted(s, have);
}

static int set_attributes(const SchedState *s, pid_t tid, struct error *err)
{
	struct sched_attributes want = { .size = sizeof(want),
		                         .policy = s->policy,
		                         .flags = s->flags,
		                         .nice = s->policy == SCHED_IDLE ? s->idle_nice : s->nice,
		                         .priority = s->priority,
		                         .runtime = s->runtime_ns,
		                         .deadline = s->deadline_ns,
		                         .period = s->period_ns },
				have;
	int e = get_attributes(tid, &have, err);

	if (e < 0)
		return error_trace(err, e);
	/* by itself: sched_setattr(2) ignores it under real-time policies */
	if (getpriority(PRIO_PROCESS, (id_t)tid) != s->nice &&
	    setpriority(PRIO_PROCESS, (id_t)tid, s->nice) < 0)
		return error_raise(err, errno, "set the nice value %d", s->nice);
	if (!differs(s, &have))
		return 0;
	if (clamps_wanted(s, &have)) {
		want.flags |= FLAG_UTIL_CLAMP_MIN | FLAG_UTIL_CLAMP_MAX;
		want.util_min = s->util_min;
		want.util_max = s->util_max;
	}
	if (syscall(SYS_sched_setattr, tid, &want, 0) < 0)
		return error_raise(err, errno, "sched_setattr to policy %u", s->policy);
	return 0;
}

/* setting it makes an I/O context, which not every thread has */
static int set_io_priority(const SchedState *s, pid_t tid, struct error *err)
{
	if (syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid) == (long)s->io_priority)
		return 0;
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, s->io_priority) < 0)
		return error_raise(err, errno, "ioprio_set to 0x%x", s->io_priority);
	return 0;
}

static int set_of_process(const SchedState *s, pid_t tid, struct error *err)
{
	char text[32] = "";
	long id, own_id;
	int e = 0;

	proc_read(tid, "oom_score_adj", text, sizeof(text));
	if (atoi(text) != s->oom_score_adj)
		e = write_proc(tid, "oom_score_adj", s->oom_score_adj, err);
	autogroup_nice(getpid(), &own_id);
	/* a session whose leader is outside the set is the restart's own: not ours to change */
	if (e == 0 && autogroup_nice(tid, &id) != s->autogroup_nice && id && id != own_id)
		e = write_proc(tid, "autogroup", s->autogroup_nice, err);
	return e;
}

/* the leader, or each thread of one that is dead */
static bool speaks(const struct stub *stub)
{
	return stub == stub->leader || !stub->leader->n_objects;
}

static int sched_commit(struct restart *r, struct object *object, struct stub *stub,
                        struct error *err)
{
	const SchedState *s = object_state(object, SchedState);
	int e = set_cpus(s, stub->host_tid, err); /* SCHED_DEADLINE wants it before */

	if (e == 0 && s->policy != POLICY_DEADLINE)
		e = set_attributes(s, stub->host_tid, err);
	if (e == 0)
		e = set_io_priority(s, stub->host_tid, err);
	if (e == 0 && speaks(stub))
		e = set_of_process(s, stub->host_tid, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* late: what we still do in the task would count as its runtime, and SIGXCPU ends who exceeds it */
static int sched_finish(struct restart *r, struct object *object, struct error *err)
{
	const SchedState *s = object_state(object, SchedState);
	int e = 0;

	for (size_t i = 0; e == 0 && s->policy == POLICY_DEADLINE && i < r->n_stubs; i++)
		if (stub_object(r->stubs[i], &sched_kind) == object)
			e = set_attributes(s, r->stubs[i]->host_tid, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind sched_kind = {
	.name = "sched",
	.number = 32,
	.message = &sched_state__descriptor,
	.collect = sched_collect,
	.validate = sched_validate,
	.preflight = sched_preflight,
	.prepare = sched_prepare,
	.install = sched_install,
	.commit = sched_commit,
	.finish = sched_finish,
};
