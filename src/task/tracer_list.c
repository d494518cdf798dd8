/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many system calls in a live task between two stops: a list, run once by the code of
 * arch/x86_64/list.S in two pages that the task maps for it, and unmaps when its injection is over.
 * The last call of a list sends the task a signal. It is one that the program ignores and does not
 * block, so that it can be dropped, and would be of no consequence if this process were to die. The
 * task stops for it, since it is traced, and until then needs nobody.
 *
 * The pages are a shared mapping, which the kernel merges with no other; the worst that is left of
 * them, if tracer and coordinator die in the same instant, is that inert mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/features.h"
#include "proc/read.h"
#include "task/tracer_private.h"
#include "util/cleanup.h"

#define PAGE        4096u
#define ENTRIES_AT  PAGE
#define ENTRIES_MAX (PAGE / sizeof(struct list_entry))

static uint64_t bit(int signal)
{
	return 1ull << (signal - 1);
}

/* a hexadecimal word of /proc/PID/status; all ones when it is not there */
static uint64_t word(const char *status, const char *key)
{
	const char *p = strstr(status, key);

	return p ? strtoull(p + strlen(key), NULL, 16) : UINT64_MAX;
}

/* the last number of a line: that of the innermost pid namespace */
static pid_t last_number(const char *status, const char *key)
{
	const char *p = strstr(status, key);
	pid_t number = 0;

	for (p = p ? p + strlen(key) : ""; *p == '\t' || *p == ' ';) {
		char *end;
		number = (pid_t)strtol(p, &end, 10);
		if (end == p)
			return 0;
		p = end;
	}
	return number;
}

/* a signal whose delivery changes nothing, whenever it comes; 0: there is none */
static int harmless_signal(const char *status, uint64_t blocked)
{
	/* not those that stop and continue: they undo one another when they are sent */
	static const int candidates[] = { SIGURG,  SIGWINCH, SIGCHLD, SIGUSR1, SIGUSR2,
		                          SIGALRM, SIGPIPE,  SIGHUP,  SIGTERM, SIGINT };
	const uint64_t by_default = bit(SIGURG) | bit(SIGWINCH) | bit(SIGCHLD);
	uint64_t ignored = word(status, "\nSigIgn:");
	uint64_t unfit = blocked | word(status, "\nSigCgt:") | word(status, "\nSigBlk:") |
	                 word(status, "\nSigPnd:") | word(status, "\nShdPnd:");

	if (ignored == UINT64_MAX)
		return 0;
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++)
		if ((ignored | by_default) & ~unfit & bit(candidates[i]))
			return candidates[i];
	return 0;
}

bool list_read_self(struct traced *task)
{
	char text[4096];

	if (proc_read(task->tid, "status", text, sizeof(text)) <= 0)
		return false;
	const char *seccomp = strstr(text, "\nSeccomp:");
	task->self = (struct self){
		.tid = last_number(text, "\nNSpid:"),
		.tgid = last_number(text, "\nNStgid:"),
		.filtered = seccomp && atoi(seccomp + strlen("\nSeccomp:")) != 0,
		.end_signal = harmless_signal(text, task->sigmask),
	};
	return true;
}

/* a filter that is suspended only as long as we live must not see a list: see the architecture */
static bool may_have_list(const struct traced *task)
{
	return feature(FEATURE_writable_code) && !task->self.filtered && task->self.tid > 0 &&
	       task->self.tgid > 0 && task->self.end_signal;
}

int list_map(struct trace *t, struct traced *task, struct error *err)
{
	const uint64_t arg[6] = { 0,
		                  ENTRIES_AT + PAGE,
		                  PROT_READ | PROT_WRITE | PROT_EXEC,
		                  MAP_SHARED | MAP_ANONYMOUS,
		                  (uint64_t)-1,
		                  0 };
	size_t size;
	const void *code = arch_list_code(&size);
	long result;

	task->list_tried = true;
	if (!may_have_list(task))
		return 0;
	int r = trace_inject_call(t, task, SYS_mmap, arg, &result, err);
	if (r < 0)
		return error_trace(err, r);
	if (result < 0)
		return 0; /* its limits, or its own wish (PR_SET_MDWE) */
	task->list = (uint64_t)result;
	if (pwrite(task->mem, code, size, (off_t)task->list) != (ssize_t)size)
		return error_raise(err, EFAULT, "write code for a list of calls");
	return 0;
}

int list_unmap(struct trace *t, struct traced *task, struct error *err)
{
	const uint64_t arg[6] = { task->list, ENTRIES_AT + PAGE };
	long result = 0;

	if (!task->list)
		return 0;
	task->list = 0;
	int r = trace_inject_call(t, task, SYS_munmap, arg, &result, err);
	if (r < 0)
		return error_trace(err, r);
	return result < 0 ? error_raise(err, (int)-result, "munmap of the pages for lists") : 0;
}

static void fill_entries(const struct traced *task, struct list_entry *entries,
                         const struct injection *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		entries[i] = (struct list_entry){ .nr = (uint64_t)calls[i].nr };
		for (int k = 0; k < 6; k++)
			entries[i].arg[k] = trace_inject_argument(task, &calls[i], k);
	}
	entries[n] = (struct list_entry){
		.nr = SYS_tgkill,
		.arg = { (uint64_t)task->self.tgid, (uint64_t)task->self.tid,
		         (uint64_t)task->self.end_signal },
	};
}

/* starts the list and waits for its end; somebody else may send the same signal meanwhile */
static int run(struct trace *t, struct traced *task, size_t n, struct error *err)
{
	struct user_regs_struct regs = task->regs;

	arch_call_frame(&regs, &(struct gadget){ .pops = false }, &task->frame);
	arch_list_set(&regs, task->list, task->list + ENTRIES_AT, n);
	int r = trace_set_regs(task->tid, &regs);
	if (r < 0)
		return error_raise(err, -r, "set registers for a list of calls");
	do {
		r = trace_step_signal(t, task, task->self.end_signal, err);
		if (r < 0)
			return error_trace(err, r);
		r = trace_get_regs(task->tid, &regs);
		if (r < 0)
			return error_raise(err, -r, "registers after a list of calls");
	} while (!arch_list_at_end(&regs));
	return 0;
}

/* as many calls as fit into the pages at once */
static int run_some(struct trace *t, struct traced *task, struct injection *calls, size_t n,
                    struct error *err)
{
	struct list_entry entries[ENTRIES_MAX];
	ssize_t size = (ssize_t)((n + 1) * sizeof(entries[0]));
	off_t at = (off_t)(task->list + ENTRIES_AT);

	fill_entries(task, entries, calls, n);
	if (pwrite(task->mem, entries, (size_t)size, at) != size)
		return error_raise(err, EFAULT, "write a list of calls");
	int r = run(t, task, n + 1, err);
	if (r < 0)
		return error_trace(err, r);
	if (pread(task->mem, entries, (size_t)size, at) != size)
		return error_raise(err, EFAULT, "read the results of a list of calls");
	for (size_t i = 0; i < n; i++)
		calls[i].result = entries[i].result;
	return 0;
}

int list_run(struct trace *t, struct traced *task, struct injection *calls, size_t n,
             struct error *err)
{
	const size_t most = ENTRIES_MAX - 1;

	for (size_t i = 0; i < n; i += most) {
		int r = run_some(t, task, calls + i, n - i < most ? n - i : most, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}
