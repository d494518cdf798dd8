/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tracer's elementary steps: waiting for stops, running a task to the next one. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc/read.h"
#include "task/tracer_private.h"
#include "util/alloc.h"

#define SYSCALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */
#define STEP_TIMEOUT 10000u           /* ms; a call that must not sleep */

bool trace_abandoned(const struct trace *t)
{
	struct pollfd p = { .fd = t->coordinator, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents;
}

struct traced *trace_find(const struct trace *t, pid_t tid)
{
	return map_get(t->by_tid, &tid, sizeof(tid));
}

struct traced *trace_add(struct trace *t, pid_t tid)
{
	struct traced *task = trace_find(t, tid);

	if (!task) {
		task = xcalloc(1, sizeof(*task));
		*array_push(t->tasks, t->n) = task;
		map_put(t->by_tid, &tid, sizeof(tid), task);
	}
	free(task->frame_image);
	free(task->frame_saved);
	if (task->tid && task->mem >= 0)
		close(task->mem);
	*task = (struct traced){ .tid = tid, .mem = -1, .blocked_nr = -1, .blocked_since_ms = -1 };
	return task;
}

void trace_forget(struct traced *task)
{
	task->gone = true;
	task->stopped = false;
	if (task->mem >= 0)
		close(task->mem);
	task->mem = -1;
	free(task->frame_image);
	free(task->frame_saved);
	task->frame_image = task->frame_saved = NULL;
}

/* waits until a child changes state; SIGCHLD is blocked, so none is missed */
static void wait_sigchld(unsigned timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigtimedwait(&set, NULL, &ts);
}

int trace_wait(struct traced *task, unsigned timeout_ms, int *ret_status)
{
	uint64_t end = now_ms() + timeout_ms;

	for (;;) {
		pid_t pid = waitpid(task->tid, ret_status, __WALL | WNOHANG);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return -ESRCH;
		if (pid == task->tid) {
			if (WIFSTOPPED(*ret_status)) {
				task->stopped = true;
				return 1;
			}
			return -ESRCH;
		}
		uint64_t now = now_ms();
		if (now >= end)
			return 0;
		/* a SIGCHLD of another task may have swallowed ours: never wait long for one */
		wait_sigchld(end - now < 5 ? (unsigned)(end - now) : 5);
	}
}

/*
 * The init of a pid namespace that is on its way out (PF_EXITING, proc_pid_stat(5)) and waits until
 * those in it have been waited for, by parents that need not be ours.
 */
static bool is_ending_init(pid_t tid)
{
	char text[4096];
	unsigned flags = 0;

	proc_read(tid, "stat", text, sizeof(text));
	const char *fields = strrchr(text, ')');
	if (!fields || sscanf(fields, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1 || !(flags & 4))
		return false;
	proc_read(tid, "status", text, sizeof(text));
	const char *numbers = strstr(text, "\nNSpid:");
	const char *end = numbers ? strchr(numbers + 1, '\n') : NULL;
	return end && end[-1] == '1' && end[-2] == '\t' && numbers + 8 < end - 2;
}

/* what is left ends without us */
static bool only_inits_left(const struct trace *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone && !is_ending_init(t->tasks[i]->tid))
			return false;
	return true;
}

/*
 * Threads end before their processes, whose parents are then told. The init of a pid namespace ends
 * after all that are in it have been waited for by their parents: whatever the order, another may
 * be what one waits for, so none is waited for long.
 */
void trace_await_ends(struct trace *t, unsigned timeout_ms,
                      void (*stopped)(struct trace *t, struct traced *task, int status))
{
	uint64_t end = now_ms() + timeout_ms;
	bool left = true, any = true;
	int status;

	while (left && now_ms() < end && (any || !only_inits_left(t))) {
		left = any = false;
		for (size_t i = t->n; i-- > 0;) {
			struct traced *task = t->tasks[i];
			int r = 1;
			while (!task->gone && r > 0) {
				r = trace_wait(task, 20, &status);
				any |= r != 0;
				if (r < 0)
					trace_forget(task);
				else if (r > 0 && stopped)
					stopped(t, task, status);
			}
			left |= !task->gone;
		}
	}
}

static bool is_event_stop(int status, int signal)
{
	(void)signal;
	return status >> 16 == PTRACE_EVENT_STOP;
}

/* resumes with @request until @wanted says it has come where we want it */
static int run_to(struct trace *t, struct traced *task, enum __ptrace_request request,
                  bool (*wanted)(int status, int signal), int wanted_signal, struct error *err)
{
	int status, signal = 0;

	for (;;) {
		if (ptrace(request, task->tid, 0, signal) < 0)
			return error_raise(err, errno, "resume to the next stop");
		task->stopped = false;
		int r = trace_wait(task, STEP_TIMEOUT, &status);
		if (r < 0)
			return error_raise(err, ESRCH, "the task ended while it was held");
		if (r == 0)
			return error_raise(err, ETIMEDOUT, "the task does not stop again");
		if (wanted(status, wanted_signal))
			return 0;
		signal = 0;
		if (status >> 16 || WSTOPSIG(status) == SYSCALL_STOP)
			continue;
		/*
		 * A signal: all are blocked meanwhile but one that is ignored (tracer_list.c), so
		 * it is SIGSTOP. It takes effect at once, for a SIGCONT that follows to undo it;
		 * while we hold it, the task runs all the same. What is being saved would not know
		 * of it: see trace_inject().
		 */
		signal = WSTOPSIG(status);
		task->late_stop |= signal == SIGSTOP;
	}
}

static bool at_syscall(int status, int signal)
{
	(void)signal;
	return WSTOPSIG(status) == SYSCALL_STOP;
}

int trace_step_syscall(struct trace *t, struct traced *task, struct error *err)
{
	return run_to(t, task, PTRACE_SYSCALL, at_syscall, 0, err);
}

static bool at_signal(int status, int signal)
{
	return status >> 16 == 0 && WSTOPSIG(status) == signal;
}

int trace_step_signal(struct trace *t, struct traced *task, int signal, struct error *err)
{
	return run_to(t, task, PTRACE_CONT, at_signal, signal, err);
}

/*
 * From a system call stop to a stop in the kernel's signal code, from which an interrupted call is
 * restarted when the registers say so: after a system call stop the kernel would not look.
 */
int trace_settle(struct trace *t, struct traced *task, struct error *err)
{
	if (ptrace(PTRACE_INTERRUPT, task->tid, 0, 0) < 0)
		return error_raise(err, errno, "PTRACE_INTERRUPT");
	return run_to(t, task, PTRACE_CONT, is_event_stop, 0, err);
}

int trace_get_regs(pid_t tid, struct user_regs_struct *regs)
{
	return ptrace(PTRACE_GETREGS, tid, 0, regs) < 0 ? -errno : 0;
}

int trace_set_regs(pid_t tid, const struct user_regs_struct *regs)
{
	return ptrace(PTRACE_SETREGS, tid, 0, regs) < 0 ? -errno : 0;
}

int trace_get_sigmask(pid_t tid, uint64_t *mask)
{
	return ptrace(PTRACE_GETSIGMASK, tid, sizeof(*mask), mask) < 0 ? -errno : 0;
}

int trace_set_sigmask(pid_t tid, uint64_t mask)
{
	return ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) < 0 ? -errno : 0;
}
