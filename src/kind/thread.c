/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What belongs to single threads. Mask, robust list and rseq are read from outside, the rest is
 * asked from inside by one batch of calls.
 *
 * Not seen by anybody, hence not kept: where set_mempolicy(2) with MPOL_INTERLEAVE would go on.
 */
#include "kind/thread.h"

#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "thread.pb-c.h"
#include "util/alloc.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f /* 5.13 */
#endif
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6 /* 6.9 */
#endif

#define ADDRESS_END   0x800000000000ull
#define ROBUST_SIZE   sizeof(struct robust_list_head) /* the only one there is */
#define RSEQ_SIZE_MIN 32
#define RSEQ_SIZE_MAX 4096
#define NODES_MAX     1024 /* MAX_NUMNODES of the largest kernels */
#define NODES_BYTES   (NODES_MAX / 8)
#define POLICY_FLAGS  (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING)

/* ---- checkpoint ---- */

/* what the calls made inside leave in their buffer */
struct answers {
	uint64_t clear_child_tid;
	stack_t stack;
	int32_t policy, pad;
	uint8_t nodes[NODES_BYTES];
};
static_assert(sizeof(struct answers) <= INJECT_BUFFER_SIZE, "one batch of tracer_inject()");

static int ask(struct checkpoint *c, const struct task *task, struct answers *ret,
               struct error *err)
{
	_Alignas(struct answers) char buffer[INJECT_BUFFER_SIZE] = { 0 };
	struct injection calls[] = {
		{ .nr = __NR_prctl,
		  .arg = { PR_GET_TID_ADDRESS, offsetof(struct answers, clear_child_tid) },
		  .buffer_args = 1 << 1 },
		{ .nr = __NR_sigaltstack,
		  .arg = { 0, offsetof(struct answers, stack) },
		  .buffer_args = 1 << 1 },
		{ .nr = __NR_get_mempolicy,
		  .arg = { offsetof(struct answers, policy), offsetof(struct answers, nodes),
		           NODES_MAX + 1 },
		  .buffer_args = 1 << 0 | 1 << 1 },
	};
	int r = tracer_inject(c->tracer, task->tid, calls, 3, buffer, err);

	if (r < 0)
		return error_trace(err, r);
	if (calls[0].result < 0)
		return error_refuse(
			err, CODE_not_supported,
			"PR_GET_TID_ADDRESS: the kernel lacks CONFIG_CHECKPOINT_RESTORE");
	if (calls[1].result < 0)
		return error_raise(err, (int)-calls[1].result, "sigaltstack");
	memcpy(ret, buffer, sizeof(*ret));
	if (calls[2].result == -ENOSYS) /* no CONFIG_NUMA */
		ret->policy = MPOL_DEFAULT;
	else if (calls[2].result < 0)
		return error_raise(err, (int)-calls[2].result, "get_mempolicy");
	return 0;
}

/* SS_ONSTACK says where the stack pointer is, and follows from it again */
static void add_stack(ThreadState *s, const stack_t *from)
{
	bool autodisarm = (unsigned)from->ss_flags & SS_AUTODISARM;

	if (!from->ss_size && !autodisarm)
		return;
	s->stack = xmalloc(sizeof(*s->stack));
	thread_stack__init(s->stack);
	s->stack->address = (uintptr_t)from->ss_sp;
	s->stack->size = from->ss_size;
	s->stack->autodisarm = autodisarm;
}

static void add_policy(ThreadState *s, const struct answers *from)
{
	size_t size = NODES_BYTES;

	while (size > 0 && from->nodes[size - 1] == 0)
		size--;
	if (from->policy == MPOL_DEFAULT && !size)
		return;
	s->policy = xmalloc(sizeof(*s->policy));
	thread_policy__init(s->policy);
	s->policy->mode = (uint32_t)from->policy;
	s->policy->nodes.len = size;
	s->policy->nodes.data = size ? xmemdup(from->nodes, size) : NULL;
}

struct rseq_configuration { /* struct ptrace_rseq_configuration */
	uint64_t address;
	uint32_t size, signature, flags, pad;
};

static int note_rseq(const struct rseq_configuration *conf, ThreadState *s, struct error *err)
{
	if (!conf->address)
		return 0;
	if (conf->flags)
		return error_refuse(err, CODE_unknown_state, "its rseq registration has flags 0x%x",
		                    conf->flags);
	s->rseq = xmalloc(sizeof(*s->rseq));
	thread_rseq__init(s->rseq);
	s->rseq->address = conf->address;
	s->rseq->size = conf->size;
	s->rseq->signature = conf->signature;
	return 0;
}

static int read_outside(struct checkpoint *c, const struct task *task, ThreadState *s,
                        struct error *err)
{
	struct robust_list_head *head = NULL;
	struct rseq_configuration conf = { 0 };
	struct peek peeks[] = {
		{ PTRACE_GETSIGMASK, 0, &s->sigmask, sizeof(s->sigmask) },
		{ PTRACE_GET_RSEQ_CONFIGURATION, 0, &conf, sizeof(conf) },
	};
	size_t size;

	int r = tracer_read_many(c->tracer, task->tid, peeks, 2, err);
	if (r < 0)
		return error_trace(err, r);
	/* EIO, EINVAL: no CONFIG_RSEQ, nothing to register with */
	if (peeks[1].errnum == EIO || peeks[1].errnum == EINVAL)
		peeks[1].errnum = 0;
	if (peeks[0].errnum || peeks[1].errnum)
		return error_raise(err, peeks[0].errnum + peeks[1].errnum,
		                   "read the signal mask and rseq");
	if (syscall(__NR_get_robust_list, task->tid, &head, &size) < 0)
		return error_raise(err, errno, "get_robust_list");
	s->robust_list = (uintptr_t)head;
	r = note_rseq(&conf, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int thread_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct answers answers;

	if (!c->tracer) {
		check_unexamined(c, task, "alternate signal stack, rseq, memory policy",
		                 CODE_inject_gadget, CODE_inject_seccomp);
		return 0;
	}
	ThreadState *s = xmalloc(sizeof(*s));
	thread_state__init(s);
	struct object *object = objects_get(c->objects, &thread_kind, &task->tid, sizeof(task->tid),
	                                    NULL);
	object->message = &s->base;
	task_refer(task, object);
	int r = read_outside(c, task, s, err);
	if (r == 0)
		r = ask(c, task, &answers, err);
	if (r < 0) {
		error_task(err, task->tid, task->comm);
		return error_trace(err, r);
	}
	s->clear_child_tid = answers.clear_child_tid;
	add_stack(s, &answers.stack);
	add_policy(s, &answers);
	return 0;
}

/* ---- restart ---- */

static int invalid(struct error *err, const char *what)
{
	return error_refuse(err, CODE_image_invalid, "thread: %s", what);
}

static int validate_policy(const ThreadPolicy *p, struct error *err)
{
	if ((p->mode & ~(uint32_t)POLICY_FLAGS) > MPOL_WEIGHTED_INTERLEAVE)
		return invalid(err, "an unknown memory policy");
	if (p->nodes.len > NODES_BYTES)
		return invalid(err, "a memory policy of too many nodes");
	return 0;
}

static int thread_validate(const struct objects *objects, const struct object *object,
                           struct error *err)
{
	const ThreadState *s = object_state(object, ThreadState);
	const ThreadRseq *rseq = s->rseq;

	if (s->stack && s->stack->address + s->stack->size < s->stack->address)
		return invalid(err, "an alternate stack beyond the end of memory");
	if (s->stack && !s->stack->size && (s->stack->address || !s->stack->autodisarm))
		return invalid(err, "an alternate stack without a size");
	if (s->robust_list >= ADDRESS_END || s->clear_child_tid >= ADDRESS_END)
		return invalid(err, "an address that is the kernel's");
	if (rseq && (rseq->size < RSEQ_SIZE_MIN || rseq->size > RSEQ_SIZE_MAX || !rseq->address ||
	             rseq->address % RSEQ_SIZE_MIN || rseq->address > ADDRESS_END - rseq->size))
		return invalid(err, "an rseq area of that size or place is impossible");
	return s->policy ? validate_policy(s->policy, err) : 0;
}

static void set_stack(struct stub *stub, const ThreadStack *from)
{
	stack_t stack = { .ss_sp = (void *)from->address, /* NOLINT: an address in the task */
		          .ss_size = from->size,
		          .ss_flags = (from->size ? 0 : SS_DISABLE) |
		                      (from->autodisarm ? (int)SS_AUTODISARM : 0) };

	calls_reserve(stub->calls, 1, sizeof(stack) + 16);
	CALL(stub->calls, sigaltstack, calls_copy(stub->calls, &stack, sizeof(stack)), 0);
}

static void set_policy(struct stub *stub, const ThreadPolicy *p)
{
	uint8_t nodes[NODES_BYTES] = { 0 };

	if (p->nodes.len)
		memcpy(nodes, p->nodes.data, p->nodes.len);
	calls_reserve(stub->calls, 1, sizeof(nodes) + 16);
	CALL(stub->calls, set_mempolicy, p->mode,
	     p->nodes.len ? calls_copy(stub->calls, nodes, sizeof(nodes)) : 0,
	     p->nodes.len ? NODES_MAX + 1 : 0);
}

/*
 * Robust list and the address to clear are what the kernel writes through when a thread ends: into
 * shared files too. They come after all that may fail for other reasons.
 */
static int thread_commit(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	const ThreadState *s = object_state(object, ThreadState);

	stub->launch.sigmask = s->sigmask;
	if (s->policy)
		set_policy(stub, s->policy);
	if (s->stack)
		set_stack(stub, s->stack);
	calls_reserve(stub->calls, 3, 0);
	if (s->rseq)
		CALL(stub->calls, rseq, s->rseq->address, s->rseq->size, 0, s->rseq->signature);
	CALL(stub->calls, set_robust_list, s->robust_list, ROBUST_SIZE);
	/* it gives the tid as its result and does not fail */
	CALL(stub->calls, set_tid_address, s->clear_child_tid);
	return 0;
}

const struct kind thread_kind = {
	.name = "thread",
	.number = 50,
	.message = &thread_state__descriptor,
	.collect = thread_collect,
	.validate = thread_validate,
	.commit = thread_commit,
};
