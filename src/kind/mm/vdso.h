/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's own mappings: a stub has the coordinator's; they are moved, never made. */
#pragma once

#include "mm.pb-c.h"
#include "util/error.h"

struct objects;
struct restart;
struct stub;

/*
 * Out of the way, in a stub without children: all stubs made from it have them there then, and
 * vdso_move() knows.
 */
int vdso_stage(struct restart *r, struct stub *stub, struct error *err);
/* moves [vdso], [vvar] and [vvar_vclock] from where the coordinator has them to their place */
int vdso_move(struct restart *r, const MmState *state, struct stub *stub, struct error *err);
/* whether this kernel's are the same by size and content; the refusal in @refusal, -EOPNOTSUPP */
int vdso_fits(const MmState *state, struct error *refusal);
/* the address, in the task, of a system call instruction in its vDSO: where it is launched from */
int vdso_syscall(const MmState *s, uint64_t *ret, struct error *err);
