/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a process is asked for the value of its notification. Its calls are owed (tracer_owe())
 * before anything is changed, and right whatever has become of it by then: signals of that number
 * are taken, which fills in value and SIGEV_SIGNAL if it is that of the message; if none has come,
 * mq_notify finds that all is as it was (EBUSY); those that were pending before are sent again.
 * Between, a futex operation is the one call that stores a number of our choice.
 */
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/ipc_ns/notify.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define SIGSET_BYTES 8
#define QUEUE_MAX    64 /* signals that we look through */

struct data {
	uint64_t signals;
	struct timespec at_once;
	union {
		siginfo_t info;
		struct {
			char head[offsetof(siginfo_t, si_value)];
			struct sigevent event; /* begins with the value */
		};
	};
	siginfo_t further[NOTIFY_PENDING_MAX];
	siginfo_t pending[NOTIFY_PENDING_MAX];
};
_Static_assert(sizeof(struct data) <= INJECT_BUFFER_SIZE, "room for arguments");
#define FURTHER(i) (offsetof(struct data, further) + (i) * sizeof(siginfo_t))
#define PENDING(i) (offsetof(struct data, pending) + (i) * sizeof(siginfo_t))

static struct injection take(size_t to)
{
	return (struct injection){ .nr = __NR_rt_sigtimedwait,
		                   .arg = { offsetof(struct data, signals), to,
		                            offsetof(struct data, at_once), SIGSET_BYTES },
		                   .buffer_args = 1 << 0 | 1 << 1 | 1 << 2 };
}

/* by itself, and to itself: only so may it be of any si_code, rt_sigqueueinfo(2) */
static struct injection put_back(const struct asking *a, size_t from)
{
	const struct proc_status *status = &a->task->status;
	uint64_t tid = (uint64_t)status->ns_pid[status->n_ns_pids - 1];
	uint64_t tgid = (uint64_t)status->ns_tgid[status->n_ns_pids - 1];

	if (tid == tgid)
		return (struct injection){ .nr = __NR_rt_sigqueueinfo,
			                   .arg = { tgid, a->notify->signal, from },
			                   .buffer_args = 1 << 2 };
	return (struct injection){ .nr = __NR_rt_tgsigqueueinfo,
		                   .arg = { tgid, tid, a->notify->signal, from },
		                   .buffer_args = 1 << 3 };
}

static struct injection ask_anew(const struct asking *a, size_t event)
{
	return (struct injection){ .nr = __NR_mq_notify,
		                   .arg = { a->notify->fd, event },
		                   .buffer_args = 1 << 1 };
}

/* the kernel counts overruns against a timer's own, not against one put back */
int notify_see_pending(struct asking *a, bool own, const char **ret, struct error *err)
{
	_cleanup_(free_p) siginfo_t *queue = xcalloc(QUEUE_MAX, sizeof(*queue));
	size_t size = QUEUE_MAX * sizeof(*queue);
	bool fit = !own && a->task == a->task->leader;
	long got = 0;
	int r = tracer_read(a->c->tracer, a->task->tid, PTRACE_PEEKSIGINFO, PEEK_SHARED, queue,
	                    &size, &got, err);

	if (r < 0)
		return error_trace(err, r);
	for (long i = 0; i < got; i++) {
		if (queue[i].si_signo != (int)a->notify->signal)
			continue;
		fit = fit && a->n_pending < NOTIFY_PENDING_MAX && queue[i].si_code != SI_TIMER;
		if (fit)
			a->pending[a->n_pending++] = queue[i];
	}
	if (!fit || !a->n_pending || got == QUEUE_MAX)
		*ret = "the signal that is to notify it of the next message is pending already: "
		       "too often, for one thread, of a timer, or not queued";
	return 0;
}

void notify_fill_calls(struct asking *a)
{
	uint32_t signal = a->notify->signal;
	struct data data = { .signals = signal ? 1ull << (signal - 1) : 0 };
	const size_t number = offsetof(struct data, event.sigev_signo);
	struct injection *call = a->calls;

	data.event.sigev_notify = signal ? SIGEV_NONE : (int)a->notify->how;
	memcpy(data.pending, a->pending, sizeof(data.pending));
	memcpy(a->buffer, &data, sizeof(data));
	*call++ = take(offsetof(struct data, info));
	*call++ = (struct injection){
		.nr = __NR_futex,
		.arg = { number, FUTEX_WAKE_OP_PRIVATE, 0, 0, number,
		         FUTEX_OP(FUTEX_OP_SET, signal, FUTEX_OP_CMP_EQ, 0) },
		.buffer_args = 1 << 0 | 1 << 4,
	};
	*call++ = ask_anew(a, offsetof(struct data, event));
	/* more than were pending: those of others, who sent them just then */
	for (size_t i = 0; i < NOTIFY_PENDING_MAX; i++)
		*call++ = take(FURTHER(i));
	for (size_t i = 0; i < a->n_pending; i++)
		*call++ = put_back(a, PENDING(i));
	a->n_calls = (size_t)(call - a->calls);
}

int notify_try_calls(const struct asking *a, struct error *err)
{
	struct injection call = ask_anew(a, offsetof(struct data, event));
	char buffer[INJECT_BUFFER_SIZE];

	memcpy(buffer, a->buffer, sizeof(buffer));
	int r = tracer_inject(a->c->tracer, a->task->tid, &call, 1, buffer, err);
	if (r == 0 && call.result != -EBUSY)
		r = error_raise(err, EAGAIN, "mq_notify says %ld", call.result);
	return r < 0 ? error_trace(err, r) : 0;
}

/* a standard signal is not queued twice */
static int take_pending(const struct asking *a, struct error *err)
{
	struct injection calls[NOTIFY_PENDING_MAX];
	char buffer[INJECT_BUFFER_SIZE];

	if (!a->task || !a->n_pending)
		return 0;
	for (size_t i = 0; i < a->n_pending; i++)
		calls[i] = take(FURTHER(i));
	memcpy(buffer, a->buffer, sizeof(buffer));
	int r = tracer_inject(a->c->tracer, a->task->tid, calls, a->n_pending, buffer, err);
	for (size_t i = 0; r == 0 && i < a->n_pending; i++)
		if (calls[i].result != (long)a->notify->signal)
			r = error_raise(err, EAGAIN, "a signal that was pending is not any more");
	return r < 0 ? error_trace(err, r) : 0;
}

int notify_begin(void *arg)
{
	const struct asking *a = arg;
	struct error ignored;
	int r = tracer_owe(a->c->tracer, getpid(), a->task ? a->task->tid : 0, a->calls, a->n_calls,
	                   a->buffer, &ignored);

	return r < 0 ? r : take_pending(a, &ignored);
}

/*
 * Others have sent the same signal just then, and it was taken: it is put back. A standard signal
 * of the message is lost where one of others has come first, and its value with it.
 */
static int part(struct asking *a, struct error *err)
{
	struct injection calls[1 + NOTIFY_PENDING_MAX + 2];
	struct sigevent event = { .sigev_signo = (int)a->notify->signal };
	struct data *data = (void *)a->buffer;
	bool found = false;
	size_t n = 0;

	memset(&data->event.sigev_signo, 0, sizeof(int)); /* fill_calls() has it stored there */
	for (size_t i = 0; i <= NOTIFY_PENDING_MAX; i++) {
		const siginfo_t *info = i ? &data->further[i - 1] : &data->info;
		if (a->calls[i ? 2 + i : 0].result != (long)a->notify->signal)
			continue;
		if (info->si_code == SI_MESGQ && !found) {
			found = true;
			event.sigev_value = info->si_value;
		} else {
			calls[n++] = put_back(a, i ? FURTHER(i - 1) : offsetof(struct data, info));
		}
	}
	memcpy(data->pending, &event, sizeof(event));
	if (a->calls[2].result == 0) { /* with the value of the other */
		calls[n++] = (struct injection){ .nr = __NR_mq_notify, .arg = { a->notify->fd } };
		calls[n++] = ask_anew(a, PENDING(0));
	}
	int r = tracer_inject(a->c->tracer, a->task->tid, calls, n, a->buffer, err);
	if (r < 0)
		return error_trace(err, r);
	return error_raise(err, EAGAIN, "signal %u came from elsewhere just then%s",
	                   a->notify->signal,
	                   found ? "" : ", and the value of the notification is lost");
}

/* nothing has come: its program is another since, which is not notified, nor anybody else */
static int never(struct asking *a, struct error *err)
{
	if (!a->kept)
		return error_raise(err, EAGAIN, "signal %u has not come", a->notify->signal);
	a->notify->how = SIGEV_NONE;
	a->notify->signal = 0;
	return 0;
}

/* what was owed has been done: the value */
static int take_value(struct asking *a, struct error *err)
{
	const struct data *data = (const void *)a->buffer;
	long signal = (long)a->notify->signal;
	bool any = signal && a->calls[0].result == signal;
	bool foreign = any && data->info.si_code != SI_MESGQ;
	int r = 0;

	for (size_t i = 0; signal && i < NOTIFY_PENDING_MAX; i++)
		foreign |= a->calls[3 + i].result == signal;
	if (foreign)
		r = part(a, err);
	else if (a->calls[2].result < 0)
		r = error_raise(err, (int)-a->calls[2].result, "call mq_notify anew");
	else if (any)
		a->notify->value = (uintptr_t)data->info.si_value.sival_ptr;
	else if (signal)
		r = never(a, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int notify_end(void *arg, struct error *err)
{
	struct asking *a = arg;
	int r = tracer_pay(a->c->tracer, a->calls, a->n_calls, a->buffer, err);

	if (r == 0 && a->notify)
		r = take_value(a, err);
	return r < 0 ? error_trace(err, r) : 0;
}
