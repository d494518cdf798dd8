/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between architectures: where a system call can be made in a task, the frame that
 * returns from it, what an interrupted call looks like, and the extended register state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* a place where a task can make a system call and run on into a return frame */
struct gadget {
	uint64_t syscall_ip;   /* a system call instruction in the vDSO, with a harmless epilogue */
	uint64_t sigreturn_ip; /* code that calls rt_sigreturn, in the C library or the program */
	bool pops;             /* the epilogue pops the frame pointer before it returns */
};

/*
 * Searches code (the vDSO) for a system call instruction whose following instructions are harmless
 * up to a return; returns its offset, or -1. *ret_pops as in struct gadget.
 */
ssize_t arch_find_syscall(const uint8_t *code, size_t size, bool *ret_pops);
/* searches code for the instructions that call rt_sigreturn; offset or -1 */
ssize_t arch_find_sigreturn(const uint8_t *code, size_t size);

/* whether a program of this architecture's native word size runs with these registers */
bool arch_is_native(const struct user_regs_struct *regs);
#define ARCH_RED_ZONE 128 /* bytes below the stack pointer that belong to the program */

struct frame {
	uint64_t address;    /* of the first byte, in the task; 64-byte aligned */
	size_t size;         /* of it all */
	size_t buffer;       /* offset of INJECT_BUFFER_SIZE bytes for arguments */
	size_t return_frame; /* offset of what the epilogue pops */
};

/* the place of a return frame below the red zone of a stack, with a buffer of @buffer_size bytes */
struct frame arch_frame_place(uint64_t sp, size_t xstate_size, size_t buffer_size);
/**
 * arch_frame_fill() - build the return frame
 * @image:	frame->size bytes, zeroed by this function
 * @regs:	the state that rt_sigreturn ends in; an interrupted call is restarted as far as that
 *		can be expressed in registers, a timed one returns EINTR (see the architecture)
 * @xstate:	NT_X86_XSTATE
 */
void arch_frame_fill(const struct frame *frame, void *image, const struct user_regs_struct *regs,
                     uint64_t sigmask, const void *xstate, size_t xstate_size,
                     const struct gadget *gadget);

/* registers for one injected call; result from its registers afterwards */
void arch_call_set(struct user_regs_struct *regs, const struct gadget *gadget, long nr,
                   const uint64_t arg[6]);
void arch_call_frame(struct user_regs_struct *regs, const struct gadget *gadget,
                     const struct frame *frame);
static inline long arch_call_result(const struct user_regs_struct *regs)
{
	return (long)regs->rax;
}

/* ---- lists of calls in a live task ---- */

struct list_entry {
	uint64_t nr, arg[6];
	int64_t result; /* -errno on failure */
};
/* position independent code that makes the calls of a list, and returns into the return frame */
const void *arch_list_code(size_t *ret_size);
/* registers to start it with; arch_call_frame() has set those of the stack */
void arch_list_set(struct user_regs_struct *regs, uint64_t code, uint64_t entries, size_t n);
/* whether a task in a stop has come to the last call */
bool arch_list_at_end(const struct user_regs_struct *regs);

/* ---- interrupted system calls ---- */

/* how a call that a stop interrupted goes on */
enum interrupted {
	INTERRUPTED_NOT,     /* not in a call, or it was complete */
	INTERRUPTED_AGAIN,   /* made again with the same registers */
	INTERRUPTED_TIMED,   /* made again with the time that is left: see struct timed_call */
	INTERRUPTED_UNKNOWN, /* a timed call that was restarted before; only the kernel knows it */
	INTERRUPTED_EINTR    /* returns EINTR: a signal is there that asks for it */
};

enum timeout_form {
	TIMEOUT_NONE,
	TIMEOUT_MS,       /* an int in milliseconds, negative = for ever */
	TIMEOUT_TIMESPEC, /* pointer to a struct timespec, NULL = for ever */
};
struct timed_call {
	long nr;
	enum timeout_form form;
	int arg;       /* which argument is the timeout */
	int remainder; /* which argument points to where the kernel has stored what is left; -1 */
	bool block;    /* the kernel holds the deadline in its restart block */
};

/**
 * arch_timed_call() - is this a call whose timeout is relative and hidden when it is interrupted?
 * @args:	the call's arguments (some calls are timed only with some of them)
 */
bool arch_timed_call(long nr, const uint64_t args[6], struct timed_call *ret);
/* does the kernel answer EINTR for it on any stop, so that we must make it again? */
bool arch_eintr_call(long nr);
/**
 * arch_interrupted() - judge the registers of a task that a ptrace stop has interrupted
 * @deliverable: a signal is pending that is not blocked
 */
enum interrupted arch_interrupted(const struct user_regs_struct *regs, bool deliverable,
                                  struct timed_call *ret_timed);
/* the call's number and arguments */
long arch_call_get(const struct user_regs_struct *regs, uint64_t args[6]);
/* puts the instruction pointer back onto the call, and the number into its register */
void arch_call_rewind(struct user_regs_struct *regs);
/*
 * Leaves it to the kernel how an interrupted call goes on: it makes the call again, or lets it
 * answer EINTR when a handler runs first. For registers of a task in a stop of its signal code.
 */
void arch_call_again(struct user_regs_struct *regs);
/*
 * For a process that lacks what the kernel has kept of the call (its restart block): call @nr is
 * made anew with its arguments. Does nothing to a call that needs nothing kept.
 */
void arch_call_renew(struct user_regs_struct *regs, long nr);
/* whether the kernel may keep a restart block of this call */
bool arch_call_has_block(long nr);
/*
 * A call that was restarted from its block has lost its number. It may stand in the code up to the
 * instruction pointer (-1: no); if that is the C library's syscall(2), which takes it as an
 * argument, in the code of the caller up to the return address.
 */
long arch_number_in_code(const uint8_t *code, size_t size);
bool arch_is_syscall_function(const uint8_t *code, size_t size);
long arch_number_in_caller(const uint8_t *code, size_t size);
/* whether the instruction that ends @code is a system call of 32-bit programs, int $0x80 */
bool arch_is_compat_call(const uint8_t *code, size_t size);
/* whether the call has answered EINTR */
bool arch_call_is_eintr(const struct user_regs_struct *regs);
/* sets one argument */
void arch_call_set_arg(struct user_regs_struct *regs, int arg, uint64_t value);

/* ---- extended state ---- */

/* the components that an image of the extended state has in use (a mask of XSTATE_BV) */
uint64_t arch_xstate_in_use(const void *xstate, size_t size);
/* the components that this host's kernel and CPU have enabled (XCR0); 0 when there is no XSAVE */
uint64_t arch_xstate_enabled(void);
/* the size of the standard format that holds these components */
size_t arch_xstate_size(uint64_t components);
const char *arch_xstate_name(unsigned component); /* "AVX"; NULL if unknown */
