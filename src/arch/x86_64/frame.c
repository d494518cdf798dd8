/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The return frame: what the kernel itself would have pushed for a signal handler, so that
 * rt_sigreturn ends in the saved state. Layout from the frame's start, low to high addresses:
 *
 *   buffer for arguments | saved rbp | return address | struct ucontext | xsave area, 64-aligned
 *
 * The stack pointer of injected calls is at the saved rbp (or at the return address when the
 * epilogue does not pop), so that the epilogue's `ret` goes to the C library's rt_sigreturn with
 * the stack pointer at the ucontext, as after a handler.
 */
#include <string.h>

#include "arch/arch.h"

/* the kernel's struct ucontext and sigcontext_64
 * (arch/x86/include/uapi/asm/{ucontext,sigcontext}.h) */
struct sigcontext_64 {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
};
struct frame_ucontext {
	uint64_t uc_flags, uc_link;
	uint64_t ss_sp;
	int32_t ss_flags, pad;
	uint64_t ss_size;
	struct sigcontext_64 mcontext;
	uint64_t sigmask;
};
struct return_frame {
	uint64_t rbp, return_address;
	struct frame_ucontext uc;
};
struct fx_sw_bytes {
	uint32_t magic1, extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size, padding[7];
};

#define UC_FP_XSTATE         1
#define UC_SIGCONTEXT_SS     2
#define UC_STRICT_RESTORE_SS 4
#define MAGIC1               0x46505853u /* FP_XSTATE_MAGIC1 */
#define MAGIC2               0x46505845u
#define SW_BYTES_OFFSET      464
#define FXSAVE_SIZE          512
#define ALIGN                64u
#define INVALID_SS_MODE      0x40 /* neither SS_ONSTACK, SS_DISABLE, 0 nor SS_AUTODISARM */

struct frame arch_frame_place(uint64_t sp, size_t xstate_size, size_t buffer_size)
{
	struct frame f;
	uint64_t top = (sp - ARCH_RED_ZONE) & ~(uint64_t)(ALIGN - 1);
	size_t xsave = (xstate_size + sizeof(uint32_t) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	size_t rest = (sizeof(struct return_frame) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	size_t buffer = (buffer_size + ALIGN - 1) & ~(size_t)(ALIGN - 1);

	f.size = buffer + rest + xsave;
	f.address = top - f.size;
	f.buffer = 0;
	f.return_frame = buffer;
	return f;
}

static void fill_xsave(uint8_t *to, const void *xstate, size_t size)
{
	uint32_t magic2 = MAGIC2;
	struct fx_sw_bytes sw = { .magic1 = MAGIC1 };

	memcpy(to, xstate, size);
	if (size <= FXSAVE_SIZE)
		return; /* no XSAVE: the legacy area alone, without magic */
	sw.xfeatures = arch_xstate_enabled();
	sw.xstate_size = (uint32_t)size;
	sw.extended_size = (uint32_t)(size + sizeof(magic2));
	memcpy(to + SW_BYTES_OFFSET, &sw, sizeof(sw));
	memcpy(to + size, &magic2, sizeof(magic2));
}

static void fill_mcontext(struct sigcontext_64 *m, const struct user_regs_struct *regs)
{
	*m = (struct sigcontext_64){
		.r8 = regs->r8,
		.r9 = regs->r9,
		.r10 = regs->r10,
		.r11 = regs->r11,
		.r12 = regs->r12,
		.r13 = regs->r13,
		.r14 = regs->r14,
		.r15 = regs->r15,
		.di = regs->rdi,
		.si = regs->rsi,
		.bp = regs->rbp,
		.bx = regs->rbx,
		.dx = regs->rdx,
		.ax = regs->rax,
		.cx = regs->rcx,
		.sp = regs->rsp,
		.ip = regs->rip,
		.flags = regs->eflags,
		.cs = (uint16_t)regs->cs,
		.ss = (uint16_t)regs->ss,
	};
}

/* what can be said of an interrupted call in registers alone; rt_sigreturn drops restart blocks */
static struct user_regs_struct settled(const struct user_regs_struct *regs)
{
	struct user_regs_struct r = *regs;
	struct timed_call timed;

	switch (arch_interrupted(regs, false, &timed)) {
	case INTERRUPTED_AGAIN:
		arch_call_rewind(&r);
		break;
	case INTERRUPTED_TIMED:
	case INTERRUPTED_UNKNOWN:
		r.rax = (unsigned long long)-4; /* -EINTR */
		break;
	case INTERRUPTED_NOT:
	case INTERRUPTED_EINTR:
		break;
	}
	return r;
}

void arch_frame_fill(const struct frame *frame, void *image, const struct user_regs_struct *regs,
                     uint64_t sigmask, const void *xstate, size_t xstate_size,
                     const struct gadget *gadget)
{
	struct user_regs_struct end = settled(regs);
	size_t fpstate = frame->return_frame +
	                 ((sizeof(struct return_frame) + ALIGN - 1) & ~(size_t)(ALIGN - 1));
	struct return_frame r = {
		.rbp = regs->rbp,
		.return_address = gadget->sigreturn_ip,
		/* restore_altstack() squashes the EINVAL of a bad mode: the stack stays as it is */
		.uc = { .ss_flags = INVALID_SS_MODE, .sigmask = sigmask },
	};

	r.uc.uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	if (xstate_size > FXSAVE_SIZE)
		r.uc.uc_flags |= UC_FP_XSTATE;
	fill_mcontext(&r.uc.mcontext, &end);
	r.uc.mcontext.fpstate = frame->address + fpstate;
	memset(image, 0, frame->size);
	memcpy((uint8_t *)image + frame->return_frame, &r, sizeof(r));
	fill_xsave((uint8_t *)image + fpstate, xstate, xstate_size);
}

void arch_call_frame(struct user_regs_struct *regs, const struct gadget *gadget,
                     const struct frame *frame)
{
	regs->rbp = frame->address + frame->return_frame;
	regs->rsp = gadget->pops ? regs->rbp : regs->rbp + sizeof(uint64_t);
}

void arch_call_set(struct user_regs_struct *regs, const struct gadget *gadget, long nr,
                   const uint64_t arg[6])
{
	regs->rip = gadget->syscall_ip;
	regs->rax = (unsigned long long)nr;
	regs->orig_rax = (unsigned long long)-1;
	for (int i = 0; i < 6; i++)
		arch_call_set_arg(regs, i, arg[i]);
	regs->eflags &= ~0x500ull; /* DF: the C ABI's; TF: no trap after the call */
}

bool arch_is_native(const struct user_regs_struct *regs)
{
	return regs->cs == 0x33; /* __USER_CS; 0x23 is a 32-bit program */
}
