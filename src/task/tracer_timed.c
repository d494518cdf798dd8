/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a call goes on that our stop has interrupted. The kernel restarts nearly all by itself when
 * the task goes on with its registers; what it does not tell is how much of a relative timeout is
 * left, which a restart needs. nanosleep with a remainder pointer has stored it (exact). For the
 * rest it is estimated by when the task last stopped running: se.exec_start in /proc/PID/sched,
 * read before the interrupt wakes it. (A task woken in between to no avail seems to have begun
 * later than it did; a call that was restarted before counts from then: stasis(1) says so.) That is
 * by the clock of one CPU, which stands still while a hypervisor gives the CPU to others; what it
 * is behind CLOCK_MONOTONIC is measured afterwards, when it is more, if anything. So a timeout may
 * end late, and never early.
 *
 * The few calls that answer EINTR to any stop are told at once to go on as the kernel's restart
 * codes do, so that nothing depends on this process any more; only those with a timeout wait for
 * the thaw, when it is known how much is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proc/read.h"
#include "task/tracer_private.h"
#include "util/alloc.h"

/* one number of /proc/PID/sched, proc(5); -1 unknown */
static double sched_value(pid_t tid, const char *key)
{
	char text[4096];

	if (proc_read(tid, "sched", text, sizeof(text)) <= 0)
		return -1;
	const char *p = strstr(text, key);
	p = p ? strchr(p, ':') : NULL;
	return p ? strtod(p + 1, NULL) : -1;
}

/* when the task was last on a CPU, in ms of the scheduler's clock; -1 unknown */
static double exec_start(pid_t tid)
{
	return sched_value(tid, "se.exec_start");
}

/* the CPU that it ran on last: field 39 of /proc/PID/stat, proc(5); -1 unknown */
static int last_cpu(pid_t tid)
{
	char text[1024];
	int cpu;

	if (proc_read(tid, "stat", text, sizeof(text)) <= 0)
		return -1;
	const char *p = strrchr(text, ')');
	for (int field = 2; p && field < 39; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%d", &cpu) == 1 ? cpu : -1;
}

/* what CLOCK_MONOTONIC is ahead of the CPU's clock; needs this process to run there for a moment */
static bool measure_clock(int cpu, struct cpu_clock *ret)
{
	cpu_set_t mine, there;
	struct timespec now;

	CPU_ZERO(&there);
	CPU_SET(cpu, &there);
	if (sched_getaffinity(0, sizeof(mine), &mine) < 0 ||
	    sched_setaffinity(0, sizeof(there), &there) < 0)
		return false;
	ret->at_ms = exec_start(getpid());
	clock_gettime(CLOCK_MONOTONIC, &now);
	ret->ahead_ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6 - ret->at_ms;
	(void)sched_setaffinity(0, sizeof(mine), &mine);
	return ret->at_ms >= 0;
}

/* CLOCK_MONOTONIC in ms at @since_ms of the CPU's clock, or later; -1 unknown */
static double monotonic(struct trace *t, int cpu, double since_ms)
{
	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return -1;
	while (t->n_clocks <= (size_t)cpu)
		array_push(t->clocks, t->n_clocks)->at_ms = -1;
	struct cpu_clock *clock = &t->clocks[cpu];
	if (clock->at_ms < since_ms && !measure_clock(cpu, clock))
		return -1;
	return since_ms + clock->ahead_ms;
}

/* how often it has gone to sleep */
static long switches(pid_t tid)
{
	return (long)sched_value(tid, "nr_voluntary_switches");
}

/* which call the kernel's stack is in, that only root may see, and only while the task sleeps */
static long call_in_kernel(pid_t tid, const uint64_t args[6])
{
	char stack[2048];

	if (proc_read(tid, "stack", stack, sizeof(stack)) <= 0)
		return __NR_restart_syscall;
	if (strstr(stack, "nanosleep"))
		return args[0] < 4096 ? __NR_clock_nanosleep : __NR_nanosleep;
	if (strstr(stack, "do_restart_poll"))
		return __NR_poll;
	return strstr(stack, "futex_wait_restart") ? __NR_futex : __NR_restart_syscall;
}

/* the code that ends at an address; 0 when it cannot be read */
static size_t read_code(struct traced *task, uint64_t end, uint8_t *code, size_t size)
{
	return trace_open_mem(task) == 0 &&
	                       pread(task->mem, code, size, (off_t)(end - size)) == (ssize_t)size
	               ? size
	               : 0;
}

/*
 * A call that was interrupted and restarted before shows as restart_syscall, with the registers of
 * the first time. Which it was stands in the code, or in the kernel's stack.
 */
static long restarted_call(struct traced *task)
{
	uint8_t code[96];
	uint64_t caller;
	size_t n = read_code(task, task->regs.rip, code, 16);
	long nr = n ? arch_number_in_code(code, n) : -1;

	if (nr < 0 && n && arch_is_syscall_function(code, n) &&
	    pread(task->mem, &caller, sizeof(caller), (off_t)task->regs.rsp) == sizeof(caller)) {
		n = read_code(task, caller, code, sizeof(code));
		nr = n ? arch_number_in_caller(code, n) : -1;
	}
	return nr >= 0 ? nr : task->blocked_kernel;
}

void timed_before(struct traced *task)
{
	char text[256];
	uint64_t args[6];
	struct timed_call timed;
	long nr;

	task->blocked_nr = -1;
	task->blocked_since_ms = -1;
	task->blocked_kernel = __NR_restart_syscall;
	if (proc_read(task->tid, "syscall", text, sizeof(text)) <= 0)
		return;
	if (sscanf(text, "%ld %lx %lx %lx %lx %lx %lx %lx", &nr, &args[0], &args[1], &args[2],
	           &args[3], &args[4], &args[5], &task->blocked_sp) != 8)
		return; /* "running" */
	if (nr != __NR_restart_syscall && !arch_timed_call(nr, args, &timed))
		return;
	if (nr == __NR_restart_syscall)
		task->blocked_kernel = call_in_kernel(task->tid, args);
	task->blocked_nr = nr;
	task->blocked_switches = switches(task->tid);
	task->blocked_cpu = last_cpu(task->tid);
	task->blocked_since_ms = exec_start(task->tid);
}

/* is it still in the call that timed_before() has seen, and was woken by us alone? */
static bool same_call(const struct traced *task)
{
	if (task->blocked_nr != (long)task->regs.orig_rax || task->blocked_sp != task->regs.rsp)
		return false;
	return task->blocked_switches >= 0 && switches(task->tid) <= task->blocked_switches + 1;
}

static uint64_t timespec_ns(const struct timespec *ts)
{
	if (ts->tv_sec < 0 || ts->tv_nsec < 0)
		return 0;
	if ((uint64_t)ts->tv_sec > UINT64_MAX / 2000000000)
		return UINT64_MAX / 2;
	return (uint64_t)ts->tv_sec * 1000000000 + (uint64_t)ts->tv_nsec;
}

static bool read_timespec(struct traced *task, uint64_t address, uint64_t *ret_ns)
{
	struct timespec ts;

	if (trace_open_mem(task) < 0 ||
	    pread(task->mem, &ts, sizeof(ts), (off_t)address) != sizeof(ts))
		return false;
	*ret_ns = timespec_ns(&ts);
	return true;
}

/* the whole timeout of the call, minus the time it has slept */
static uint64_t time_left(struct trace *t, struct traced *task, const struct timed_call *timed,
                          const uint64_t args[6])
{
	uint64_t ns = 0;

	if (timed->form == TIMEOUT_MS)
		ns = (uint64_t)(int)args[timed->arg] * 1000000;
	else if (!read_timespec(task, args[timed->arg], &ns))
		return 0;
	double since_ms = task->blocked_since_ms;
	if (since_ms >= 0)
		since_ms = monotonic(t, task->blocked_cpu, since_ms);
	if (since_ms < 0)
		return ns;
	double slept_ms = (double)task->held_ms - since_ms;
	uint64_t slept = slept_ms > 0 ? (uint64_t)(slept_ms * 1e6) : 0;
	return slept < ns ? ns - slept : 0;
}

static uint64_t hex_after(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? strtoull(p + strlen(key), NULL, 16) : 0;
}

/* is there a signal that the program would get when it goes on? then the EINTR is its own */
static bool deliverable_signal(const struct traced *task)
{
	char text[4096];

	if (proc_read(task->tid, "status", text, sizeof(text)) <= 0)
		return false;
	return (hex_after(text, "SigPnd:") | hex_after(text, "ShdPnd:")) & ~task->sigmask;
}

void timed_after(struct trace *t, struct traced *task)
{
	struct user_regs_struct regs = task->regs;
	struct interrupted_call *call = &task->call;
	uint64_t args[6];

	arch_call_get(&regs, args);
	if (!same_call(task))
		task->blocked_since_ms = -1; /* another call by now: it has only just begun */
	if ((long)regs.orig_rax == __NR_restart_syscall)
		regs.orig_rax = (unsigned long long)restarted_call(task);
	*call = (struct interrupted_call){ .how = INTERRUPTED_NOT, .nr = (long)regs.orig_rax };
	task->held_ms = now_ms();
	/* a task that was stopped by job control owes its EINTR to that, signal(7) */
	bool own = arch_call_is_eintr(&regs) && (task->group_stop || deliverable_signal(task));
	call->how = arch_interrupted(&regs, own, &call->timed);
	if (call->how == INTERRUPTED_AGAIN && arch_call_is_eintr(&task->regs)) {
		arch_call_again(&task->regs);
		trace_set_regs(task->tid, &task->regs);
	}
	if (call->how != INTERRUPTED_TIMED)
		return;
	/* the kernel has stored what is left where the program asked for it */
	if (call->timed.remainder >= 0 &&
	    read_timespec(task, args[call->timed.remainder], &call->left_ns))
		return;
	call->left_ns = time_left(t, task, &call->timed, args);
}

/*
 * At thaw. The kernel restarts by itself whatever has a restart code. What is left are the calls
 * with a timeout that answer EINTR: they are made again with what is left of it. The argument's
 * register keeps the new value; the C library's functions do not look at it again.
 */
void timed_fix(struct trace *t, struct traced *task)
{
	const struct interrupted_call *call = &task->call;
	struct user_regs_struct regs = task->regs;
	uint64_t held = (now_ms() - task->held_ms) * 1000000;
	uint64_t left = call->left_ns > held ? call->left_ns - held : 0;

	if (!arch_call_is_eintr(&regs) || call->how != INTERRUPTED_TIMED)
		return;
	arch_call_again(&regs);
	if (call->timed.form == TIMEOUT_MS) {
		arch_call_set_arg(&regs, call->timed.arg, (left + 999999) / 1000000);
	} else {
		/* below the red zone, where the kernel reads it before anything else can run */
		struct timespec ts = { (time_t)(left / 1000000000), (long)(left % 1000000000) };
		uint64_t address = (regs.rsp - ARCH_RED_ZONE - 64) & ~15ull;
		if (trace_open_mem(task) < 0 ||
		    !trace_is_stack(t, task, address, address + sizeof(ts)) ||
		    pwrite(task->mem, &ts, sizeof(ts), (off_t)address) != sizeof(ts))
			address = 0; /* then the whole time again: late, not never */
		if (address)
			arch_call_set_arg(&regs, call->timed.arg, address);
	}
	trace_set_regs(task->tid, &regs);
}
