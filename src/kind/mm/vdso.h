/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's own mappings: a stub has the coordinator's; they are moved, never made. */
#pragma once

#include "mm.pb-c.h"
#include "util/error.h"

struct objects;
struct restart;
struct stub;

/* where a stub has [vdso], [vvar] and [vvar_vclock]; size 0 = there is none */
#define VDSO_N 3
struct vdso_places {
	struct vdso_place {
		uint64_t start, size;
	} at[VDSO_N];
};

/*
 * Out of the way, in a stub without children: all stubs made from it have them there then, which
 * is @ret_places.
 */
int vdso_stage(struct restart *r, struct stub *stub, struct vdso_places *ret_places,
               struct error *err);
/*
 * Moves them to their place. @staged: where vdso_stage() has put them; NULL: they are where the
 * coordinator has them.
 */
int vdso_move(struct restart *r, const MmState *state, struct stub *stub,
              const struct vdso_places *staged, struct error *err);
/* whether this kernel's are the same by size and content; the refusal in @refusal, -EOPNOTSUPP */
int vdso_fits(const MmState *state, struct error *refusal);
/* the address, in the task, of a system call instruction in its vDSO: where it is launched from */
int vdso_syscall(const MmState *s, uint64_t *ret, struct error *err);
