/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a system call can be made in a task without writing to its text: the vDSO's `syscall`
 * instructions. What follows one must be harmless and end in a return, because a task whose tracer
 * dies runs on from there into the return frame. vDSOs differ: `pop %rbp; ret`, or `leave;
 * xor %edx,%edx; xor ...; ret` since registers are zeroed on exit (6.10).
 */
#include <string.h>

#include "arch/arch.h"

#define EPILOGUE_MAX 16 /* instructions */

/* the length of one harmless instruction, 0 when it is none; notes what it does to the stack */
static size_t harmless(const uint8_t *p, size_t room, bool *pops, bool *returns)
{
	size_t rex = room && (p[0] & 0xf0) == 0x40;
	const uint8_t *q = p + rex;

	if (room < rex + 1)
		return 0;
	if (!rex && q[0] == 0xc3) { /* ret */
		*returns = true;
		return 1;
	}
	if (!rex && (q[0] == 0xc9 || q[0] == 0x5d)) { /* leave; pop %rbp */
		if (*pops)
			return 0;
		*pops = true;
		return 1;
	}
	if (!rex && q[0] == 0x90)
		return 1;
	/* xor %r,%r of one register that is not the stack's or frame's */
	if (room >= rex + 2 && (q[0] == 0x31 || q[0] == 0x33) && (q[1] & 0xc0) == 0xc0) {
		unsigned from = (q[1] >> 3) & 7, to = q[1] & 7;
		bool extended = rex && (p[0] & 5) == 5;
		if (from != to || (rex && (p[0] & 5) && !extended))
			return 0;
		if (!extended && (to == 4 || to == 5))
			return 0;
		return rex + 2;
	}
	return 0;
}

static bool epilogue(const uint8_t *p, size_t room, bool *ret_pops)
{
	bool returns = false;

	*ret_pops = false;
	for (unsigned i = 0; i < EPILOGUE_MAX && !returns; i++) {
		size_t size = harmless(p, room, ret_pops, &returns);
		if (!size)
			return false;
		p += size;
		room -= size;
	}
	return returns;
}

ssize_t arch_find_syscall(const uint8_t *code, size_t size, bool *ret_pops)
{
	for (size_t i = 0; i + 3 <= size; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x05 &&
		    epilogue(code + i + 2, size - i - 2, ret_pops))
			return (ssize_t)i;
	return -1;
}

ssize_t arch_find_sigreturn(const uint8_t *code, size_t size)
{
	/* glibc and musl: mov $15,%rax; syscall. Others: mov $15,%eax; syscall */
	static const uint8_t wide[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	static const uint8_t narrow[] = { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	const uint8_t *hit = memmem(code, size, wide, sizeof(wide));

	if (!hit)
		hit = memmem(code, size, narrow, sizeof(narrow));
	return hit ? hit - code : -1;
}
