/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list: code that makes several system calls in a live task at checkpoint, once, and does not
 * wait. It is copied to a page of its own, is position independent and uses no stack but for the
 * return, which goes into the return frame (frame.c) if nobody stops the task before.
 *
 * Entered with r12 = the entries, r13 = how many. The last one's call leads to a stop.
 */
#include "arch/x86_64/list_entry.h"

	.section .rodata
	.globl stasis_list_code, stasis_list_code_end
	.hidden stasis_list_code, stasis_list_code_end
stasis_list_code:
next:
	.set	i, 0
	.irp	reg, %rdi, %rsi, %rdx, %r10, %r8, %r9
	mov	LIST_ARG + 8 * i (%r12), \reg
	.set	i, i + 1
	.endr
	mov	(%r12), %rax
	syscall
	mov	%rax, LIST_RESULT(%r12)
	add	$LIST_ENTRY_SIZE, %r12
	dec	%r13
	jnz	next
	ret
stasis_list_code_end:

	.section .note.GNU-stack, "", @progbits
