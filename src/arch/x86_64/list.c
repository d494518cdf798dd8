/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers that list.S is run with. */
#include <assert.h>

#include "arch/arch.h"
#include "arch/x86_64/list_entry.h"

extern const char stasis_list_code[], stasis_list_code_end[];

static_assert(sizeof(struct list_entry) == LIST_ENTRY_SIZE, "list_entry.h");
static_assert(offsetof(struct list_entry, arg) == LIST_ARG, "list_entry.h");
static_assert(offsetof(struct list_entry, result) == LIST_RESULT, "list_entry.h");

const void *arch_list_code(size_t *ret_size)
{
	*ret_size = (uintptr_t)stasis_list_code_end - (uintptr_t)stasis_list_code;
	return stasis_list_code;
}

void arch_list_set(struct user_regs_struct *regs, uint64_t code, uint64_t entries, size_t n)
{
	regs->rip = code;
	regs->r12 = entries;
	regs->r13 = n;
	regs->orig_rax = (unsigned long long)-1;
	regs->eflags &= ~0x500ull; /* DF, TF */
}

bool arch_list_at_end(const struct user_regs_struct *regs)
{
	return regs->r13 == 1;
}
