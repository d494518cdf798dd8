/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory protection keys, pkeys(7): which of the 15 keys a process has allocated. Mappings name
 * theirs; what a thread may do with each key is in a register (PKRU).
 */
#pragma once

#include "kind/mm/mm.h"

struct injection;
struct stub;

#define MM_PKEYS 15u /* keys from 1 on; key 0 is everybody's */

/* the calls that ask a task which keys are allocated: MM_PKEYS of them, without any effect */
void mm_pkeys_ask(struct injection *calls);
/* the answer: a bit per key */
uint32_t mm_pkeys_answer(const struct injection *calls);

/* whether this machine has all keys that the image uses; refuses otherwise */
void mm_pkeys_preflight(struct restart *r, const MmState *s);
/* whether the protection of a mapping must wait until mm_pkeys_settle() */
bool mm_pkeys_execute_only(const MmState *s, const Mapping *m);
/* makes all keys usable in the stub, so that mappings can be given any of them */
void mm_pkeys_allocate(struct stub *stub, const MmState *s);
/* execute-only mappings, and only the allocated keys remain */
void mm_pkeys_settle(struct stub *stub, const MmState *s);
