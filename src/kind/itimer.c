/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval timers: only the process itself can ask for them.
 *
 * A periodic ITIMER_REAL is started again when its SIGALRM is taken (signal.c, dequeue_signal); as
 * long as that is pending, getitimer(2) gives an interval and the value 0. It comes back as a timer
 * that expires at once: its SIGALRM merges with the one that is pending.
 */
#include "kind/itimer.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "itimer.pb-c.h"
#include "kind/sigpending.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"

#define N_TIMERS 3

static const struct {
	int which;
	const char *name;
} timers[N_TIMERS] = {
	{ ITIMER_REAL, "ITIMER_REAL" },
	{ ITIMER_VIRTUAL, "ITIMER_VIRTUAL" },
	{ ITIMER_PROF, "ITIMER_PROF" },
};

/* ---- checkpoint ---- */

static int ask(struct checkpoint *c, const struct task *task, struct itimerval values[N_TIMERS],
               struct error *err)
{
	struct injection calls[N_TIMERS] = { 0 };
	_Alignas(8) char buffer[INJECT_BUFFER_SIZE] = { 0 };

	for (int i = 0; i < N_TIMERS; i++)
		calls[i] = (struct injection){
			.nr = __NR_getitimer,
			.arg = { timers[i].which, i * sizeof(values[0]) },
			.buffer_args = 1 << 1,
		};
	int r = tracer_inject(c->tracer, task->tid, calls, N_TIMERS, buffer, err);
	if (r < 0)
		return error_trace(err, r);
	for (int i = 0; i < N_TIMERS; i++)
		if (calls[i].result < 0)
			return error_raise(err, -calls[i].result, "getitimer(%s)", timers[i].name);
	memcpy(values, buffer, N_TIMERS * sizeof(values[0]));
	return 0;
}

static uint64_t to_us(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + t->tv_usec;
}

static ItimerTimer *make_timer(const struct itimerval *value)
{
	uint64_t value_us = to_us(&value->it_value), interval_us = to_us(&value->it_interval);

	if (!value_us && !interval_us)
		return NULL;
	ItimerTimer *t = xmalloc(sizeof(*t));
	itimer_timer__init(t);
	t->value_us = value_us;
	t->interval_us = interval_us;
	return t;
}

static int itimer_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct itimerval values[N_TIMERS];

	if (!task->speaks)
		return 0;
	if (!c->tracer) {
		check_unexamined(c, task, "interval timers", CODE_inject_gadget,
		                 CODE_inject_seccomp);
		return 0;
	}
	int r = ask(c, task, values, err);
	if (r < 0) {
		error_task(err, task->tid, task->comm);
		return error_trace(err, r);
	}
	ItimerTimer *real = make_timer(&values[0]), *virtual = make_timer(&values[1]),
		    *prof = make_timer(&values[2]);
	if (!real && !virtual && !prof)
		return 0;
	ItimerState *s = xmalloc(sizeof(*s));
	itimer_state__init(s);
	s->real = real;
	s->virtual_ = virtual;
	s->prof = prof;
	struct object *object = objects_get(c->objects, &itimer_kind, &task->tid, sizeof(task->tid),
	                                    NULL);
	object->message = &s->base;
	object->live = task; /* until judged; the engine's */
	task_refer(task, object);
	return 0;
}

/*
 * The real timer may have expired after it was read; its SIGALRM is then among the pending signals,
 * and counting it as armed, too, would make it come twice.
 */
static int itimer_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	ItimerState *s = object_state(object, ItimerState);
	bool expired = false;

	if (!s || !s->real || !s->real->value_us)
		return 0;
	int r = sigpending_arrived(c, object->live, SIGALRM, &expired, err);
	if (r < 0)
		return error_trace(err, r);
	if (expired)
		s->real->value_us = 0;
	return 0;
}

/* ---- restart ---- */

static int itimer_validate(const struct objects *objects, const struct object *object,
                           struct error *err)
{
	const ItimerState *s = object_state(object, ItimerState);
	const ItimerTimer *all[N_TIMERS] = { s->real, s->virtual_, s->prof };

	for (int i = 0; i < N_TIMERS; i++)
		if (all[i] && (all[i]->value_us > INT64_MAX || all[i]->interval_us > INT64_MAX))
			return error_refuse(err, CODE_image_invalid, "itimer: %s is out of range",
			                    timers[i].name);
	return 0;
}

static struct timeval from_us(uint64_t us)
{
	return (struct timeval){ .tv_sec = us / 1000000, .tv_usec = us % 1000000 };
}

static int itimer_commit(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	const ItimerState *s = object_state(object, ItimerState);
	const ItimerTimer *all[N_TIMERS] = { s->real, s->virtual_, s->prof };

	for (int i = 0; i < N_TIMERS; i++) {
		const ItimerTimer *t = all[i];
		if (!t || (!t->value_us && !t->interval_us))
			continue;
		struct itimerval value = { from_us(t->interval_us),
			                   from_us(t->value_us ? t->value_us : 1) };
		calls_reserve(stub->calls, 1, sizeof(value));
		CALL(stub->calls, setitimer, timers[i].which,
		     calls_copy(stub->calls, &value, sizeof(value)), 0);
	}
	return 0;
}

static void itimer_release(struct object *object)
{
	object->live = NULL; /* a task, not ours */
}

const struct kind itimer_kind = {
	.name = "itimer",
	.number = 42,
	.message = &itimer_state__descriptor,
	.collect = itimer_collect,
	.judge = itimer_judge,
	.validate = itimer_validate,
	.commit = itimer_commit,
	.release = itimer_release,
};
