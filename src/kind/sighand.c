/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signal dispositions. /proc/PID/status shows which signals are caught or ignored, but not the
 * flags, mask and restorer, and not SIG_DFL with flags (SA_NOCLDWAIT): each is asked from inside.
 */
#include "kind/sighand.h"

#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "sighand.pb-c.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"

#define N_SIGNALS    64
#define SIGSET_BYTES 8

/* struct sigaction as the kernel has it on x86-64 (asm/signal.h has the C library's shape) */
struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

/* as many as fit into the buffer of one batch of injected calls */
#define PER_BATCH (INJECT_BUFFER_SIZE / sizeof(struct kernel_sigaction))

/* the two that can have no other disposition than the default (signal(7)) */
static bool is_fixed(uint32_t signal)
{
	return signal == SIGKILL || signal == SIGSTOP;
}

static void add_action(SighandState *s, uint32_t signal, const struct kernel_sigaction *from)
{
	static const struct kernel_sigaction none;

	if (!memcmp(from, &none, sizeof(none)))
		return;
	SighandAction **slot = array_push(s->actions, s->n_actions);
	*slot = xmalloc(sizeof(**slot));
	sighand_action__init(*slot);
	(*slot)->signal = signal;
	(*slot)->handler = from->handler;
	(*slot)->flags = from->flags;
	(*slot)->mask = from->mask;
	(*slot)->restorer = from->restorer;
}

/* asks for the dispositions of signals [first, first + n) and adds what is not the default */
static int ask(struct checkpoint *c, const struct task *task, uint32_t first, uint32_t n,
               SighandState *s, struct error *err)
{
	struct kernel_sigaction actions[PER_BATCH] = { 0 };
	struct injection calls[PER_BATCH] = { 0 };
	uint32_t n_calls = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (is_fixed(first + i))
			continue;
		calls[n_calls++] = (struct injection){
			.nr = __NR_rt_sigaction,
			.arg = { first + i, 0, i * sizeof(actions[0]), SIGSET_BYTES },
			.buffer_args = 1 << 2,
		};
	}
	static_assert(sizeof(actions) == INJECT_BUFFER_SIZE, "the buffer of tracer_inject()");
	int r = tracer_inject(c->tracer, task->tid, calls, n_calls, actions, err);
	if (r < 0)
		return error_trace(err, r);
	for (uint32_t i = 0; i < n_calls; i++)
		if (calls[i].result < 0)
			return error_raise(err, -calls[i].result, "rt_sigaction of signal %u",
			                   (unsigned)calls[i].arg[0]);
	for (uint32_t i = 0; i < n; i++)
		if (!is_fixed(first + i))
			add_action(s, first + i, &actions[i]);
	return 0;
}

static int read_actions(struct checkpoint *c, const struct task *task, struct object *object,
                        struct error *err)
{
	SighandState *s = xmalloc(sizeof(*s));

	sighand_state__init(s);
	object->message = &s->base;
	for (uint32_t first = 1; first <= N_SIGNALS; first += PER_BATCH) {
		uint32_t left = N_SIGNALS - first + 1;
		int r = ask(c, task, first, left < PER_BATCH ? left : PER_BATCH, s, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

static int sighand_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object = NULL;
	bool new = false;
	int r;

	/* CLONE_THREAD requires CLONE_SIGHAND (clone(2)): threads need not be compared */
	if (task != task->leader)
		object = task_object(task->leader, &sighand_kind);
	if (!object) {
		r = kcmp_object(c, &sighand_kind, KCMP_SIGHAND, task, &object, &new, err);
		if (r < 0)
			return error_trace(err, r);
	}
	task_refer(task, object);
	if (!new)
		return 0;
	if (!c->tracer) {
		check_unexamined(c, task, "flags and masks of signal handlers", CODE_inject_gadget);
		return 0;
	}
	r = read_actions(c, task, object, err);
	if (r < 0) {
		error_task(err, task->tid, task->comm);
		return error_trace(err, r);
	}
	return 0;
}

static int sighand_validate(const struct objects *objects, const struct object *object,
                            struct error *err)
{
	const SighandState *s = object_state(object, SighandState);
	uint32_t last = 0;

	for (size_t i = 0; i < s->n_actions; i++) {
		uint32_t signal = s->actions[i]->signal;
		if (signal <= last || signal > N_SIGNALS || is_fixed(signal))
			return error_refuse(err, CODE_image_invalid,
			                    "sighand: signal %u after %u is out of order", signal,
			                    last);
		last = signal;
	}
	return 0;
}

/*
 * All signals are set, since the stub has inherited what the coordinator ignores. At commit and not
 * before: a parent that ignores SIGCHLD would have no zombies, which are made until then. For
 * tasks that share, the first one does it.
 */
static int sighand_commit(struct restart *r, struct object *object, struct stub *stub,
                          struct error *err)
{
	const SighandState *s = object_state(object, SighandState);
	size_t next = 0;

	if (object->live)
		return 0;
	object->live = object; /* done; nothing to release */
	for (uint32_t signal = 1; signal <= N_SIGNALS; signal++) {
		struct kernel_sigaction action = { 0 };
		if (is_fixed(signal))
			continue;
		if (next < s->n_actions && s->actions[next]->signal == signal) {
			const SighandAction *a = s->actions[next++];
			action = (struct kernel_sigaction){ a->handler, a->flags, a->restorer,
				                            a->mask };
		}
		calls_reserve(stub->calls, 1, sizeof(action));
		CALL(stub->calls, rt_sigaction, signal,
		     calls_copy(stub->calls, &action, sizeof(action)), 0, SIGSET_BYTES);
	}
	return 0;
}

const struct kind sighand_kind = {
	.name = "sighand",
	.number = 40,
	.message = &sighand_state__descriptor,
	.clone_flag = CLONE_SIGHAND,
	.collect = sighand_collect,
	.validate = sighand_validate,
	.commit = sighand_commit,
};
