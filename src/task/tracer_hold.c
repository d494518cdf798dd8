/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tracer at checkpoint: seizing tasks, letting them go as they were, or ending them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/read.h"
#include "task/tracer_private.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION /* 5.13 */
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#define OPTIONS     PTRACE_O_TRACESYSGOOD
#define TO_A_CPU_MS 2000u

struct rseq_configuration { /* struct ptrace_rseq_configuration */
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};
struct rseq_section { /* struct rseq_cs */
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
};

/*
 * A task stopped inside a restartable sequence goes on at its abort handler: so does the kernel
 * whenever a task has been off its CPU, but it forgets once we have made the task run elsewhere.
 */
static void abort_rseq(struct traced *task)
{
	struct rseq_configuration conf;
	struct rseq_section section;
	uint64_t pointer;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, task->tid, sizeof(conf), &conf) < 0 ||
	    !conf.pointer || trace_open_mem(task) < 0)
		return;
	if (pread(task->mem, &pointer, sizeof(pointer), (off_t)conf.pointer + 8) !=
	            sizeof(pointer) ||
	    !pointer ||
	    pread(task->mem, &section, sizeof(section), (off_t)pointer) != sizeof(section))
		return;
	if (section.version == 0 && task->regs.rip - section.start_ip < section.post_commit_offset)
		task->regs.rip = section.abort_ip;
}

int trace_open_mem(struct traced *task)
{
	char path[64];

	if (task->mem >= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", task->tid);
	task->mem = open(path, O_RDWR | O_CLOEXEC);
	return task->mem < 0 ? -errno : 0;
}

/* the process and the state letter of a task; false when it is not there any more */
static bool look(pid_t tid, pid_t *ret_tgid, char *ret_state, pid_t *ret_tracer)
{
	char text[4096];

	if (proc_read(tid, "status", text, sizeof(text)) <= 0)
		return false;
	const char *tgid = strstr(text, "\nTgid:"), *state = strstr(text, "\nState:");
	const char *tracer = strstr(text, "\nTracerPid:");
	if (!tgid || !state || !tracer)
		return false;
	*ret_tgid = atoi(tgid + 6);
	*ret_tracer = atoi(tracer + 11);
	*ret_state = state[7 + strspn(state + 7, " \t")];
	return true;
}

static int seize_now(struct trace *t, struct traced *task)
{
	if (t->may_suspend) {
		if (ptrace(PTRACE_SEIZE, task->tid, 0, OPTIONS | PTRACE_O_SUSPEND_SECCOMP) == 0) {
			task->suspended = true;
			return 0;
		}
		if (errno != EPERM && errno != EINVAL)
			return -errno;
	}
	return ptrace(PTRACE_SEIZE, task->tid, 0, OPTIONS) < 0 ? -errno : 0;
}

/* what reap() is to know, while seize() is at work */
static struct {
	struct trace *t;
	pid_t tgid;
	uint64_t end;
	sigjmp_buf back;
} seizing;

/* waits for a task if it has ended; its stops, which waitid(2) gives unasked, are left alone */
static bool take_end(pid_t tid)
{
	const int flags = WEXITED | WNOHANG | __WALL;
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)tid, &info, flags | WNOWAIT) < 0 || !info.si_pid ||
	    (info.si_code != CLD_EXITED && info.si_code != CLD_KILLED &&
	     info.si_code != CLD_DUMPED))
		return false;
	return waitid(P_PID, (id_t)tid, &info, flags) == 0;
}

static void reap_process(const struct trace *t, pid_t tgid)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->tasks[i]->tgid == tgid && take_end(t->tasks[i]->tid) && !t->tasks[i]->gone)
			trace_forget(t->tasks[i]);
}

static void reap(int signal)
{
	const struct trace *t = seizing.t;
	int saved = errno;

	(void)signal;
	reap_process(t, seizing.tgid);
	if (now_ms() >= seizing.end || trace_abandoned(t))
		siglongjmp(seizing.back, 1);
	errno = saved;
}

/*
 * A thread in execve(2) waits until the others of its process have been waited for, by us if we
 * hold them, and has a lock meanwhile that PTRACE_SEIZE takes, too: so what has ended is waited
 * for in between. The handler runs in the system call only, which the kernel makes again after it.
 * -ETIMEDOUT: not until @end.
 */
static int seize(struct trace *t, struct traced *task, uint64_t end)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };
	const struct sigaction action = { .sa_handler = reap };
	sigset_t set, before;
	volatile int r = -ETIMEDOUT;

	seizing.t = t;
	seizing.tgid = task->tgid;
	seizing.end = end;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	sigprocmask(SIG_UNBLOCK, &set, &before);
	if (sigsetjmp(seizing.back, 0) == 0)
		r = seize_now(t, task);
	sigaddset(&before, SIGALRM);
	sigprocmask(SIG_SETMASK, &before, NULL);
	setitimer(ITIMER_REAL, &never, NULL);
	return r;
}

/*
 * Whether it is the task that was held, and not a thread of the same process that has called
 * execve(2) and got its number: on another stack.
 */
static bool is_still(const struct traced *task)
{
	struct user_regs_struct now;

	return !task->has_registers ||
	       (trace_get_regs(task->tid, &now) == 0 && now.rsp == task->regs.rsp &&
	        now.fs_base == task->regs.fs_base);
}

/* seizes and interrupts; false when that is all there is to say (hold->state is set) */
static bool begin(struct trace *t, struct hold *hold, uint64_t end)
{
	struct traced *task = trace_find(t, hold->tid);
	pid_t tgid, tracer;
	char state;

	if (task && !task->gone && is_still(task))
		return true; /* asked again */
	if (task && !task->gone)
		trace_forget(task);
	hold->state = HOLD_GONE;
	if (!look(hold->tid, &tgid, &state, &tracer) || state == 'Z' || state == 'X')
		return false;
	task = trace_add(t, hold->tid);
	task->tgid = tgid;
	timed_before(task);
	int r = seize(t, task, end);
	/* it called execve(2) while it was being seized, and has its process's number since */
	if (r == -EPERM && look(hold->tid, &tgid, &state, &tracer) && tracer == getpid())
		r = 0;
	if (r < 0) {
		task->gone = true;
		if (r == -ETIMEDOUT) { /* it is in execve(2), or we got to no CPU */
			hold->state = HOLD_RUNNING;
			return false;
		}
		if (r == -ESRCH || !look(hold->tid, &tgid, &state, &tracer) || state == 'Z' ||
		    state == 'X')
			return false;
		hold->state = HOLD_DENIED;
		hold->errnum = tracer ? EBUSY : -r;
		return false;
	}
	/* a task in a job-control stop has come to a stop of ours already */
	int status;
	bool stopped = waitpid(task->tid, &status, __WALL | WNOHANG) == task->tid &&
	               WIFSTOPPED(status);
	if (stopped && status >> 16 == PTRACE_EVENT_STOP) {
		task->stopped = true;
		task->group_stop = WSTOPSIG(status) != SIGTRAP;
		task->stop_signal = task->group_stop ? WSTOPSIG(status) : 0;
		return true;
	}
	ptrace(PTRACE_INTERRUPT, task->tid, 0, 0);
	task->interrupted = true;
	if (stopped) /* by a signal of the program's, which has come since: await_stop() */
		ptrace(PTRACE_CONT, task->tid, 0, WSTOPSIG(status));
	return true;
}

/* reads what a task is put back to; -errno when it has gone */
static int remember(struct trace *t, struct traced *task)
{
	if (task->has_registers)
		return 0;
	int r = trace_get_regs(task->tid, &task->regs);
	if (r == 0)
		r = trace_get_sigmask(task->tid, &task->sigmask);
	if (r < 0)
		return r;
	task->has_registers = true;
	abort_rseq(task);
	timed_after(t, task);
	return 0;
}

/* waits until one task is in the stop that we asked for */
static int await_stop(struct trace *t, struct traced *task, uint64_t end)
{
	pid_t tgid, tracer;
	char state;

	while (!task->stopped) {
		int status;
		uint64_t now = trace_abandoned(t) ? end : now_ms();
		unsigned slice = now >= end ? 0 : end - now < 20 ? (unsigned)(end - now) : 20;
		int r = trace_wait(task, slice, &status);
		if (r < 0)
			return r;
		if (r == 0) {
			if (!look(task->tid, &tgid, &state, &tracer) || state == 'Z' ||
			    state == 'X')
				return -ESRCH; /* a leader that has exited says nothing */
			/* vfork: only its child can wake it, and the child may need to run; execve:
			 * the others of its process must have been waited for */
			if (state == 'D')
				reap_process(t, tgid);
			if (state == 'D' || now >= end)
				return 0;
			continue;
		}
		if (status >> 16 == PTRACE_EVENT_STOP) {
			task->group_stop = WSTOPSIG(status) != SIGTRAP;
			task->stop_signal = task->group_stop ? WSTOPSIG(status) : 0;
			return 1;
		}
		/* a signal was on its way: it is the program's, and our stop follows */
		task->stopped = false;
		ptrace(PTRACE_CONT, task->tid, 0, status >> 16 ? 0 : WSTOPSIG(status));
	}
	return 1;
}

static void finish(struct trace *t, struct hold *hold, uint64_t end)
{
	struct traced *task = trace_find(t, hold->tid);
	int r = await_stop(t, task, end);

	if (r > 0 && remember(t, task) < 0)
		r = -ESRCH;
	if (r < 0) {
		trace_forget(task);
		hold->state = HOLD_GONE;
	} else if (r == 0) {
		hold->state = HOLD_RUNNING;
	} else {
		hold->state = task->group_stop ? HOLD_STOPPED : HOLD_HELD;
		hold->stop_signal = task->stop_signal;
	}
}

int trace_hold(struct trace *t, struct hold *holds, size_t n, unsigned timeout_ms,
               struct error *err)
{
	/* the limit is for those that sleep, see await_stop(); others only need to get to a CPU */
	uint64_t end = now_ms() + (timeout_ms > TO_A_CPU_MS ? timeout_ms : TO_A_CPU_MS);

	trace_forget_stacks(t);
	for (size_t i = 0; i < n; i++) {
		if (holds[i].tid <= 0)
			return error_raise(err, EINVAL, "hold: bad tid %d", holds[i].tid);
		holds[i].errnum = begin(t, &holds[i], end) ? -1 : holds[i].errnum;
	}
	for (size_t i = 0; i < n; i++) {
		if (holds[i].errnum != -1)
			continue;
		holds[i].errnum = 0;
		finish(t, &holds[i], end);
	}
	return 0;
}

/* lets one task go on exactly where it was */
void trace_release(struct trace *t, struct traced *task)
{
	int status, signal = 0;

	if (task->gone)
		return;
	if (!task->stopped) {
		/* in uninterruptible sleep: it cannot be let go before it has stopped */
		if (trace_wait(task, 0, &status) <= 0)
			return; /* the end of this process does it */
		if (!(status >> 16))
			signal = WSTOPSIG(status); /* one on its way to the program */
	}
	if (task->has_registers)
		timed_fix(t, task);
	ptrace(PTRACE_DETACH, task->tid, 0, signal);
	trace_forget(task);
}

void trace_thaw(struct trace *t, bool stop)
{
	struct error ignored;

	trace_pay(t, NULL, &ignored);
	trace_rest(t, &ignored);
	/* a process is stopped before any of its threads can run */
	for (size_t i = 0; stop && i < t->n; i++)
		if (!t->tasks[i]->gone &&
		    (t->tasks[i]->tgid == t->tasks[i]->tid || !trace_find(t, t->tasks[i]->tgid)))
			kill(t->tasks[i]->tgid, SIGSTOP);
	for (size_t i = 0; i < t->n; i++)
		trace_release(t, t->tasks[i]);
}

/*
 * When a thread ends the kernel marks the robust mutexes that it holds (FUTEX_OWNER_DIED,
 * get_robust_list(2)): in mapped files too, which outlive the set, and which it is to find as it
 * left them. So the list of a thread that holds any is made empty, if it is the thread's alone.
 */
void trace_keep_locks(struct trace *t, struct traced *task)
{
	struct robust_list_head *head = NULL, now, none = { 0 };
	size_t size;
	uint64_t address;

	if (syscall(SYS_get_robust_list, task->tid, &head, &size) < 0 || !head ||
	    trace_open_mem(task) < 0)
		return;
	address = (uintptr_t)head;
	if (pread(task->mem, &now, sizeof(now), (off_t)address) != sizeof(now) ||
	    ((uintptr_t)now.list.next == address && !now.list_op_pending) ||
	    !trace_is_stack(t, task, address, address + sizeof(now)))
		return;
	none.list.next = &head->list;
	none.futex_offset = now.futex_offset;
	/* what was changed must not survive us, whatever becomes of us */
	if (ptrace(PTRACE_SETOPTIONS, task->tid, 0, PTRACE_O_EXITKILL) < 0)
		return;
	(void)!pwrite(task->mem, &none, sizeof(none), (off_t)address);
}

void trace_kill(struct trace *t)
{
	/* before any: the first SIGKILL of a process reaches all its threads */
	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone)
			trace_keep_locks(t, t->tasks[i]);
	for (size_t i = 0; i < t->n; i++)
		if (!t->tasks[i]->gone)
			kill(t->tasks[i]->tgid, SIGKILL);
	/* each thread's end is ours to take before the parents are told of a process's */
	trace_await_ends(t, 10000, NULL);
}
