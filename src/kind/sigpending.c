/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pending signals. They are read last, when the timers have been read (judge, not collect): a timer
 * that expires in between is then seen twice, which can be told, and never not at all.
 *
 * At restart the task sends them to itself: only so is si_code >= 0 allowed (rt_sigqueueinfo(2)).
 * The signal of a POSIX timer is not sent but made: its timer is armed so that it expires at once,
 * for the kernel to know that this timer's signal is out and to count overruns against it.
 */
#include "kind/sigpending.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/posix_timer.h"
#include "sigpending.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define N_SIGNALS    64
#define SIGSET_BYTES 8
#define QUEUE_MAX    8000 /* what fits into a record of 1 MiB */
#define PEEK_BATCH   256

static bool is_deadly(int signal)
{
	return signal == SIGKILL || signal == SIGSTOP;
}

/* at checkpoint, in object->live until the queues have been read */
struct waiting {
	const struct task *task;
	bool read;
};

/* ---- checkpoint ---- */

static int sigpending_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	if (!c->tracer) {
		if (task->status.sig_pending || (task->speaks && task->status.shared_pending))
			check_unexamined(c, task, "pending signals", CODE_sigpending_many);
		return 0;
	}
	struct object *object = objects_get(c->objects, &sigpending_kind, &task->tid,
	                                    sizeof(task->tid), NULL);
	struct waiting *w = xcalloc(1, sizeof(*w));
	w->task = task;
	object->live = w;
	task_refer(task, object);
	return 0;
}

static void sigpending_release(struct object *object)
{
	free(object->live);
	object->live = NULL;
}

static void add_info(ProtobufCBinaryData **items, size_t *n, const void *info)
{
	const uint8_t *bytes = info;
	size_t size = sizeof(siginfo_t);

	while (size > 0 && bytes[size - 1] == 0)
		size--;
	ProtobufCBinaryData *item = array_push(*items, *n);
	item->len = size;
	item->data = xmemdup(bytes, size);
}

static siginfo_t get_info(const ProtobufCBinaryData *item)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	memcpy(&info, item->data, item->len < sizeof(info) ? item->len : sizeof(info));
	return info;
}

/* reads one queue, in order; @shared: PEEK_SHARED or 0 */
static int read_queue(struct checkpoint *c, const struct task *task, uint64_t shared,
                      ProtobufCBinaryData **ret, size_t *ret_n, struct error *err)
{
	siginfo_t *batch = xcalloc(PEEK_BATCH, sizeof(*batch));
	long got = 0;
	int r;

	do {
		size_t size = PEEK_BATCH * sizeof(*batch);
		r = tracer_read(c->tracer, task->tid, PTRACE_PEEKSIGINFO, *ret_n | shared, batch,
		                &size, &got, err);
		if (r < 0) {
			error_task(err, task->tid, task->comm);
			error_trace(err, r);
			break;
		}
		for (long i = 0; i < got; i++)
			add_info(ret, ret_n, &batch[i]);
	} while (got == PEEK_BATCH && *ret_n <= QUEUE_MAX);
	free(batch);
	return r;
}

/*
 * A signal that was sent when RLIMIT_SIGPENDING was used up is pending without a siginfo; the
 * kernel then delivers it as from user 0, process 0 (kernel/signal.c, collect_signal).
 */
static void add_unqueued(uint64_t pending, ProtobufCBinaryData **items, size_t *n)
{
	for (size_t i = 0; i < *n; i++) {
		siginfo_t info = get_info(&(*items)[i]);
		if (info.si_signo >= 1 && info.si_signo <= N_SIGNALS)
			pending &= ~(1ull << (info.si_signo - 1));
	}
	for (int signal = 1; signal <= N_SIGNALS; signal++) {
		siginfo_t info;
		if (!(pending & 1ull << (signal - 1)))
			continue;
		memset(&info, 0, sizeof(info));
		info.si_signo = signal;
		info.si_code = SI_USER;
		add_info(items, n, &info);
	}
}

static void refuse_unfit(struct checkpoint *c, const struct task *task,
                         const ProtobufCBinaryData *items, size_t n)
{
	struct error refusal;

	if (n > QUEUE_MAX) {
		error_refuse(&refusal, CODE_sigpending_many, "more than %d signals are pending",
		             QUEUE_MAX);
		error_hint(&refusal, "try again when the program has taken some of them");
		refuse(c, task, &refusal);
	}
	for (size_t i = 0; i < n; i++) {
		siginfo_t info = get_info(&items[i]);
		if (!is_deadly(info.si_signo))
			continue;
		error_refuse(&refusal, CODE_sigpending_stop, "%s was sent to it just now",
		             info.si_signo == SIGKILL ? "SIGKILL" : "SIGSTOP");
		error_hint(&refusal, "try again");
		refuse(c, task, &refusal);
		return;
	}
}

/* whether there is anything in its queues by now; to ask the tracer costs more */
static int see_pending(const struct task *task, uint64_t *ret_own, uint64_t *ret_shared,
                       struct error *err)
{
	struct proc_status status;
	int r = task_read_status(task, &status, NULL, err);

	if (r < 0)
		return error_trace(err, r);
	*ret_own = status.sig_pending;
	*ret_shared = status.shared_pending;
	return 0;
}

/* reads the queues of a task, once; @ret NULL when there is nothing to be read (check PID) */
static int read_queues(struct checkpoint *c, struct object *object, struct error *err)
{
	struct waiting *w = object->live;
	const struct task *task = w->task;
	uint64_t own = 0, shared = 0;

	if (w->read)
		return 0;
	SigpendingState *s = xmalloc(sizeof(*s));
	sigpending_state__init(s);
	object->message = &s->base;
	w->read = true;
	int r = see_pending(task, &own, &shared, err);
	if (r == 0 && own)
		r = read_queue(c, task, 0, &s->own, &s->n_own, err);
	if (r < 0)
		return error_trace(err, r);
	add_unqueued(task->status.sig_pending, &s->own, &s->n_own);
	refuse_unfit(c, task, s->own, s->n_own);
	if (!task->speaks)
		return 0;
	if (shared)
		r = read_queue(c, task, PEEK_SHARED, &s->shared, &s->n_shared, err);
	if (r < 0)
		return error_trace(err, r);
	add_unqueued(task->status.shared_pending, &s->shared, &s->n_shared);
	refuse_unfit(c, task, s->shared, s->n_shared);
	return 0;
}

static int sigpending_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	return read_queues(c, object, err);
}

static int state_of(struct checkpoint *c, const struct task *task, const SigpendingState **ret,
                    struct error *err)
{
	struct object *object = task_object(task, &sigpending_kind);
	int r;

	*ret = NULL;
	if (!object)
		return 0;
	r = read_queues(c, object, err);
	if (r < 0)
		return error_trace(err, r);
	*ret = object_state(object, SigpendingState);
	return 0;
}

int sigpending_arrived(struct checkpoint *c, const struct task *task, int signal, bool *ret,
                       struct error *err)
{
	const SigpendingState *s;
	int r = state_of(c, task, &s, err);

	*ret = false;
	if (r < 0 || !s || task->status.shared_pending & 1ull << (signal - 1))
		return r;
	for (size_t i = 0; i < s->n_shared; i++)
		if (get_info(&s->shared[i]).si_signo == signal)
			*ret = true;
	return 0;
}

static bool is_timer(const ProtobufCBinaryData *item, uint32_t timer, int signal)
{
	siginfo_t info = get_info(item);

	return info.si_code == SI_TIMER && info.si_signo == signal &&
	       (uint32_t)info.si_timerid == timer;
}

static bool has_timer(const ProtobufCBinaryData *items, size_t n, uint32_t timer, int signal)
{
	for (size_t i = 0; i < n; i++)
		if (is_timer(&items[i], timer, signal))
			return true;
	return false;
}

int sigpending_timer(struct checkpoint *c, const struct task *task, bool shared, uint32_t timer,
                     int signal, bool *ret, struct error *err)
{
	const SigpendingState *s;
	int r = state_of(c, task, &s, err);

	*ret = false;
	if (r < 0 || !s)
		return r;
	*ret = shared ? has_timer(s->shared, s->n_shared, timer, signal)
	              : has_timer(s->own, s->n_own, timer, signal);
	return 0;
}

/* ---- restart ---- */

static int validate_queue(const ProtobufCBinaryData *items, size_t n, struct error *err)
{
	if (n > QUEUE_MAX + N_SIGNALS)
		return error_refuse(err, CODE_image_invalid, "sigpending: %zu signals in a queue",
		                    n);
	for (size_t i = 0; i < n; i++) {
		int signal = get_info(&items[i]).si_signo;
		if (items[i].len > sizeof(siginfo_t))
			return error_refuse(err, CODE_image_invalid,
			                    "sigpending: a siginfo of %zu bytes", items[i].len);
		if (signal < 1 || signal > N_SIGNALS || is_deadly(signal))
			return error_refuse(err, CODE_image_invalid, "sigpending: signal %d",
			                    signal);
	}
	return 0;
}

static int sigpending_validate(const struct objects *objects, const struct object *object,
                               struct error *err)
{
	const SigpendingState *s = object_state(object, SigpendingState);
	int r = validate_queue(s->own, s->n_own, err);

	return r < 0 ? error_trace(err, r) : validate_queue(s->shared, s->n_shared, err);
}

/*
 * Whether this task is the one that empties the queue of its process: the leader, or the first
 * live thread when that is dead.
 */
static bool is_first(const struct restart *r, const struct stub *stub)
{
	if (stub == stub->leader)
		return true;
	if (stub_object(stub->leader, &sigpending_kind))
		return false;
	for (size_t i = 0; i < r->n_stubs; i++)
		if (r->stubs[i]->leader == stub->leader &&
		    stub_object(r->stubs[i], &sigpending_kind))
			return r->stubs[i] == stub;
	return false;
}

/*
 * Takes what has piled up while the stub was held: SIGCHLD of placeholders. (What is ignored is
 * not queued, but blocked signals always are, prepare_signal() in kernel/signal.c.)
 */
static int drain(struct stub *stub, struct error *err)
{
	const uint64_t all = ~0ull;
	unsigned last;
	int r;

	do {
		calls_reserve(stub->calls, 3, sizeof(all) + sizeof(struct timespec));
		uint64_t set = calls_copy(stub->calls, &all, sizeof(all));
		uint64_t zero = calls_copy(stub->calls, &(struct timespec){ 0 },
		                           sizeof(struct timespec));
		struct call take = {
			.nr = __NR_rt_sigtimedwait,
			.arg = { set, 0, zero, SIGSET_BYTES },
			.may_fail = true,
			.what = "rt_sigtimedwait",
		};
		calls_add(stub->calls, &take);
		calls_add(stub->calls, &take);
		last = calls_add(stub->calls, &take);
		r = calls_run(stub->calls, err);
		if (r < 0)
			return error_trace(err, r);
	} while (calls_result(stub->calls, last) > 0);
	return 0;
}

/* a millisecond, for the interrupt of a timer that has just been armed to have come */
static void add_pause(struct stub *stub)
{
	struct timespec t = { .tv_nsec = 1000000 };

	calls_reserve(stub->calls, 1, sizeof(t));
	CALL(stub->calls, nanosleep, calls_copy(stub->calls, &t, sizeof(t)), 0);
}

static int send_queue(struct restart *r, struct stub *stub, const ProtobufCBinaryData *items,
                      size_t n, bool shared, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		siginfo_t info = get_info(&items[i]);
		bool armed = false;
		if (info.si_code == SI_TIMER) {
			int e = posix_timer_expire(r, stub, (uint32_t)info.si_timerid,
			                           info.si_signo, &armed, err);
			if (e < 0)
				return error_trace(err, e);
		}
		if (armed) {
			add_pause(stub);
			continue;
		}
		calls_reserve(stub->calls, 1, sizeof(info));
		uint64_t address = calls_copy(stub->calls, &info, sizeof(info));
		if (shared)
			CALL(stub->calls, rt_sigqueueinfo, (uint64_t)stub_number(stub, stub),
			     info.si_signo, address);
		else
			CALL(stub->calls, rt_tgsigqueueinfo,
			     (uint64_t)stub_number(stub->leader, stub),
			     (uint64_t)stub_number(stub, stub), info.si_signo, address);
	}
	return 0;
}

static int sigpending_commit(struct restart *r, struct object *object, struct stub *stub,
                             struct error *err)
{
	const SigpendingState *s = object_state(object, SigpendingState);
	int e = 0;

	if (is_first(r, stub))
		e = drain(stub, err);
	if (e < 0)
		return error_trace(err, e);
	e = send_queue(r, stub, s->own, s->n_own, false, err);
	if (e < 0)
		return error_trace(err, e);
	e = send_queue(r, stub, s->shared, s->n_shared, true, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind sigpending_kind = {
	.name = "sigpending",
	.number = 41,
	.message = &sigpending_state__descriptor,
	.collect = sigpending_collect,
	.judge = sigpending_judge,
	.validate = sigpending_validate,
	.commit = sigpending_commit,
	.release = sigpending_release,
};
