/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX timers: /proc/PID/timers lists them, timer_gettime(2) called inside tells what is left.
 *
 * Not seen by anybody, hence not kept: whether a CLOCK_REALTIME timer was armed with TIMER_ABSTIME
 * (it comes back with the time that was left). How often a periodic timer whose signal is pending
 * has expired since cannot be seen either: refused where it can have been (the signal is blocked).
 */
#include "kind/posix_timer.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "kind/sigpending.h"
#include "posix_timer.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/uapi.h"

#define N_SIGNALS    64
#define COUNT_UP_MAX 100000 /* without timer_restore_ids: ids are reached by making that many */
#define N_CALLS      (INJECT_BUFFER_SIZE / sizeof(struct itimerspec) / 2)

/* the clocks that timer_create(2) takes and that are not those of a process */
static bool is_known_clock(uint32_t clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_REALTIME_ALARM:
	case CLOCK_BOOTTIME_ALARM:
	case CLOCK_TAI:
		return true;
	default:
		return false;
	}
}

/* ---- checkpoint ---- */

/*
 * Parses one timer of /proc/PID/timers, proc_pid_timers(5):
 *   ID: 1
 *   signal: 60/00007fff86e452a8
 *   notify: signal/tid.2634
 *   ClockID: 1
 * Returns where it ends, NULL if it is not of this form.
 */
static const char *parse_timer(const char *text, PosixTimer *t, int *ret_clock)
{
	char how[16], whom[8];
	int n = 0, tid;
	unsigned long long value;

	if (sscanf(text, "ID: %u\nsignal: %u/%llx\nnotify: %15[a-z]/%7[a-z].%d\nClockID: %d\n%n",
	           &t->id, &t->signal, &value, how, whom, &tid, ret_clock, &n) != 7 ||
	    !n)
		return NULL;
	t->value = value;
	if (!strcmp(how, "signal"))
		t->notify = SIGEV_SIGNAL;
	else if (!strcmp(how, "none"))
		t->notify = SIGEV_NONE;
	else if (!strcmp(how, "thread"))
		t->notify = SIGEV_THREAD;
	else
		return NULL;
	if (!strcmp(whom, "tid")) {
		t->notify |= SIGEV_THREAD_ID;
		t->thread = tid;
	} else if (strcmp(whom, "pid") != 0) {
		return NULL;
	}
	return text + n;
}

static void refuse_timer(struct checkpoint *c, const struct task *task, const PosixTimer *t,
                         enum code code, const char *why, const char *hint)
{
	struct error refusal;

	error_refuse(&refusal, code, "%s", why);
	error_object(&refusal, "POSIX timer %u", t->id);
	if (hint)
		error_hint(&refusal, "%s", hint);
	refuse(c, task, &refusal);
}

int posix_timer_check_clock(int clock, struct error *err)
{
	/* CPU clocks of other tasks have negative ids, clock_getcpuclockid(3) */
	if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
		return error_refuse(err, CODE_posix_timer_cpu_clock,
		                    "it runs on a CPU clock, which starts anew at restart");
	return is_known_clock((uint32_t)clock)
	               ? 0
	               : error_refuse(err, CODE_posix_timer_clock, "its clock is not known");
}

static void judge_clock(struct checkpoint *c, const struct task *task, PosixTimer *t, int clock)
{
	struct error refusal;

	if (posix_timer_check_clock(clock, &refusal) < 0)
		refuse_timer(c, task, t, (enum code)refusal.code, refusal.cause, NULL);
	t->clock = clock;
}

static int by_id(const void *a, const void *b)
{
	const PosixTimer *const *ta = a, *const *tb = b;

	return ((*ta)->id > (*tb)->id) - ((*ta)->id < (*tb)->id);
}

static int parse_timers(struct checkpoint *c, const struct task *task, const char *text,
                        PosixTimerState *s, struct error *err)
{
	while (text && *text) {
		int clock;
		PosixTimer **slot = array_push(s->timers, s->n_timers);
		*slot = xmalloc(sizeof(**slot));
		posix_timer__init(*slot);
		text = parse_timer(text, *slot, &clock);
		if (text)
			judge_clock(c, task, *slot, clock);
	}
	if (!text)
		return error_raise(err, EBADMSG, "/proc/%d/timers is not of the known form",
		                   task->tgid);
	if (s->n_timers)
		qsort(s->timers, s->n_timers, sizeof(s->timers[0]), by_id);
	return 0;
}

/* timer_gettime and timer_getoverrun of @n <= N_CALLS timers, in the task */
static int ask(struct checkpoint *c, const struct task *task, PosixTimer **timers, size_t n,
               struct error *err)
{
	struct itimerspec values[2 * N_CALLS] = { 0 };
	struct injection calls[2 * N_CALLS] = { 0 };

	static_assert(sizeof(values) == INJECT_BUFFER_SIZE, "the buffer of tracer_inject()");
	for (size_t i = 0; i < n; i++) {
		calls[2 * i] = (struct injection){
			.nr = __NR_timer_gettime,
			.arg = { timers[i]->id, i * sizeof(values[0]) },
			.buffer_args = 1 << 1,
		};
		calls[2 * i + 1] = (struct injection){
			.nr = __NR_timer_getoverrun,
			.arg = { timers[i]->id },
		};
	}
	int r = tracer_inject(c->tracer, task->tid, calls, 2 * n, values, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < n; i++) {
		if (calls[2 * i].result < 0)
			return error_raise(err, -calls[2 * i].result, "timer_gettime of timer %u",
			                   timers[i]->id);
		timers[i]->remaining_ns = timespec_to_ns(&values[i].it_value);
		timers[i]->interval_ns = timespec_to_ns(&values[i].it_interval);
		if (calls[2 * i + 1].result > 0)
			refuse_timer(c, task, timers[i], CODE_posix_timer_overrun,
			             "its last signal was delivered with an overrun count, which "
			             "cannot be put back",
			             "try again after its next signal");
	}
	return 0;
}

static int posix_timer_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;

	if (!task->speaks)
		return 0;
	/* it exists for processes only, not for each thread */
	int r = task_read(task, "../../timers", &text, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	if (!*text)
		return 0;
	struct object *object = objects_get(c->objects, &posix_timer_kind, &task->tid,
	                                    sizeof(task->tid), NULL);
	PosixTimerState *s = xmalloc(sizeof(*s));
	posix_timer_state__init(s);
	object->message = &s->base;
	object->live = task; /* until judged; the engine's */
	task_refer(task, object);
	r = parse_timers(c, task, text, s, err);
	if (!c->tracer) {
		check_unexamined(c, task, "overruns of POSIX timers", CODE_posix_timer_overrun);
		return r < 0 ? error_trace(err, r) : 0;
	}
	for (size_t i = 0; r >= 0 && i < s->n_timers; i += N_CALLS) {
		size_t left = s->n_timers - i;
		r = ask(c, task, &s->timers[i], left < N_CALLS ? left : N_CALLS, err);
	}
	if (r < 0) {
		error_task(err, task->tid, task->comm);
		return error_trace(err, r);
	}
	return 0;
}

static int judge_timer(struct checkpoint *c, const struct task *task, PosixTimer *t,
                       struct error *err)
{
	const struct task *target = task;
	bool directed = t->notify & SIGEV_THREAD_ID, pending = false;

	if (directed) {
		target = checkpoint_task(c, t->thread);
		if (!target || target->tgid != task->tgid ||
		    (target->state != TASK_HELD && target->state != TASK_STOPPED)) {
			refuse_timer(c, task, t, CODE_posix_timer_thread,
			             "the thread that its signal goes to has ended", NULL);
			return 0;
		}
		t->thread = target->recorded.tid;
	}
	if (t->notify == SIGEV_NONE)
		return 0;
	int r = sigpending_timer(c, target, !directed, t->id, t->signal, &pending, err);
	if (r < 0)
		return error_trace(err, r);
	t->pending = pending;
	if (pending && t->interval_ns && target->status.sig_blocked & 1ull << (t->signal - 1))
		refuse_timer(c, task, t, CODE_posix_timer_overrun,
		             "its signal is pending and blocked: how often it has expired since "
		             "cannot be seen",
		             "try again when the program has taken it");
	return 0;
}

static int posix_timer_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	PosixTimerState *s = object_state(object, PosixTimerState);

	for (size_t i = 0; s && i < s->n_timers; i++) {
		int r = judge_timer(c, object->live, s->timers[i], err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

static void posix_timer_release(struct object *object)
{
	object->live = NULL; /* a task, not ours */
}

/* ---- restart ---- */

static int validate_timer(const PosixTimer *t, struct error *err)
{
	uint32_t how = t->notify & ~(uint32_t)SIGEV_THREAD_ID;

	if (t->id > INT32_MAX || !is_known_clock(t->clock))
		return error_refuse(err, CODE_image_invalid, "posix_timer: id %u, clock %u", t->id,
		                    t->clock);
	if (how != SIGEV_SIGNAL && how != SIGEV_NONE && how != SIGEV_THREAD)
		return error_refuse(err, CODE_image_invalid, "posix_timer: notification %u",
		                    t->notify);
	if (t->signal > N_SIGNALS || t->thread > INT32_MAX)
		return error_refuse(err, CODE_image_invalid, "posix_timer: signal %u to %u",
		                    t->signal, t->thread);
	if (t->remaining_ns > INT64_MAX || t->interval_ns > INT64_MAX)
		return error_refuse(err, CODE_image_invalid, "posix_timer: time out of range");
	return 0;
}

static int posix_timer_validate(const struct objects *objects, const struct object *object,
                                struct error *err)
{
	const PosixTimerState *s = object_state(object, PosixTimerState);

	for (size_t i = 0; i < s->n_timers; i++) {
		int r = validate_timer(s->timers[i], err);
		if (r < 0)
			return error_trace(err, r);
		if (i > 0 && s->timers[i]->id <= s->timers[i - 1]->id)
			return error_refuse(err, CODE_image_invalid,
			                    "posix_timer: ids are out of order");
	}
	return 0;
}

static int posix_timer_preflight(struct restart *r, struct object *object, struct error *err)
{
	const PosixTimerState *s = object_state(object, PosixTimerState);
	struct error refusal;

	if (!s->n_timers || feature(FEATURE_timer_restore_ids) ||
	    s->timers[s->n_timers - 1]->id <= COUNT_UP_MAX)
		return 0;
	error_refuse(&refusal, CODE_posix_timer_id,
	             "a timer has the id %u; this kernel gives ids by counting up only",
	             s->timers[s->n_timers - 1]->id);
	error_hint(&refusal, "restart on Linux 6.16 or newer");
	restart_refuse(r, &refusal);
	return 0;
}

static uint64_t sigevent_of(struct restart *r, struct stub *stub, const PosixTimer *t)
{
	struct sigevent event;

	memset(&event, 0, sizeof(event));
	event.sigev_value.sival_ptr = (void *)t->value; /* NOLINT: an address in the task */
	event.sigev_signo = t->signal;
	event.sigev_notify = t->notify;
	if (t->thread)
		event._sigev_un._tid = stub_number_of(r, (pid_t)t->thread, stub);
	return calls_copy(stub->calls, &event, sizeof(event));
}

/* makes one timer; the kernel reads the id that is wanted, or writes the one that it gave */
static int create(struct restart *restart, struct stub *stub, const PosixTimer *t,
                  struct error *err)
{
	uint64_t address;

	calls_reserve(stub->calls, 1, sizeof(struct sigevent) + 2 * sizeof(int32_t) + 32);
	int32_t *id = calls_data(stub->calls, sizeof(*id), &address);
	*id = t->id;
	CALL(stub->calls, timer_create, t->clock, sigevent_of(restart, stub, t), address);
	int r = calls_run(stub->calls, err);
	if (r < 0)
		return error_trace(err, r);
	if (*id != (int32_t)t->id)
		return error_raise(err, EBUSY, "timer_create gave id %d, not %u", *id, t->id);
	return 0;
}

/*
 * Until the floor is 6.16: new timers of a process count up from 0, so those in between are made
 * and deleted.
 */
static void skip_ids(struct stub *stub, uint32_t from, uint32_t to)
{
	static const struct sigevent none = { .sigev_notify = SIGEV_NONE };

	for (uint32_t id = from; id < to; id++) {
		uint64_t address;
		calls_reserve(stub->calls, 2, sizeof(none) + sizeof(int32_t) + 32);
		calls_data(stub->calls, sizeof(int32_t), &address);
		CALL(stub->calls, timer_create, CLOCK_MONOTONIC,
		     calls_copy(stub->calls, &none, sizeof(none)), address);
		CALL(stub->calls, timer_delete, id);
	}
}

static int posix_timer_install(struct restart *r, struct object *object, struct stub *stub,
                               struct error *err)
{
	const PosixTimerState *s = object_state(object, PosixTimerState);
	bool by_request = feature(FEATURE_timer_restore_ids);
	uint32_t next = 0;

	if (by_request)
		CALL(stub->calls, prctl, PR_TIMER_CREATE_RESTORE_IDS,
		     PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0);
	for (size_t i = 0; i < s->n_timers; i++) {
		if (!by_request)
			skip_ids(stub, next, s->timers[i]->id);
		next = s->timers[i]->id + 1;
		int e = create(r, stub, s->timers[i], err);
		if (e < 0) {
			error_object(err, "POSIX timer %u", s->timers[i]->id);
			return error_trace(err, e);
		}
	}
	if (by_request)
		CALL(stub->calls, prctl, PR_TIMER_CREATE_RESTORE_IDS,
		     PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0);
	return 0;
}

static void arm(struct stub *stub, const PosixTimer *t, int flags, uint64_t value_ns)
{
	struct itimerspec value = { timespec_from_ns(t->interval_ns), timespec_from_ns(value_ns) };

	calls_reserve(stub->calls, 1, sizeof(value) + 16);
	CALL(stub->calls, timer_settime, t->id, flags,
	     calls_copy(stub->calls, &value, sizeof(value)), 0);
}

static struct object *timers_of(const struct restart *r, const struct stub *stub)
{
	struct object *object = stub_object(stub->leader, &posix_timer_kind);

	/* a leader that has ended refers to nothing: one of its threads does */
	for (size_t i = 0; !object && !stub->leader->n_objects && i < r->n_stubs; i++)
		if (r->stubs[i]->leader == stub->leader)
			object = stub_object(r->stubs[i], &posix_timer_kind);
	return object;
}

/* as the task sees it, which may be in a time namespace of its own */
static int read_clock(struct stub *stub, uint32_t clock, uint64_t *ret_ns, struct error *err)
{
	uint64_t address;

	calls_reserve(stub->calls, 1, sizeof(struct timespec) + 16);
	struct timespec *now = calls_data(stub->calls, sizeof(*now), &address);
	CALL(stub->calls, clock_gettime, clock, address);
	int e = calls_run(stub->calls, err);
	if (e < 0)
		return error_trace(err, e);
	*ret_ns = timespec_to_ns(now);
	return 0;
}

/*
 * A periodic timer is armed for its last expiry, absolutely, so that it keeps its phase; that is a
 * time in the past, so it expires at once.
 */
int posix_timer_expire(struct restart *r, struct stub *stub, uint32_t timer, int signal,
                       bool *ret_armed, struct error *err)
{
	struct object *object = timers_of(r, stub);
	PosixTimerState *s = object ? object_state(object, PosixTimerState) : NULL;
	uint64_t now;

	*ret_armed = false;
	for (size_t i = 0; s && i < s->n_timers; i++) {
		PosixTimer *t = s->timers[i];
		if (t->id != timer || !t->pending || (int)t->signal != signal)
			continue;
		*ret_armed = true;
		int e = read_clock(stub, t->clock, &now, err);
		if (e < 0)
			return error_trace(err, e);
		uint64_t last = now + t->remaining_ns - t->interval_ns;
		if (t->interval_ns && t->remaining_ns < t->interval_ns && last < now)
			arm(stub, t, TIMER_ABSTIME, last);
		else
			arm(stub, t, 0, 1);
	}
	return 0;
}

static int posix_timer_commit(struct restart *r, struct object *object, struct stub *stub,
                              struct error *err)
{
	const PosixTimerState *s = object_state(object, PosixTimerState);

	for (size_t i = 0; i < s->n_timers; i++)
		if (s->timers[i]->remaining_ns && !s->timers[i]->pending)
			arm(stub, s->timers[i], 0, s->timers[i]->remaining_ns);
	return 0;
}

const struct kind posix_timer_kind = {
	.name = "posix_timer",
	.number = 43,
	.message = &posix_timer_state__descriptor,
	.collect = posix_timer_collect,
	.judge = posix_timer_judge,
	.validate = posix_timer_validate,
	.preflight = posix_timer_preflight,
	.install = posix_timer_install,
	.commit = posix_timer_commit,
	.release = posix_timer_release,
};
