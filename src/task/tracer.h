/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracer, seen from the coordinator. It is a small process that holds the tasks: everything
 * that stops or changes a live task happens there, and it knows for each what must be put back.
 * When the coordinator goes away, for whatever reason, it restores and detaches all at checkpoint,
 * and kills all (PTRACE_O_EXITKILL) at restart. All calls here are requests over a socketpair.
 * Safe to call from several threads (one request at a time).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch/arch.h"
#include "util/error.h"

struct tracer;

/* forks the tracer; closed on exec; ends with the coordinator. Call before any thread is made. */
int tracer_start(struct tracer **ret, struct error *err);
pid_t tracer_pid(const struct tracer *t);
/*
 * checkpoint: puts all back and detaches; restart: kills all that is not yet launched. Takes NULL.
 */
void tracer_stop(struct tracer *t);

/* ---- checkpoint ---- */

enum hold_state {
	HOLD_HELD,    /* in a ptrace stop */
	HOLD_STOPPED, /* was job-control stopped; held */
	HOLD_GONE,    /* ended meanwhile, or a zombie */
	HOLD_RUNNING, /* not held yet: in uninterruptible sleep, execve(2)...: ask again later */
	HOLD_DENIED   /* ptrace said no: errnum */
};
struct hold {
	pid_t tid;
	enum hold_state state;
	int errnum;      /* HOLD_DENIED */
	int stop_signal; /* HOLD_STOPPED */
};

/**
 * tracer_hold() - seize and interrupt tasks and wait until they stop
 * @holds:	.tid given, the rest is filled
 * @timeout_ms:	how long to wait for the slowest; a call with a HOLD_RUNNING task waits again
 * Seizes with PTRACE_O_SUSPEND_SECCOMP where the kernel allows it.
 */
int tracer_hold(struct tracer *t, struct hold *holds, size_t n, unsigned timeout_ms,
                struct error *err);

/*
 * One ptrace request that reads: PTRACE_GETREGSET (addr = NT_*), PTRACE_PEEKSIGINFO (addr = offset
 * in siginfos | PEEK_SHARED), PTRACE_GETSIGMASK, PTRACE_GET_RSEQ_CONFIGURATION, PTRACE_PEEKUSER,
 * PTRACE_SECCOMP_GET_FILTER (addr = index), PTRACE_SECCOMP_GET_METADATA,
 * PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG. @size: in: room in @buffer, at most 64 KiB; out: bytes
 * (for PEEKSIGINFO and GET_FILTER the number that ptrace returned is in *ret_value).
 */
#define PEEK_SHARED (1ull << 32)
int tracer_read(struct tracer *t, pid_t tid, int request, uint64_t addr, void *buffer, size_t *size,
                long *ret_value, struct error *err);
/* several of them at once, since each request costs two context switches */
struct peek {
	long request;
	uint64_t addr;
	void *buffer;
	size_t size; /* in: room; out: bytes */
	int errnum;  /* > 0: it failed */
	long value;  /* what ptrace returned */
};
#define PEEKS_MAX 8
int tracer_read_many(struct tracer *t, pid_t tid, struct peek *peeks, size_t n, struct error *err);

/* what a call that a task is in needs to go on, see arch/arch.h */
struct interrupted_call {
	int how;                 /* enum interrupted */
	long nr;                 /* its number, where a restarted call shows as restart_syscall */
	struct timed_call timed; /* of INTERRUPTED_TIMED */
	uint64_t left_ns;        /* of INTERRUPTED_TIMED: time that is left of its timeout */
};
/* both as the tracer found them, before any injection; valid while it is held */
struct user_regs_struct;
int tracer_registers(struct tracer *t, pid_t tid, struct user_regs_struct *ret,
                     struct interrupted_call *ret_call, struct error *err);

/*
 * System calls made by a held task, with buffers on its own stack below the red zone. A return
 * frame is laid first, so that the task ends in its saved state even if the tracer dies. Only calls
 * that neither sleep nor touch restart_block. What is below the stack pointer is put back by
 * tracer_rest(), which every other request does too that would see it.
 */
#define INJECT_BUFFER_SIZE 1024
struct injection {
	long nr;
	uint64_t arg[6];
	uint32_t buffer_args; /* bit i: arg[i] is an offset into buffer, passed as address in the
	                         task */
	long result;          /* -errno on failure */
};
/*
 * @buffer: INJECT_BUFFER_SIZE bytes, copied in before the first call and out after the last; or
 * NULL
 */
int tracer_inject(struct tracer *t, pid_t tid, struct injection *calls, size_t n, void *buffer,
                  struct error *err);

/*
 * Before something of a task is changed for a moment: what puts it right again. When process
 * @after has ended, the task makes @calls, which must be right whatever has become of the change by
 * then. That is done by tracer_pay() or, at the latest, before any task is let go, whatever becomes
 * of the coordinator; once, and for one at a time. @n may be 0: then only @after is waited for.
 */
int tracer_owe(struct tracer *t, pid_t after, pid_t tid, const struct injection *calls, size_t n,
               const void *buffer, struct error *err);
/* does it now; @calls and @buffer: as tracer_inject() returns them, not touched when n was 0 */
int tracer_pay(struct tracer *t, struct injection *calls, size_t n, void *buffer,
               struct error *err);

/* puts back what injections have left on the stacks of tasks */
int tracer_rest(struct tracer *t, struct error *err);

/* puts back and detaches some of the held: children that a vfork waits for must run on */
int tracer_release(struct tracer *t, const pid_t *tids, size_t n, struct error *err);
/* whether the tracer still holds all that it was asked to hold; an error when it has gone */
int tracer_check(struct tracer *t, struct error *err);
/* detaches all; job-control stops go on; @stop: they are left stopped (SIGSTOP per process) */
int tracer_thaw(struct tracer *t, bool stop, struct error *err);
/*
 * SIGKILL to all, to the end, even if the coordinator dies meanwhile. An error means that the
 * tracer had gone before, and that nothing was killed.
 */
int tracer_kill(struct tracer *t, struct error *err);

/* ---- restart ---- */

/* seizes the root stub with EXITKILL and automatic attachment of all its descendants */
int tracer_adopt(struct tracer *t, pid_t root, struct error *err);
/*
 * A stub that died: its pid and wait status, each death once in order, or 0. Zombies and dead
 * leaders that end as planned are among them. A stub that ends is let go first, so that its death
 * harms nobody and its parent gets it at once.
 */
pid_t tracer_casualty(struct tracer *t, int *ret_status);

/* the state a stub ends in; set in this order: stub unmapped, signal mask, xstate, registers,
 * detach */
struct launch {
	pid_t tid;                        /* in the coordinator's pid namespace */
	uint64_t syscall_ip;              /* a `syscall` instruction that stays mapped (vDSO) */
	uint64_t unmap_start, unmap_size; /* the stub's area; size 0 = skip (a thread that is not
	                                     last of its address space) */
	const void *regs;                 /* struct user_regs_struct */
	const void *xstate;               /* NT_X86_XSTATE, xstate_size bytes, at most 64 KiB */
	size_t xstate_size;
	uint64_t sigmask;
	int stop_signal;  /* job-control stopped by it; 0 = it runs */
	bool stop_waited; /* its parent has been told of that, and has waited for it */
	bool continued;   /* it was stopped once, and that it goes on its parent may still ask */
	/*
	 * A timed call to be taken up again (nr 0: none): it is made with these arguments and
	 * interrupted at once, so that the kernel itself holds the rest of the time and goes on
	 * with it; the registers above have its number in orig_rax. @left_ns is the timeout:
	 * argument
	 * @timeout_arg points to a struct timespec of it, or, with timeout_ms, is in milliseconds.
	 */
	struct resumed_call {
		long nr;
		uint64_t arg[6];
		int timeout_arg;
		bool timeout_ms;
		uint64_t left_ns;
	} resumed;
};
/* prepares one stub up to but without the detach */
int tracer_launch(struct tracer *t, const struct launch *launch, struct error *err);
/*
 * lets all run; from here on nothing is undone, the tracer finishes it even if the coordinator dies
 */
int tracer_launch_all(struct tracer *t, bool leave_stopped, struct error *err);
