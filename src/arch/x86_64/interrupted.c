/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupted system calls. A ptrace stop wakes a task out of its call, and the registers then hold
 * one of the kernel's private codes (include/linux/errno.h), which it turns into a restart when the
 * task goes on. A few calls answer EINTR instead, to a stop as to a signal (signal(7),
 * "Interruption of system calls by stop signals"): those are made again here.
 */
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch/arch.h"

#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516
#define EINTR_NR              4
#define TIMER_ABSTIME_FLAG    1
#define SYSCALL_SIZE          2 /* bytes of the instruction */

long arch_call_get(const struct user_regs_struct *regs, uint64_t args[6])
{
	const uint64_t a[6] = { regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9 };

	memcpy(args, a, sizeof(a));
	return (long)regs->orig_rax;
}

void arch_call_set_arg(struct user_regs_struct *regs, int arg, uint64_t value)
{
	unsigned long long *const to[6] = { &regs->rdi, &regs->rsi, &regs->rdx,
		                            &regs->r10, &regs->r8,  &regs->r9 };

	*to[arg] = value;
}

void arch_call_rewind(struct user_regs_struct *regs)
{
	regs->rax = regs->orig_rax;
	regs->orig_rax = (unsigned long long)-1;
	regs->rip -= SYSCALL_SIZE;
}

void arch_call_again(struct user_regs_struct *regs)
{
	regs->rax = (unsigned long long)-ERESTARTNOHAND;
}

void arch_call_renew(struct user_regs_struct *regs, long nr)
{
	if ((long)regs->rax != -ERESTART_RESTARTBLOCK)
		return;
	arch_call_again(regs);
	regs->orig_rax = (unsigned long long)nr;
}

bool arch_call_has_block(long nr)
{
	return nr == __NR_nanosleep || nr == __NR_clock_nanosleep || nr == __NR_poll ||
	       nr == __NR_futex;
}

static long number_at(const uint8_t *p)
{
	uint32_t nr;

	memcpy(&nr, p, sizeof(nr));
	return arch_call_has_block(nr) ? (long)nr : -1;
}

long arch_number_in_code(const uint8_t *code, size_t size)
{
	const uint8_t *p = code + size - 7;

	/* mov $nr,%eax, or the end of mov $nr,%rax; then syscall */
	if (size < 7 || (p[0] != 0xb8 && p[0] != 0xc0))
		return -1;
	return number_at(p + 1);
}

bool arch_is_syscall_function(const uint8_t *code, size_t size)
{
	static const uint8_t end[] = { 0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05 };

	/* mov 8(%rsp),%r9; syscall */
	return size >= sizeof(end) && !memcmp(code + size - sizeof(end), end, sizeof(end));
}

long arch_number_in_caller(const uint8_t *code, size_t size)
{
	/* the last mov $nr,%edi before the call */
	for (size_t i = size < 5 ? 0 : size - 5; i > 0; i--)
		if (code[i] == 0xbf && number_at(code + i + 1) >= 0)
			return number_at(code + i + 1);
	return -1;
}

bool arch_is_compat_call(const uint8_t *code, size_t size)
{
	return size >= 2 && code[size - 2] == 0xcd && code[size - 1] == 0x80;
}

bool arch_call_is_eintr(const struct user_regs_struct *regs)
{
	return (long)regs->rax == -EINTR_NR && (long)regs->orig_rax >= 0;
}

bool arch_timed_call(long nr, const uint64_t args[6], struct timed_call *ret)
{
	struct timed_call t = { .nr = nr, .remainder = -1 };

	switch (nr) {
	case __NR_nanosleep:
		t.form = TIMEOUT_TIMESPEC;
		t.arg = 0;
		t.remainder = args[1] ? 1 : -1;
		t.block = true;
		break;
	case __NR_clock_nanosleep:
		if (args[1] & TIMER_ABSTIME_FLAG)
			return false;
		t.form = TIMEOUT_TIMESPEC;
		t.arg = 2;
		t.remainder = args[3] ? 3 : -1;
		t.block = true;
		break;
	case __NR_poll:
		t.form = TIMEOUT_MS;
		t.arg = 2;
		t.block = true;
		break;
	case __NR_futex: {
		/* WAIT's timeout is relative, WAIT_BITSET's and LOCK_PI's absolute: those are made
		 * again */
		if (((int)args[1] & FUTEX_CMD_MASK) != FUTEX_WAIT)
			return false;
		t.form = TIMEOUT_TIMESPEC;
		t.arg = 3;
		t.block = true;
		break;
	}
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
		t.form = TIMEOUT_MS;
		t.arg = 3;
		break;
	case __NR_epoll_pwait2:
	case __NR_semtimedop:
		t.form = TIMEOUT_TIMESPEC;
		t.arg = 3;
		break;
	case __NR_rt_sigtimedwait:
		t.form = TIMEOUT_TIMESPEC;
		t.arg = 2;
		break;
	case __NR_io_getevents:
		t.form = TIMEOUT_TIMESPEC;
		t.arg = 4;
		break;
	default:
		return false;
	}
	if (t.form == TIMEOUT_MS ? (int)args[t.arg] < 0 : !args[t.arg])
		return false; /* for ever */
	*ret = t;
	return true;
}

bool arch_eintr_call(long nr)
{
	switch (nr) {
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
	case __NR_semop:
	case __NR_semtimedop:
	case __NR_rt_sigtimedwait:
	case __NR_io_getevents:
	case __NR_io_pgetevents:
	/* with SO_RCVTIMEO or SO_SNDTIMEO set: sock_intr_errno() */
	case __NR_accept:
	case __NR_accept4:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_recvmmsg:
	case __NR_sendto:
	case __NR_sendmsg:
	/* sticky timeouts: poll_select_finish() */
	case __NR_select:
	case __NR_pselect6:
	case __NR_ppoll:
		return true;
	default:
		return false;
	}
}

enum interrupted arch_interrupted(const struct user_regs_struct *regs, bool deliverable,
                                  struct timed_call *ret_timed)
{
	uint64_t args[6];
	long nr = arch_call_get(regs, args);
	long result = (long)regs->rax;

	if (nr < 0)
		return INTERRUPTED_NOT;
	switch (-result) {
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND:
		return INTERRUPTED_AGAIN;
	case ERESTART_RESTARTBLOCK:
		if (arch_timed_call(nr, args, ret_timed))
			return INTERRUPTED_TIMED;
		/* restarted before, and nobody knows which call it was */
		if (nr == __NR_restart_syscall)
			return INTERRUPTED_UNKNOWN;
		/* FUTEX_WAIT_BITSET: the timeout is absolute, the same call goes on */
		return INTERRUPTED_AGAIN;
	case EINTR_NR:
		if (!arch_eintr_call(nr))
			return INTERRUPTED_NOT;
		if (deliverable)
			return INTERRUPTED_EINTR;
		if (arch_timed_call(nr, args, ret_timed))
			return INTERRUPTED_TIMED;
		return INTERRUPTED_AGAIN;
	default:
		return INTERRUPTED_NOT;
	}
}
