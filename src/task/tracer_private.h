/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the tracer process: what it knows of each task. Not for the coordinator. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "arch/arch.h"
#include "task/tracer.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/map.h"

/* what /proc/TID/status says of a task that is to run lists */
struct self {
	pid_t tid, tgid; /* its numbers in its own pid namespace; 0: not known */
	bool filtered;   /* by seccomp */
	int end_signal;  /* what it sends itself at a list's end; 0: there is none that is harmless
	                  */
};

struct traced {
	pid_t tid, tgid;
	bool stopped;     /* in a ptrace stop that we have waited for */
	bool group_stop;  /* job-control stopped before we came */
	bool interrupted; /* PTRACE_INTERRUPT is under way */
	bool suspended;   /* its seccomp filters are suspended while we trace it */
	bool gone;        /* dead or detached */
	bool late_stop;   /* it was sent a stop signal while we held it */
	bool has_registers;
	bool list_tried;  /* to map the two pages of @list */
	bool stop_waited; /* restart: launch.stop_waited */
	bool continued;   /* restart: launch.continued */
	int stop_signal;
	uint64_t sigmask;    /* valid when the registers are; at restart both are what it ends in */
	uint64_t syscall_ip; /* restart: launch.syscall_ip */
	struct user_regs_struct regs; /* as found, an aborted rseq section put to its handler */
	struct interrupted_call call;
	struct traced *next_thread; /* of its process: tracer_stopped.c */
	/* seen before the interrupt, for the time that a timed call has left */
	long blocked_nr;
	uint64_t blocked_sp;
	long blocked_kernel; /* what restart_syscall stands for, as the kernel's stack shows it */
	double blocked_since_ms; /* se.exec_start, by the clock of ... */
	int blocked_cpu;         /* ... the CPU it ran on; < 0 unknown */
	long blocked_switches;   /* how often it had gone to sleep by then; < 0 unknown */
	uint64_t held_ms;        /* now_ms() of when it stopped */
	/* injection */
	struct gadget gadget;
	struct frame frame;
	void *frame_image, *frame_saved;
	int mem;       /* /proc/TID/mem, -1 */
	uint64_t list; /* the two pages that lists are run in; 0: one call at a time */
	uint64_t mapped, mapped_size; /* by a call of the coordinator's, and not yet unmapped */
	struct self self;
};

/* what CLOCK_MONOTONIC is ahead of a CPU's scheduler clock, and when that was so */
struct cpu_clock {
	double at_ms, ahead_ms;
};

/* see tracer_owe() */
struct owed {
	int after; /* pidfd; -1: nothing is owed */
	pid_t tid;
	size_t n;   /* calls */
	void *body; /* struct injection[n], and the buffer */
};
#define OWED_NONE ((struct owed){ .after = -1 })

struct trace {
	int socket;
	int coordinator; /* pidfd */
	struct map *by_tid;
	struct traced **tasks; /* in order of arrival */
	size_t n;
	bool restart;
	bool launching;   /* the first has been launched */
	bool may_suspend; /* PTRACE_O_SUSPEND_SECCOMP works */
	struct death {
		pid_t tid;
		int status;
	} * deaths;
	size_t n_deaths, next_death;
	size_t xstate_size; /* of the enabled state; asked once: CPUID is slow under a hypervisor */
	struct stack {
		uint64_t start, end;
	} * stacks; /* of the process that was last looked at, ascending */
	size_t n_stacks;
	pid_t stacks_of;
	struct traced *open; /* whose injection is under way: see tracer_inject.c */
	struct owed owed;
	struct libc_gadget *libc_gadgets; /* sigreturn instructions by inode */
	size_t n_libc_gadgets;
	struct cpu_clock *clocks; /* by CPU, for the time that timed calls have slept */
	size_t n_clocks;
};

/* ---- tracer_wait.c: the ptrace stops ---- */
struct traced *trace_find(const struct trace *t, pid_t tid);
struct traced *trace_add(struct trace *t, pid_t tid);
void trace_forget(struct traced *task); /* it is no longer traced by us */
/* waits for the next stop of one task: 1 and its status, 0 when the time is over, -ESRCH gone */
int trace_wait(struct traced *task, unsigned timeout_ms, int *ret_status);
/* waits for the ends of all, which have been killed; @stopped is told of stops, may be NULL */
void trace_await_ends(struct trace *t, unsigned timeout_ms,
                      void (*stopped)(struct trace *t, struct traced *task, int status));
/* one resumption and the stop it leads to; other stops in between are passed on */
int trace_step_syscall(struct trace *t, struct traced *task, struct error *err);
/* runs on to the stop for a signal that is about to be delivered, and which is dropped then */
int trace_step_signal(struct trace *t, struct traced *task, int signal, struct error *err);
int trace_settle(struct trace *t, struct traced *task, struct error *err);
int trace_get_regs(pid_t tid, struct user_regs_struct *regs);
int trace_set_regs(pid_t tid, const struct user_regs_struct *regs);
int trace_get_sigmask(pid_t tid, uint64_t *mask);
int trace_set_sigmask(pid_t tid, uint64_t mask);
bool trace_abandoned(const struct trace *t); /* the coordinator has gone */

/* ---- tracer_hold.c ---- */
int trace_hold(struct trace *t, struct hold *holds, size_t n, unsigned timeout_ms,
               struct error *err);
void trace_thaw(struct trace *t, bool stop);
void trace_release(struct trace *t, struct traced *task);
void trace_kill(struct trace *t);
/* it is about to be killed: its locks in memory that outlives it stay as they are */
void trace_keep_locks(struct trace *t, struct traced *task);

/* ---- tracer_inject.c ---- */
int trace_inject(struct trace *t, struct traced *task, struct injection *calls, size_t n,
                 void *buffer, struct error *err);
/*
 * puts the task whose injection is under way back to where it was found; any other is that already
 */
int trace_rest(struct trace *t, struct error *err);
int trace_open_mem(struct traced *task);
/* an argument of a call as the task is to see it */
uint64_t trace_inject_argument(const struct traced *task, const struct injection *call, int i);
/* one call by itself */
int trace_inject_call(struct trace *t, struct traced *task, long nr, const uint64_t arg[6],
                      long *ret_result, struct error *err);

/* ---- tracer_list.c: many calls between two stops ---- */
/* false when it has gone */
bool list_read_self(struct traced *task);
/* maps the pages for lists, if the task can have them; task->list says so. < 0: it has gone. */
int list_map(struct trace *t, struct traced *task, struct error *err);
int list_unmap(struct trace *t, struct traced *task, struct error *err);
int list_run(struct trace *t, struct traced *task, struct injection *calls, size_t n,
             struct error *err);

/* ---- tracer_owed.c ---- */
/* takes the body */
int trace_owe(struct trace *t, const struct owed *owed, pid_t after, struct error *err);
/* @ret: the body, with results; NULL: they do not matter. Does nothing when nothing is owed. */
int trace_pay(struct trace *t, void **ret, struct error *err);

/* ---- tracer_timed.c: how interrupted calls go on ---- */
void timed_before(struct traced *task); /* before the interrupt */
/* when it has stopped: fills task->call */
void timed_after(struct trace *t, struct traced *task);
void timed_fix(struct trace *t, struct traced *task); /* at thaw: the last word on the registers */

/* ---- tracer_gadget.c ---- */
int trace_find_gadget(struct trace *t, const struct traced *task, struct gadget *ret,
                      struct error *err);
/* is [start, end) writable private memory that no file backs, as a stack is? */
bool trace_is_stack(struct trace *t, const struct traced *task, uint64_t start, uint64_t end);
void trace_forget_stacks(struct trace *t); /* when processes have run: they are read again */

/* ---- tracer_restart.c ---- */
int trace_adopt(struct trace *t, pid_t root, struct error *err);
void trace_events(struct trace *t); /* lets new stubs run, notes deaths */
void trace_pass_on(struct trace *t, struct traced *task, int status);
void trace_kill_stubs(struct trace *t);

/* ---- tracer_launch.c ---- */
int trace_launch(struct trace *t, struct launch *launch, struct error *err);
int trace_launch_all(struct trace *t, bool leave_stopped, struct error *err);
/* one system call of a launched task; its registers must be set again afterwards */
int trace_call(struct trace *t, struct traced *task, long nr, const uint64_t arg[6],
               long *ret_result, struct error *err);
/* the place of @size bytes on a task's stack that nobody uses; a multiple of 16 */
uint64_t trace_dead_stack(const struct traced *task, size_t size);

/* ---- tracer_stopped.c: job-control stops at restart ---- */
int trace_stop_processes(struct trace *t, bool all, struct error *err);

/* ---- tracer_process.c ---- */
void tracer_process(int socket, pid_t coordinator) __attribute__((noreturn));
