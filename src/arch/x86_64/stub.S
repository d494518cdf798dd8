/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stub: all code that ever runs in a task that is being restarted, before its own. It is copied
 * to the start of the stub area, is position independent and uses no stack.
 *
 * Entered with rbx = its slot. Waits for its turn (futex in shared memory), executes the list of
 * system calls in the slot in order up to the first failure, hands the turn back, waits again. The
 * child of a clone goes to its own slot and waits there: the parent alone stores the result.
 */
#include "arch/x86_64/stub_slot.h"

#define NR_FUTEX 202

	.section .rodata
	.globl stasis_stub_code, stasis_stub_code_end
	.hidden stasis_stub_code, stasis_stub_code_end
stasis_stub_code:
wait:
	cmpl	$0, STUB_TURN(%rbx)
	jne	run
	mov	$NR_FUTEX, %eax
	mov	%rbx, %rdi
	xor	%esi, %esi		/* FUTEX_WAIT, shared */
	xor	%edx, %edx		/* while 0 */
	xor	%r10d, %r10d		/* no timeout */
	syscall
	jmp	wait
run:
	mov	STUB_FIRST(%rbx), %r13d
	mov	%r13, %r12
	shl	$6, %r12		/* STUB_ENTRY_SIZE */
	lea	STUB_CALLS(%rbx, %r12), %r12
next:
	cmp	STUB_N(%rbx), %r13d
	jae	done
	mov	STUB_ENTRY_FLAGS(%r12), %ebp
	/* now, not after the call: a child may first run when its parent has the next list */
	movslq	STUB_ENTRY_CHILD(%r12), %r14
	.set	i, 0
	.irp	reg, %rdi, %rsi, %rdx, %r10, %r8, %r9
	mov	STUB_ENTRY_ARG + 8 * i (%r12), \reg
	bt	$i, %ebp
	jnc	1f
	mov	STUB_RESULTS(%rbx, \reg, 8), \reg
1:
	.set	i, i + 1
	.endr
	mov	(%r12), %rax
	syscall
	test	%rax, %rax
	jnz	store
	test	%r14, %r14
	jz	store
	shl	$12, %r14		/* the child: its own slot */
	add	%r14, %rbx
	jmp	wait
store:
	mov	%rax, STUB_RESULTS(%rbx, %r13, 8)
	inc	%r13d
	add	$STUB_ENTRY_SIZE, %r12
	cmp	$-4095, %rax
	jb	next
	bt	$STUB_MAY_FAIL, %ebp
	jc	next
done:
	mov	%r13d, STUB_DONE(%rbx)
	movl	$0, STUB_TURN(%rbx)
	mov	$NR_FUTEX, %eax
	mov	%rbx, %rdi
	mov	$1, %esi		/* FUTEX_WAKE */
	mov	$0x7fffffff, %edx
	syscall
	jmp	wait
stasis_stub_code_end:

	.section .note.GNU-stack, "", @progbits
