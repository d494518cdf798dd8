/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls made in a live task. The order of steps is what makes it safe: at each of them,
 * whatever becomes of this process, the task ends in its saved state, either because nothing has
 * been changed yet, or through the return frame (arch/x86_64/frame.c).
 *
 *   as found --begin()--> open --call, call, list...--> open --trace_rest()--> as found
 *
 * A task stays open for what is asked next, since each step costs the time of two context switches;
 * one at most, and any request that is not about it closes it (tracer_process.c).
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define XSTATE_MAX   65536
#define WORTH_A_LIST 3                          /* calls; to map and unmap its pages takes two */
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG /* 6.4 */
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

static bool is_dispatched(const struct traced *task)
{
	struct {
		uint64_t mode, selector, offset, size;
	} config = { 0 };

	return ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, task->tid, sizeof(config),
	              &config) == 0 &&
	       config.mode;
}

static int may_inject(struct traced *task, struct error *err)
{
	if (!arch_is_native(&task->regs))
		return error_refuse(err, CODE_task_32bit, "a 32-bit program");
	if (!list_read_self(task))
		return error_raise(err, ESRCH, "/proc/%d/status cannot be read", task->tid);
	if (!task->suspended && task->self.filtered) {
		error_refuse(err, CODE_inject_seccomp,
		             "it has a seccomp filter, which cannot be suspended here");
		error_hint(err, "run as root of the initial user namespace (CAP_SYS_ADMIN), "
		                "without a filter of one's own; or start it without one: podman "
		                "and docker with "
		                "--security-opt seccomp=unconfined");
		return -EOPNOTSUPP;
	}
	if (is_dispatched(task))
		return error_refuse(err, CODE_cpu_dispatch, "syscall user dispatch is on");
	return 0;
}

/* the part of the extended state that goes into the frame; the caller frees it */
static int read_xstate(struct trace *t, const struct traced *task, void **ret, size_t *ret_size,
                       struct error *err)
{
	_cleanup_(free_p) void *xstate = xmalloc(XSTATE_MAX);
	struct iovec iov = { xstate, XSTATE_MAX };

	if (!t->xstate_size)
		t->xstate_size = arch_xstate_size(arch_xstate_enabled());

	if (ptrace(PTRACE_GETREGSET, task->tid, NT_X86_XSTATE, &iov) < 0 &&
	    ptrace(PTRACE_GETREGSET, task->tid, NT_PRFPREG, &iov) < 0)
		return error_raise(err, errno, "PTRACE_GETREGSET of the floating point state");
	*ret_size = iov.iov_len > 512 && t->xstate_size < iov.iov_len ? t->xstate_size
	                                                              : iov.iov_len;
	*ret = take_ptr(xstate);
	return 0;
}

/* lays the return frame; nothing of the task but dead bytes of its stack has changed after it */
static int lay_frame(struct trace *t, struct traced *task, struct error *err)
{
	_cleanup_(free_p) void *xstate = NULL;
	size_t xstate_size = 0;

	int r = may_inject(task, err);
	if (r < 0)
		return r;
	if (!task->gadget.syscall_ip) {
		r = trace_find_gadget(t, task, &task->gadget, err);
		if (r < 0)
			return r;
	}
	r = read_xstate(t, task, &xstate, &xstate_size, err);
	if (r < 0)
		return r;
	task->frame = arch_frame_place(task->regs.rsp, xstate_size, INJECT_BUFFER_SIZE);
	if (!task->frame_saved &&
	    !trace_is_stack(t, task, task->frame.address, task->frame.address + task->frame.size))
		return error_refuse(err, CODE_inject_gadget,
		                    "its stack has no room for a return frame");
	r = trace_open_mem(task);
	if (r < 0)
		return error_raise(err, -r, "open /proc/%d/mem", task->tid);
	free(task->frame_saved);
	free(task->frame_image);
	task->frame_saved = xmalloc(task->frame.size);
	task->frame_image = xmalloc(task->frame.size);
	if (pread(task->mem, task->frame_saved, task->frame.size, (off_t)task->frame.address) !=
	    (ssize_t)task->frame.size)
		return error_raise(err, EFAULT, "read the stack below the red zone");
	arch_frame_fill(&task->frame, task->frame_image, &task->regs, task->sigmask, xstate,
	                xstate_size, &task->gadget);
	if (pwrite(task->mem, task->frame_image, task->frame.size, (off_t)task->frame.address) !=
	    (ssize_t)task->frame.size)
		return error_raise(err, EFAULT, "write the return frame");
	return 0;
}

static int put_buffer(const struct traced *task, const void *buffer)
{
	return !buffer || pwrite(task->mem, buffer, INJECT_BUFFER_SIZE,
	                         (off_t)(task->frame.address + task->frame.buffer)) ==
	                               INJECT_BUFFER_SIZE
	               ? 0
	               : -EFAULT;
}

static int get_buffer(const struct traced *task, void *buffer)
{
	return !buffer || pread(task->mem, buffer, INJECT_BUFFER_SIZE,
	                        (off_t)(task->frame.address + task->frame.buffer)) ==
	                               INJECT_BUFFER_SIZE
	               ? 0
	               : -EFAULT;
}

uint64_t trace_inject_argument(const struct traced *task, const struct injection *call, int i)
{
	uint64_t base = task->frame.address + task->frame.buffer;

	return call->arg[i] + (call->buffer_args & 1u << i ? base : 0);
}

/* all signals wait but the one that ends a list */
static uint64_t mask_while_open(const struct traced *task)
{
	int signal = task->self.end_signal;

	return signal ? ~(1ull << (signal - 1)) : UINT64_MAX;
}

int trace_inject_call(struct trace *t, struct traced *task, long nr, const uint64_t arg[6],
                      long *ret_result, struct error *err)
{
	struct user_regs_struct regs = task->regs;

	arch_call_frame(&regs, &task->gadget, &task->frame);
	arch_call_set(&regs, &task->gadget, nr, arg);
	int r = trace_set_regs(task->tid, &regs);
	/* after the registers: from here the return frame also puts the mask back */
	if (r == 0 && t->open != task)
		r = trace_set_sigmask(task->tid, mask_while_open(task));
	if (r < 0)
		return error_raise(err, -r, "set registers for system call %ld", nr);
	t->open = task;
	r = trace_step_syscall(t, task, err); /* its entry */
	if (r == 0)
		r = trace_step_syscall(t, task, err); /* its exit */
	if (r < 0)
		return error_trace(err, r);
	r = trace_get_regs(task->tid, &regs);
	if (r < 0)
		return error_raise(err, EFAULT, "read the result of system call %ld", nr);
	*ret_result = arch_call_result(&regs);
	return 0;
}

static int call_one_by_one(struct trace *t, struct traced *task, struct injection *calls, size_t n,
                           struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t arg[6];
		for (int k = 0; k < 6; k++)
			arg[k] = trace_inject_argument(task, &calls[i], k);
		int r = trace_inject_call(t, task, calls[i].nr, arg, &calls[i].result, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

/* the registers first settle where the kernel restarts calls; then mask, registers, memory */
static int put_back(struct trace *t, struct traced *task, struct error *err)
{
	int r = trace_settle(t, task, err);
	if (r < 0)
		return error_trace(err, r);
	r = trace_set_sigmask(task->tid, task->sigmask);
	if (r == 0)
		r = trace_set_regs(task->tid, &task->regs);
	if (r < 0)
		return error_raise(err, -r, "put registers back");
	if (pwrite(task->mem, task->frame_saved, task->frame.size, (off_t)task->frame.address) !=
	    (ssize_t)task->frame.size)
		return error_raise(err, EFAULT, "put the stack back");
	return 0;
}

/* the coordinator may go, or fail, between a mapping that it has the task make and its unmapping */
static void note_mappings(struct traced *task, const struct injection *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (calls[i].nr == SYS_mmap && calls[i].result >= 0) {
			task->mapped = (uint64_t)calls[i].result;
			task->mapped_size = calls[i].arg[1];
		} else if (calls[i].nr == SYS_munmap && calls[i].arg[0] == task->mapped) {
			task->mapped_size = 0;
		}
	}
}

static int unmap_mapped(struct trace *t, struct traced *task, struct error *err)
{
	const uint64_t arg[6] = { task->mapped, task->mapped_size };
	long result;

	if (!task->mapped_size)
		return 0;
	task->mapped_size = 0;
	return trace_inject_call(t, task, SYS_munmap, arg, &result, err);
}

int trace_rest(struct trace *t, struct error *err)
{
	struct traced *task = t->open;
	struct error ignored;

	if (!task)
		return 0;
	int r = unmap_mapped(t, task, err);
	if (r == 0)
		r = list_unmap(t, task, err);
	task->list_tried = false;
	t->open = NULL;
	int r2 = put_back(t, task, r < 0 ? &ignored : err);
	return r < 0 || r2 < 0 ? error_trace(err, r < 0 ? r : r2) : 0;
}

static int make_calls(struct trace *t, struct traced *task, struct injection *calls, size_t n,
                      struct error *err)
{
	int r = 0;

	if (n >= WORTH_A_LIST && !task->list_tried)
		r = list_map(t, task, err);
	if (r == 0)
		r = task->list ? list_run(t, task, calls, n, err)
		               : call_one_by_one(t, task, calls, n, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int trace_inject(struct trace *t, struct traced *task, struct injection *calls, size_t n,
                 void *buffer, struct error *err)
{
	struct error ignored;
	int r = 0;

	if (t->open != task) {
		r = trace_rest(t, err);
		if (r == 0)
			r = lay_frame(t, task, err);
	}
	if (r < 0)
		return error_trace(err, r);
	if (put_buffer(task, buffer) < 0)
		r = error_raise(err, EFAULT, "write arguments to the stack");
	if (r == 0)
		r = make_calls(t, task, calls, n, err);
	if (r == 0)
		note_mappings(task, calls, n);
	if (r == 0 && get_buffer(task, buffer) < 0)
		r = error_raise(err, EFAULT, "read what the calls have written");
	if (r < 0) {
		trace_rest(t, &ignored);
		return error_trace(err, r);
	}
	if (!task->late_stop)
		return 0;
	error_refuse(err, CODE_sigpending_stop, "SIGSTOP was sent to it just now");
	error_hint(err, "try again");
	return -EOPNOTSUPP;
}
