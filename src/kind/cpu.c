/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers. The tracer gives them as they were before anything was injected. A thread that was
 * stopped in a system call goes on with the same number in orig_rax and the kernel's own restart
 * code in rax, so that the kernel decides at launch: it makes the call again, or answers EINTR if
 * it runs a handler first. Calls whose remaining time only the kernel knew are made anew by the
 * tracer (struct launch, resumed).
 */
#include "kind/cpu.h"

#include <asm/ldt.h>
#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "arch/arch.h"
#include "core/checkpoint.h"
#include "core/restart.h"
#include "cpu.pb-c.h"
#include "host/features.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/uapi.h"

#define EXTENDED_MAX (64u << 10)
#define LEGACY_SIZE  512 /* of the XSAVE area: what FXSAVE writes */
#define HEADER_END   576
#define N_GENERAL    (sizeof(struct user_regs_struct) / sizeof(uint64_t))
#define USER_CS      0x33 /* asm/segment.h */
#define USER_DS      0x2b
#ifndef NT_386_IOPERM
#define NT_386_IOPERM 0x201
#endif
#define ARCH_GET_XCOMP_PERM 0x1022 /* 5.16, asm/prctl.h */
#define XTILEDATA_BIT       18
/* asm/segment.h: GDT_ENTRY_TLS_MIN and how many, of each thread */
enum { FIRST_AREA = 12, N_AREAS = 3 };

/* ---- checkpoint: what is refused ---- */

/*
 * DR7 enables, DR0 to DR3 are addresses. They are seen through /usr/include/sys/user.h's offsets,
 * ptrace(2) PTRACE_PEEKUSER.
 */
static void judge_debug(struct checkpoint *c, struct task *task, uint64_t value)
{
	struct error refusal;

	if (!(value & 0xff)) /* the enable bits; bit 10 always reads as one */
		return;
	error_refuse(&refusal, CODE_cpu_debug, "hardware breakpoints are set (DR7 0x%llx)",
	             (unsigned long long)value);
	error_hint(&refusal, "remove the breakpoints, or end the debugger that set them");
	refuse(c, task, &refusal);
}

static void judge_ioperm(struct checkpoint *c, struct task *task, const struct peek *bitmap)
{
	struct error refusal;

	if (bitmap->errnum || bitmap->size == 0) /* ENXIO: it never asked for any */
		return;
	error_refuse(&refusal, CODE_cpu_ioperm, "it may use I/O ports (ioperm)");
	error_hint(&refusal, "let the program give them up first");
	refuse(c, task, &refusal);
}

/* 32-bit code's; a 64-bit program can set them by 32-bit calls. ENXIO, EIO: this kernel has none */
static void judge_areas(struct checkpoint *c, struct task *task, const struct user_desc *areas,
                        const struct peek *peeks)
{
	struct error refusal;

	for (size_t i = 0; i < N_AREAS; i++) {
		if (peeks[i].errnum || (areas[i].seg_not_present && areas[i].base_addr == 0))
			continue;
		error_refuse(&refusal, CODE_cpu_ldt,
		             "it has a segment of its own (set_thread_area)");
		error_hint(&refusal, "16-bit and 32-bit emulators cannot be saved");
		refuse(c, task, &refusal);
		return;
	}
}

static void judge_dispatch(struct checkpoint *c, struct task *task, uint64_t mode)
{
	struct error refusal;

	if (!mode || feature_forced_off(FEATURE_ptrace_syscall_user_dispatch))
		return;
	error_refuse(&refusal, CODE_cpu_dispatch, "syscall user dispatch is on");
	error_hint(&refusal, "programs under Wine and the like cannot be saved yet");
	refuse(c, task, &refusal);
}

/* what is the process's: local descriptors, permission for AMX; asked from inside */
static int judge_process(struct checkpoint *c, struct task *task, struct error *err)
{
	uint8_t buffer[INJECT_BUFFER_SIZE] = { 0 };
	struct error refusal = ERROR_INIT;
	uint64_t permitted = 0;
	struct injection calls[] = {
		{ .nr = SYS_modify_ldt, .arg = { 0, 64, 512 }, .buffer_args = 1 << 1 },
		{ .nr = SYS_arch_prctl, .arg = { ARCH_GET_XCOMP_PERM, 0 }, .buffer_args = 1 << 1 },
	};
	int r = tracer_inject(c->tracer, task->tid, calls, 2, buffer, err);

	if (r < 0)
		return error_trace(err, r);
	if (calls[0].result > 0) {
		error_refuse(&refusal, CODE_cpu_ldt,
		             "it has a local descriptor table (modify_ldt)");
		error_hint(&refusal, "16-bit and 32-bit emulators cannot be saved");
		refuse(c, task, &refusal);
	}
	memcpy(&permitted, buffer, sizeof(permitted));
	if (calls[1].result == 0 && permitted & (1ull << XTILEDATA_BIT)) {
		error_refuse(&refusal, CODE_cpu_amx, "it has asked for AMX (ARCH_REQ_XCOMP_PERM)");
		error_hint(&refusal, "run it without AMX");
		refuse(c, task, &refusal);
	}
	return 0;
}

/* what /proc/PID/status tells */
static void judge_status(struct checkpoint *c, struct task *task)
{
	struct error refusal = ERROR_INIT;

	if (task->status.untag_mask && task->status.untag_mask != UINT64_MAX) {
		error_refuse(&refusal, CODE_cpu_lam,
		             "linear address masking is on (untag mask 0x%llx)",
		             (unsigned long long)task->status.untag_mask);
		refuse(c, task, &refusal);
	}
	if (strstr(task->status.x86_thread_features, "shstk") ||
	    strstr(task->status.x86_thread_features, "wrss")) {
		error_refuse(&refusal, CODE_cpu_shstk, "it runs with a shadow stack");
		error_hint(&refusal, "run it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
		refuse(c, task, &refusal);
	}
}

/* ---- checkpoint: what is saved ---- */

enum { EXTENDED, LEGACY, DEBUG, DISPATCH, IOPERM, AREAS, N_READ = AREAS + N_AREAS };

/* the extended state, and what is looked at besides the registers; all in one request */
static int read_outside(struct checkpoint *c, struct task *task, CpuState *s, struct error *err)
{
	struct ptrace_sud_config dispatch = { 0 };
	uint8_t legacy[LEGACY_SIZE] = { 0 }, bitmap[8192];
	struct user_desc areas[N_AREAS] = { 0 };
	uint64_t debug = 0;
	uint8_t *extended = xmalloc(EXTENDED_MAX);
	struct peek peeks[N_READ] = {
		[EXTENDED] = { PTRACE_GETREGSET, NT_X86_XSTATE, extended, EXTENDED_MAX },
		[LEGACY] = { PTRACE_GETREGSET, NT_PRFPREG, legacy, sizeof(legacy) },
		[DEBUG] = { PTRACE_PEEKUSER, offsetof(struct user, u_debugreg[7]), &debug,
		            sizeof(debug) },
		[DISPATCH] = { PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, 0, &dispatch,
		               sizeof(dispatch) },
		[IOPERM] = { PTRACE_GETREGSET, NT_386_IOPERM, bitmap, sizeof(bitmap) },
	};

	for (size_t i = 0; i < N_AREAS; i++)
		peeks[AREAS + i] = (struct peek){ PTRACE_GET_THREAD_AREA, FIRST_AREA + i, &areas[i],
			                          sizeof(areas[i]) };
	s->extended.data = extended;
	int r = tracer_read_many(c->tracer, task->tid, peeks, N_READ, err);
	if (r < 0)
		return error_trace(err, r);
	if (peeks[EXTENDED].errnum) { /* a processor without XSAVE */
		peeks[EXTENDED] = peeks[LEGACY];
		memcpy(extended, legacy, sizeof(legacy));
	}
	if (peeks[EXTENDED].errnum || peeks[DEBUG].errnum)
		return error_raise(err, peeks[EXTENDED].errnum + peeks[DEBUG].errnum,
		                   "read the registers");
	s->extended.len = peeks[EXTENDED].size;
	judge_debug(c, task, debug);
	judge_dispatch(c, task, dispatch.mode); /* 0 as well where the kernel lacks it */
	judge_ioperm(c, task, &peeks[IOPERM]);
	judge_areas(c, task, areas, &peeks[AREAS]);
	return 0;
}

static int note_call(const struct interrupted_call *call, struct user_regs_struct *regs,
                     CpuState *s, struct error *err)
{
	switch ((enum interrupted)call->how) {
	case INTERRUPTED_NOT:
	case INTERRUPTED_EINTR:
		s->call = CPU_STATE__CALL__NONE;
		return 0;
	case INTERRUPTED_AGAIN:
		s->call = CPU_STATE__CALL__AGAIN;
		arch_call_renew(regs, call->nr);
		return 0;
	case INTERRUPTED_TIMED:
		s->call = CPU_STATE__CALL__TIMED;
		s->timed_call = (uint32_t)call->timed.nr;
		s->time_left_ns = call->left_ns;
		return 0;
	case INTERRUPTED_UNKNOWN:
		break;
	}
	error_refuse(err, CODE_cpu_call,
	             "it is in a timed system call that was interrupted before; "
	             "which one cannot be told");
	error_hint(err, "try again, or as root, who may read the kernel's stack");
	return -EOPNOTSUPP;
}

/*
 * A 64-bit program may make 32-bit calls: their numbers and arguments are others, and would be
 * taken for what they are not.
 */
static bool in_compat_call(const struct task *task, const struct user_regs_struct *regs)
{
	uint8_t code[2];
	struct iovec here = { code, sizeof(code) };
	struct iovec there = { (void *)(regs->rip -
		                        sizeof(code)), /* NOLINT: an address in the task */
		               sizeof(code) };

	return (long)regs->orig_rax >= 0 &&
	       process_vm_readv(task->tid, &here, 1, &there, 1, 0) == sizeof(code) &&
	       arch_is_compat_call(code, sizeof(code));
}

static int cpu_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct user_regs_struct regs;
	struct interrupted_call call;
	struct object *object = objects_get(c->objects, &cpu_kind, &task->tid, sizeof(task->tid),
	                                    NULL);

	task_refer(task, object);
	judge_status(c, task);
	if (!c->tracer) {
		check_unexamined(c, task, "registers, breakpoints, I/O ports, 32-bit mode, LDT",
		                 CODE_task_32bit, CODE_cpu_debug, CODE_cpu_ldt, CODE_cpu_ioperm,
		                 CODE_cpu_dispatch, CODE_cpu_amx, CODE_cpu_call, CODE_inject_gadget,
		                 CODE_inject_seccomp);
		return 0;
	}
	CpuState *s = xmalloc(sizeof(*s));
	cpu_state__init(s);
	object->message = &s->base;
	int r = tracer_registers(c->tracer, task->tid, &regs, &call, err);
	if (r < 0)
		return error_trace(err, r);
	if (!arch_is_native(&regs) || in_compat_call(task, &regs)) {
		error_refuse(err, CODE_task_32bit, "it runs 32-bit code");
		error_hint(err, "only 64-bit programs can be saved");
		return -EOPNOTSUPP;
	}
	r = note_call(&call, &regs, s, err);
	if (r == 0)
		r = read_outside(c, task, s, err);
	if (r == 0 && task->speaks)
		r = judge_process(c, task, err);
	if (r < 0)
		return error_trace(err, r);
	s->n_general = N_GENERAL;
	s->general = xmemdup(&regs, sizeof(regs));
	return 0;
}

/* ---- restart ---- */

static int cpu_validate(const struct objects *objects, const struct object *object,
                        struct error *err)
{
	const CpuState *s = object_state(object, CpuState);
	struct user_regs_struct regs;

	if (s->n_general != N_GENERAL)
		return error_raise(err, EBADMSG, "%zu general registers", s->n_general);
	if (s->extended.len > EXTENDED_MAX ||
	    (s->extended.len != LEGACY_SIZE && s->extended.len < HEADER_END))
		return error_raise(err, EBADMSG, "%zu bytes of extended state", s->extended.len);
	if ((uint32_t)s->call > CPU_STATE__CALL__TIMED)
		return error_raise(err, EBADMSG, "unknown state %d of a call", (int)s->call);
	memcpy(&regs, s->general, sizeof(regs));
	if (regs.cs != USER_CS || regs.ss != USER_DS)
		return error_raise(err, EBADMSG, "code segment 0x%llx", regs.cs);
	uint64_t args[6];
	struct timed_call timed;
	arch_call_get(&regs, args);
	if (s->call == CPU_STATE__CALL__TIMED &&
	    !arch_timed_call((long)s->timed_call, args, &timed))
		return error_raise(err, EBADMSG, "system call %u has no timeout", s->timed_call);
	return 0;
}

static int cpu_preflight(struct restart *r, struct object *object, struct error *err)
{
	const CpuState *s = object_state(object, CpuState);
	uint64_t lacking = arch_xstate_in_use(s->extended.data, s->extended.len) &
	                   ~(arch_xstate_enabled() | 3 /* x87, SSE */);

	if (!lacking)
		return 0;
	const char *name = arch_xstate_name((unsigned)__builtin_ctzll(lacking));
	error_refuse(err, CODE_cpu_xstate, "it has %s state, which this processor or kernel lacks",
	             name ? name : "unknown");
	error_hint(err, "restart it on a machine with the processor features of the first one");
	return -EOPNOTSUPP;
}

/* what the stub ends in; lives until the launch */
struct cpu {
	struct user_regs_struct regs;
};

static void resume(const CpuState *s, struct user_regs_struct *regs, struct launch *launch)
{
	struct resumed_call *call = &launch->resumed;
	struct timed_call timed;

	arch_call_get(regs, call->arg);
	arch_timed_call((long)s->timed_call, call->arg, &timed); /* validated */
	call->nr = (long)s->timed_call;
	call->timeout_arg = timed.arg;
	call->timeout_ms = timed.form == TIMEOUT_MS;
	call->left_ns = s->time_left_ns;
	regs->orig_rax = s->timed_call;
}

static int cpu_commit(struct restart *r, struct object *object, struct stub *stub,
                      struct error *err)
{
	const CpuState *s = object_state(object, CpuState);
	struct cpu *cpu = object->live = xcalloc(1, sizeof(*cpu));

	memcpy(&cpu->regs, s->general, sizeof(cpu->regs));
	if (s->call == CPU_STATE__CALL__NONE)
		cpu->regs.orig_rax = UINT64_MAX; /* or the kernel would restart what was complete */
	else if (s->call == CPU_STATE__CALL__TIMED)
		resume(s, &cpu->regs, &stub->launch);
	stub->launch.regs = &cpu->regs;
	stub->launch.xstate = s->extended.data;
	stub->launch.xstate_size = s->extended.len;
	return 0;
}

static void cpu_release(struct object *object)
{
	free(object->live);
	object->live = NULL;
}

const struct kind cpu_kind = {
	.name = "cpu",
	.number = 51,
	.message = &cpu_state__descriptor,
	.collect = cpu_collect,
	.validate = cpu_validate,
	.preflight = cpu_preflight,
	.commit = cpu_commit,
	.release = cpu_release,
};
