/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that job control had stopped are stopped again while they are still held, so that none
 * of their code runs, and so that what the stop tells their parents can be taken back where the
 * parents knew of it: wait status and SIGCHLD. All signals of the stubs are blocked meanwhile.
 * Those that had been continued, which their parents may ask for, are stopped and continued.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "util/cleanup.h"

#define STOP_TIMEOUT 10000u
#define PID_LEVELS   33 /* MAX_PID_NS_LEVEL of the kernel, and the first */

/* a line of /proc/PID/status, the number behind its key; @otherwise when it is not there */
static uint64_t status_value(pid_t pid, const char *key, int base, uint64_t otherwise)
{
	char path[64], line[256];
	size_t size = strlen(key);

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, size))
			return strtoull(line + size, NULL, base);
	return otherwise;
}

static uint64_t bit(int signal)
{
	return 1ull << (signal - 1);
}

/* a stop signal stops only where it has its default effect; SIGSTOP always has */
static int usable_signal(pid_t tid, int signal)
{
	uint64_t taken = status_value(tid, "SigIgn:", 16, ~0ull) |
	                 status_value(tid, "SigCgt:", 16, ~0ull);

	return taken & bit(signal) ? SIGSTOP : signal;
}

/* the first thread to take the SIGSTOP that was sent: in its place it gets @signal */
static int take_signal(struct traced *task, int signal)
{
	if (signal == SIGSTOP)
		return ptrace(PTRACE_CONT, task->tid, 0, SIGSTOP);
	/* it may be ignored after all (an orphaned process group): then the trap stops the task */
	if (trace_set_sigmask(task->tid, ~bit(signal)) < 0 ||
	    ptrace(PTRACE_INTERRUPT, task->tid, 0, 0) < 0)
		return -1;
	return ptrace(PTRACE_CONT, task->tid, 0, signal);
}

/* runs a thread, inside the kernel, until it is in the stop of its process */
static int enter_stop(struct trace *t, struct traced *task, int signal, struct error *err)
{
	int status;
	long r = ptrace(PTRACE_CONT, task->tid, 0, 0);

	for (;;) {
		if (r < 0)
			return error_raise(err, errno, "stop %d", task->tid);
		task->stopped = false;
		int w = trace_wait(task, STOP_TIMEOUT, &status);
		if (w < 0)
			return error_raise(err, ESRCH, "%d ended on the way to its stop",
			                   task->tid);
		if (w == 0)
			return error_raise(err, ETIMEDOUT, "%d does not stop", task->tid);
		if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP)
			return 0;
		if (status >> 16 == PTRACE_EVENT_STOP) { /* it had no effect */
			signal = SIGSTOP;
			kill(task->tgid, SIGSTOP);
			r = ptrace(PTRACE_CONT, task->tid, 0, 0);
		} else if (WSTOPSIG(status) == SIGSTOP) {
			r = take_signal(task, signal);
		} else {
			r = ptrace(PTRACE_CONT, task->tid, 0, WSTOPSIG(status));
		}
	}
}

static bool is_launched(const struct traced *task)
{
	return task->has_registers && !task->gone;
}

/* the first of each process by its tgid, and the next of each as its next_thread */
static struct map *launched_threads(const struct trace *t)
{
	struct map *processes = map_new();

	for (size_t i = t->n; i-- > 0;) {
		struct traced *task = t->tasks[i];
		if (!is_launched(task))
			continue;
		task->next_thread = map_get(processes, &task->tgid, sizeof(task->tgid));
		map_put(processes, &task->tgid, sizeof(task->tgid), task);
	}
	return processes;
}

/* takes a pending signal, with the arguments on dead stack; put back afterwards */
static int take_pending(struct trace *t, struct traced *task, int signal, struct error *err)
{
	struct {
		struct timespec zero;
		uint64_t set, pad;
	} data = { .set = bit(signal) }, saved;
	uint64_t address = trace_dead_stack(task, sizeof(data));
	const uint64_t arg[6] = { address + offsetof(typeof(data), set), 0, address, 8 };
	long result;

	int r = trace_open_mem(task);
	if (r < 0)
		return error_raise(err, -r, "open /proc/%d/mem", task->tid);
	if (!trace_is_stack(t, task, address, address + sizeof(data)) ||
	    pread(task->mem, &saved, sizeof(saved), (off_t)address) != sizeof(saved) ||
	    pwrite(task->mem, &data, sizeof(data), (off_t)address) != sizeof(data))
		return error_raise(err, EFAULT, "the stack of %d has no room", task->tid);
	r = trace_call(t, task, __NR_rt_sigtimedwait, arg, &result, err);
	if (r < 0)
		return error_trace(err, r);
	if (pwrite(task->mem, &saved, sizeof(saved), (off_t)address) != sizeof(saved))
		return error_raise(err, EFAULT, "put the stack of %d back", task->tid);
	return 0;
}

/* a task that has made calls: ready to go on */
static int ready_again(struct trace *t, struct traced *task, struct error *err)
{
	int r = trace_settle(t, task, err);

	if (r < 0)
		return error_trace(err, r);
	r = trace_set_regs(task->tid, &task->regs);
	return r < 0 ? error_raise(err, -r, "registers of %d", task->tid) : 0;
}

/* the parent has been told what the child does: takes back what it knew already */
static int hush(struct trace *t, struct traced *parent, pid_t child, bool waited, bool had_sigchld,
                struct error *err)
{
	const uint64_t arg[6] = { P_PID, (uint64_t)child, 0, WSTOPPED | WNOHANG | __WALL };
	long result = 0;
	int r = 0;

	if (waited)
		r = trace_call(t, parent, __NR_waitid, arg, &result, err);
	if (r == 0 && result < 0)
		r = error_raise(err, (int)-result, "waitid for %d in %d", child, parent->tid);
	if (r == 0 && !had_sigchld)
		r = take_pending(t, parent, SIGCHLD, err);
	if (r == 0)
		r = ready_again(t, parent, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* the numbers that a process has on the levels of pid namespaces from ours down to its own */
static size_t read_numbers(pid_t pid, pid_t ret[PID_LEVELS])
{
	char path[64], line[512];
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		for (char *at = line + 6, *end; n < PID_LEVELS; at = end) {
			long number = strtol(at, &end, 10);
			if (end == at)
				break;
			ret[n++] = (pid_t)number;
		}
	}
	return n;
}

/* the pid that the parent's calls know it by: on the level of the parent */
static pid_t number_for(pid_t pid, pid_t parent)
{
	pid_t own[PID_LEVELS], of_parent[PID_LEVELS];
	size_t n = read_numbers(pid, own), level = read_numbers(parent, of_parent);

	return level > 0 && level <= n ? own[level - 1] : pid;
}

/* of a process: its parent, if that is of the set, and whether that has a SIGCHLD to come */
static struct traced *parent_of(const struct map *processes, pid_t tgid, bool *ret_had_sigchld)
{
	pid_t ppid = (pid_t)status_value(tgid, "PPid:", 10, 0);
	struct traced *parent = ppid ? map_get(processes, &ppid, sizeof(ppid)) : NULL;

	*ret_had_sigchld = parent && status_value(ppid, "ShdPnd:", 16, 0) & bit(SIGCHLD);
	return parent;
}

static int stop_process(struct trace *t, const struct map *processes, struct traced *first,
                        struct error *err)
{
	pid_t tgid = first->tgid;
	bool had;
	struct traced *parent = parent_of(processes, tgid, &had);
	int signal = usable_signal(first->tid, first->stop_signal), r = 0;

	if (kill(tgid, SIGSTOP) < 0)
		return error_raise(err, errno, "stop %d", tgid);
	for (struct traced *task = first; r == 0 && task; task = task->next_thread)
		r = enter_stop(t, task, signal, err);
	if (r == 0 && parent)
		r = hush(t, parent, number_for(tgid, parent->tgid), first->stop_waited, had, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* all its threads are in the stop; the first one tells the parent when it runs, in the kernel */
static int continue_process(struct trace *t, const struct map *processes, struct traced *first,
                            struct error *err)
{
	bool had;
	struct traced *parent = parent_of(processes, first->tgid, &had);
	int status;

	if (kill(first->tgid, SIGCONT) < 0 || ptrace(PTRACE_CONT, first->tid, 0, 0) < 0)
		return error_raise(err, errno, "continue %d", first->tgid);
	first->stopped = false;
	int r = trace_wait(first, STOP_TIMEOUT, &status);
	if (r <= 0)
		return error_raise(err, r < 0 ? ESRCH : ETIMEDOUT, "%d does not go on", first->tid);
	r = take_pending(t, first, SIGCONT, err);
	if (r == 0)
		r = ready_again(t, first, err);
	if (r == 0 && parent)
		r = hush(t, parent, 0, false, had, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int trace_stop_processes(struct trace *t, bool all, struct error *err)
{
	_cleanup_(map_freep) struct map *processes = launched_threads(t);

	for (size_t i = 0; i < t->n; i++) {
		struct traced *task = t->tasks[i];
		if (!is_launched(task) ||
		    map_get(processes, &task->tgid, sizeof(task->tgid)) != task)
			continue;
		if (!task->stop_signal && !all && !task->continued)
			continue;
		if (!task->stop_signal) { /* nobody is to notice */
			task->stop_signal = SIGSTOP;
			task->stop_waited = true;
		}
		int r = stop_process(t, processes, task, err);
		if (r == 0 && task->continued && !all)
			r = continue_process(t, processes, task, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}
