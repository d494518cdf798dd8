/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracer at restart. All stubs descend from the root stub, which is seized with EXITKILL and
 * with automatic attachment of what it clones, so no stub outlives this process before it has been
 * launched. They run freely (they wait in a futex for their lists) until each is launched: stopped,
 * given its final state, and kept stopped until all can go.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define OPTIONS                                                                               \
	(PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
	 PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD)
#define LAUNCH_TIMEOUT 10000u
#define XSTATE_MAX     (64u << 10)

int trace_adopt(struct trace *t, pid_t root, struct error *err)
{
	struct traced *task = trace_add(t, root);

	t->restart = true;
	if ((!t->may_suspend ||
	     ptrace(PTRACE_SEIZE, root, 0, OPTIONS | PTRACE_O_SUSPEND_SECCOMP) < 0) &&
	    ptrace(PTRACE_SEIZE, root, 0, OPTIONS) < 0) {
		int r = error_raise(err, errno, "PTRACE_SEIZE of the root stub %d", root);
		task->gone = true;
		return r;
	}
	return 0;
}

static void note_death(struct trace *t, pid_t tid, int status)
{
	*array_push(t->deaths, t->n_deaths) = (struct death){ .tid = tid, .status = status };
}

/*
 * A stub at its end (PTRACE_EVENT_EXIT): it is let go now, because a leader that ends while its
 * threads live would stay attached as a zombie, with EXITKILL on the whole process.
 */
static void at_exit_event(struct trace *t, struct traced *task)
{
	unsigned long status = 0;

	ptrace(PTRACE_GETEVENTMSG, task->tid, 0, &status);
	note_death(t, task->tid, (int)status);
	ptrace(PTRACE_DETACH, task->tid, 0, 0);
	trace_forget(t, task);
}

/* one stop of a stub that is not being launched: it goes on */
static void pass_on(struct trace *t, struct traced *task, int status)
{
	int event = status >> 16;

	task->stopped = false;
	if (event == PTRACE_EVENT_EXIT)
		at_exit_event(t, task);
	else if (event || WSTOPSIG(status) == (SIGTRAP | 0x80))
		ptrace(PTRACE_CONT, task->tid, 0, 0);
	else
		ptrace(PTRACE_CONT, task->tid, 0, WSTOPSIG(status));
}

static void one_event(struct trace *t, pid_t pid, int status)
{
	struct traced *task = trace_find(t, pid);

	if (!task || task->gone)
		task = trace_add(t, pid);
	if (!WIFSTOPPED(status)) {
		note_death(t, pid, status);
		trace_forget(t, task);
		return;
	}
	pass_on(t, task, status);
}

void trace_events(struct trace *t)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0 || (pid < 0 && errno == EINTR))
		if (pid > 0)
			one_event(t, pid, status);
}

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
		int r = trace_wait(t, task, 1000, &status);
		if (r < 0)
			return error_raise(err, ESRCH, "stub %d has died", task->tid);
		if (r == 0)
			continue;
		if (status >> 16 == PTRACE_EVENT_STOP)
			return 0;
		pass_on(t, task, status);
		if (task->gone)
			return error_raise(err, ESRCH, "stub %d has died", task->tid);
	}
	return error_raise(err, ETIMEDOUT, "stub %d does not stop", task->tid);
}

/* one system call, made at the vDSO's instruction */
static int call_at(struct trace *t, struct traced *task, uint64_t ip, long nr,
                   const uint64_t arg[6], long *ret_result, struct error *err)
{
	struct gadget gadget = { .syscall_ip = ip };
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

static int unmap_stub(struct trace *t, struct traced *task, const struct launch *l,
                      struct error *err)
{
	const uint64_t arg[6] = { l->unmap_start, l->unmap_size };
	long result = 0;

	if (!l->unmap_size)
		return 0;
	int r = call_at(t, task, l->syscall_ip, __NR_munmap, arg, &result, err);
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

/* where the timeout of a resumed call lies while the kernel reads it: dead bytes of the stack */
static int lay_timeout(struct traced *task, const struct launch *l, const void *data, void *saved,
                       uint64_t *ret_address, struct error *err)
{
	const struct user_regs_struct *regs = l->regs;
	const size_t size = sizeof(struct timespec);

	*ret_address = (regs->rsp - ARCH_RED_ZONE - 64) & ~15ull;
	int r = trace_open_mem(task);
	if (r < 0)
		return error_raise(err, -r, "open /proc/%d/mem", task->tid);
	if (!trace_is_stack(task, *ret_address, *ret_address + size) ||
	    pread(task->mem, saved, size, (off_t)*ret_address) != (ssize_t)size ||
	    pwrite(task->mem, data, size, (off_t)*ret_address) != (ssize_t)size)
		return error_raise(err, EFAULT, "the stack has no room for a timeout");
	return 0;
}

/* makes the call and interrupts it at once: it then waits in the kernel's restart block */
static int make_and_interrupt(struct trace *t, struct traced *task, const struct launch *l,
                              const uint64_t arg[6], struct user_regs_struct *ret,
                              struct error *err)
{
	struct gadget gadget = { .syscall_ip = l->syscall_ip };
	struct user_regs_struct regs = *(const struct user_regs_struct *)l->regs;

	arch_call_set(&regs, &gadget, l->resumed.nr, arg);
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

static int resume_call(struct trace *t, struct traced *task, const struct launch *l,
                       struct user_regs_struct *final, struct error *err)
{
	uint64_t ns = l->resumed.left_ns, address = 0;
	struct timespec ts = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) }, saved;
	struct user_regs_struct after;
	uint64_t arg[6];
	int r = 0;

	memcpy(arg, l->resumed.arg, sizeof(arg));
	if (l->resumed.timeout_ms) {
		arg[l->resumed.timeout_arg] = (ns + 999999) / 1000000;
	} else {
		r = lay_timeout(task, l, &ts, &saved, &address, err);
		arg[l->resumed.timeout_arg] = address;
	}
	if (r == 0)
		r = make_and_interrupt(t, task, l, arg, &after, err);
	if (address && task->mem >= 0 &&
	    pwrite(task->mem, &saved, sizeof(saved), (off_t)address) != sizeof(saved) && r == 0)
		r = error_raise(err, EFAULT, "put the stack back");
	if (r < 0)
		return error_trace(err, r);
	/* an interrupted call has its restart code here; one that was done has its result */
	final->rax = after.rax;
	final->orig_rax = (unsigned long long)l->resumed.nr;
	return 0;
}

int trace_launch(struct trace *t, struct launch *l, struct error *err)
{
	struct traced *task = trace_find(t, l->tid);
	struct user_regs_struct final = *(const struct user_regs_struct *)l->regs;

	if (!task || task->gone)
		return error_raise(err, ESRCH, "stub %d is not there", l->tid);
	int r = stop_stub(t, task, err);
	if (r == 0)
		r = unmap_stub(t, task, l, err);
	if (r == 0)
		r = set_xstate(l->tid, l, err);
	if (r == 0 && l->resumed.nr > 0)
		r = resume_call(t, task, l, &final, err);
	if (r < 0)
		return error_trace(err, r);
	r = trace_set_sigmask(l->tid, l->sigmask);
	if (r == 0)
		r = trace_set_regs(l->tid, &final);
	if (r < 0)
		return error_raise(err, -r, "final registers of %d", l->tid);
	if (task->mem >= 0)
		close(task->mem);
	task->mem = -1;
	task->stop = l->stop;
	task->unlaunched = false;
	task->has_registers = true; /* launched */
	return 0;
}

static pid_t process_of(pid_t tid)
{
	char path[64], line[256];
	pid_t tgid = tid;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	if (f)
		fclose(f);
	return tgid;
}

int trace_launch_all(struct trace *t, bool leave_stopped, struct error *err)
{
	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone && t->tasks[i]->has_registers && !t->tasks[i]->stopped)
			return error_raise(err, ESRCH, "stub %d is not held", t->tasks[i]->tid);
	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone && t->tasks[i]->has_registers &&
		    (t->tasks[i]->stop || leave_stopped))
			kill(process_of(t->tasks[i]->tid), SIGSTOP);
	for (size_t i = 0; i < t->n; i++) {
		if (t->tasks[i]->gone || !t->tasks[i]->has_registers)
			continue;
		ptrace(PTRACE_DETACH, t->tasks[i]->tid, 0, 0);
		trace_forget(t, t->tasks[i]);
	}
	return 0;
}

void trace_kill_stubs(struct trace *t)
{
	int status;

	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone)
			kill(t->tasks[i]->tid, SIGKILL);
	for (size_t i = t->n; i-- > 0;) {
		struct traced *task = t->tasks[i];
		uint64_t end = now_ms() + 5000;
		while (!task->gone && now_ms() < end) {
			int r = trace_wait(t, task, 200, &status);
			if (r < 0)
				trace_forget(t, task);
			else if (r > 0)
				pass_on(t, task, status);
		}
	}
}
