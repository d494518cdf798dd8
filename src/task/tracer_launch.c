/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The launch of stubs: each is stopped, loses the stub's memory, and gets the registers it ends in.
 * All stay stopped, with all signals blocked, until the last one is ready; then all are let go.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define LAUNCH_TIMEOUT 10000u
#define XSTATE_MAX     (64u << 10)

/* stops a running stub */
static int stop_stub(struct trace *t, struct traced *task, struct error *err)
{
	uint64_t end = now_ms() + LAUNCH_TIMEOUT;
	int status;

	if (task->stopped)
		return 0;
	if (ptrace(PTRACE_INTERRUPT, task->tid, 0, 0) < 0)
		return error_raise(err, errno, "PTRACE_INTERRUPT of stub %d", task->tid);
	while (now_ms() < end) {
		int r = trace_wait(task, 1000, &status);
		if (r < 0)
			return error_raise(err, ESRCH, "stub %d has died", task->tid);
		if (r == 0)
			continue;
		if (status >> 16 == PTRACE_EVENT_STOP)
			return 0;
		trace_pass_on(t, task, status);
		if (task->gone)
			return error_raise(err, ESRCH, "stub %d has died", task->tid);
	}
	return error_raise(err, ETIMEDOUT, "stub %d does not stop", task->tid);
}

int trace_call(struct trace *t, struct traced *task, long nr, const uint64_t arg[6],
               long *ret_result, struct error *err)
{
	struct gadget gadget = { .syscall_ip = task->syscall_ip };
	struct user_regs_struct regs;

	int r = trace_get_regs(task->tid, &regs);
	if (r == 0) {
		arch_call_set(&regs, &gadget, nr, arg);
		r = trace_set_regs(task->tid, &regs);
	}
	if (r < 0)
		return error_raise(err, -r, "registers of stub %d", task->tid);
	r = trace_step_syscall(t, task, err);
	if (r == 0)
		r = trace_step_syscall(t, task, err);
	if (r < 0)
		return error_trace(err, r);
	r = trace_get_regs(task->tid, &regs);
	*ret_result = arch_call_result(&regs);
	return r < 0 ? error_raise(err, -r, "registers of stub %d", task->tid) : 0;
}

/* the kernel looks at restart codes only on its way out of a stop of its signal code */
static int unmap_stub(struct trace *t, struct traced *task, const struct launch *l,
                      struct error *err)
{
	const uint64_t arg[6] = { l->unmap_start, l->unmap_size };
	long result = 0;

	if (!l->unmap_size)
		return 0;
	int r = trace_call(t, task, __NR_munmap, arg, &result, err);
	if (r == 0)
		r = trace_settle(t, task, err);
	if (r < 0)
		return error_trace(err, r);
	if (result < 0)
		return error_raise(err, (int)-result, "munmap of the stub's area in %d", task->tid);
	return 0;
}

/*
 * The kernel takes the whole area or nothing (xstateregs_set(): a count other than its own size is
 * EFAULT), and its size is this machine's; what the image has beyond that is not in use.
 */
static int set_xstate(pid_t tid, const struct launch *l, struct error *err)
{
	static const size_t legacy = 512;
	int set = l->xstate_size > legacy ? NT_X86_XSTATE : NT_PRFPREG;
	_cleanup_(free_p) void *area = xcalloc(1, XSTATE_MAX);
	struct iovec iov = { area, XSTATE_MAX };

	if (!l->xstate_size)
		return 0;
	if (ptrace(PTRACE_GETREGSET, tid, set, &iov) < 0)
		return error_raise(err, errno, "PTRACE_GETREGSET of the extended state");
	memset(area, 0, iov.iov_len);
	memcpy(area, l->xstate, l->xstate_size < iov.iov_len ? l->xstate_size : iov.iov_len);
	if (ptrace(PTRACE_SETREGSET, tid, set, &iov) < 0)
		return error_raise(err, errno, "PTRACE_SETREGSET of %zu bytes of extended state",
		                   iov.iov_len);
	return 0;
}

uint64_t trace_dead_stack(const struct traced *task, size_t size)
{
	return (task->regs.rsp - ARCH_RED_ZONE - size) & ~15ull;
}

/* where the timeout of a resumed call lies while the kernel reads it */
static int lay_timeout(struct trace *t, struct traced *task, const void *data, void *saved,
                       uint64_t *ret_address, struct error *err)
{
	const size_t size = sizeof(struct timespec);

	*ret_address = trace_dead_stack(task, 64);
	int r = trace_open_mem(task);
	if (r < 0)
		return error_raise(err, -r, "open /proc/%d/mem", task->tid);
	if (!trace_is_stack(t, task, *ret_address, *ret_address + size) ||
	    pread(task->mem, saved, size, (off_t)*ret_address) != (ssize_t)size ||
	    pwrite(task->mem, data, size, (off_t)*ret_address) != (ssize_t)size)
		return error_raise(err, EFAULT, "the stack has no room for a timeout");
	return 0;
}

/* makes the call and interrupts it at once: it then waits in the kernel's restart block */
static int make_and_interrupt(struct trace *t, struct traced *task, long nr, const uint64_t arg[6],
                              struct user_regs_struct *ret, struct error *err)
{
	struct gadget gadget = { .syscall_ip = task->syscall_ip };
	struct user_regs_struct regs = task->regs;

	arch_call_set(&regs, &gadget, nr, arg);
	int r = trace_set_regs(task->tid, &regs);
	if (r < 0)
		return error_raise(err, -r, "registers of stub %d", task->tid);
	r = trace_step_syscall(t, task, err); /* its entry */
	if (r == 0)
		r = trace_settle(t, task, err); /* through the call, to the stop we asked for */
	if (r < 0)
		return error_trace(err, r);
	r = trace_get_regs(task->tid, ret);
	return r < 0 ? error_raise(err, -r, "registers of stub %d", task->tid) : 0;
}

/*
 * A call that has answered EINTR holds no time in the kernel: it is made again with the timeout
 * that was left, which then stays where it is. Otherwise the stack is put back.
 */
static int resume_call(struct trace *t, struct traced *task, const struct resumed_call *call,
                       struct error *err)
{
	uint64_t ns = call->left_ns, address = 0;
	struct timespec ts = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) }, saved;
	struct user_regs_struct after = { 0 };
	uint64_t arg[6];
	int r = 0;

	memcpy(arg, call->arg, sizeof(arg));
	if (!call->timeout_ms)
		r = lay_timeout(t, task, &ts, &saved, &address, err);
	arg[call->timeout_arg] = call->timeout_ms ? (ns + 999999) / 1000000 : address;
	if (r == 0)
		r = make_and_interrupt(t, task, call->nr, arg, &after, err);
	if (r < 0)
		return error_trace(err, r);
	after.orig_rax = (unsigned long long)call->nr;
	if (arch_call_is_eintr(&after)) {
		arch_call_again(&after);
		arch_call_set_arg(&task->regs, call->timeout_arg, arg[call->timeout_arg]);
	} else if (address &&
	           pwrite(task->mem, &saved, sizeof(saved), (off_t)address) != sizeof(saved)) {
		return error_raise(err, EFAULT, "put the stack back");
	}
	/* an interrupted call has its restart code here; one that was done has its result */
	task->regs.rax = after.rax;
	task->regs.orig_rax = after.orig_rax;
	return 0;
}

static pid_t process_of(pid_t tid)
{
	char path[64], line[256];
	pid_t tgid = tid;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	return tgid;
}

int trace_launch(struct trace *t, struct launch *l, struct error *err)
{
	struct traced *task = trace_find(t, l->tid);

	if (!task || task->gone)
		return error_raise(err, ESRCH, "stub %d is not there", l->tid);
	task->tgid = process_of(l->tid);
	task->regs = *(const struct user_regs_struct *)l->regs;
	task->sigmask = l->sigmask;
	task->syscall_ip = l->syscall_ip;
	task->stop_signal = l->stop_signal;
	task->stop_waited = l->stop_waited;
	task->continued = l->continued;
	int r = stop_stub(t, task, err);
	if (r == 0 && trace_set_sigmask(l->tid, UINT64_MAX) < 0)
		r = error_raise(err, ESRCH, "block the signals of stub %d", l->tid);
	if (r == 0)
		r = unmap_stub(t, task, l, err);
	if (r == 0)
		r = set_xstate(l->tid, l, err);
	if (r == 0 && l->resumed.nr > 0)
		r = resume_call(t, task, &l->resumed, err);
	if (r < 0)
		return error_trace(err, r);
	r = trace_set_regs(l->tid, &task->regs);
	if (r < 0)
		return error_raise(err, -r, "final registers of %d", l->tid);
	if (task->mem >= 0)
		close(task->mem);
	task->mem = -1;
	task->has_registers = true; /* launched */
	return 0;
}

/* the last look: all that was launched is still there */
static int check_launched(const struct trace *t, struct error *err)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct traced *task = t->tasks[i];
		if (task->has_registers && (task->gone || !task->stopped))
			return error_raise(err, ESRCH, "stub %d has died", task->tid);
	}
	return 0;
}

int trace_launch_all(struct trace *t, bool leave_stopped, struct error *err)
{
	trace_events(t);
	int r = check_launched(t, err);
	if (r == 0)
		r = trace_stop_processes(t, leave_stopped, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; r == 0 && i < t->n; i++) {
		struct traced *task = t->tasks[i];
		if (task->has_registers)
			r = trace_set_sigmask(task->tid, task->sigmask);
	}
	if (r < 0)
		return error_raise(err, -r, "the signal masks of stubs");
	for (size_t i = 0; i < t->n; i++) {
		struct traced *task = t->tasks[i];
		if (!task->has_registers)
			continue;
		ptrace(PTRACE_DETACH, task->tid, 0, 0);
		trace_forget(task);
	}
	return 0;
}
