/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory protection keys. See pkeys.h.
 *
 * Three kinds of keys are in use: allocated ones; those that pkey_free(2) has been called for while
 * mappings still had them; and the one that the kernel takes by itself for PROT_EXEC without
 * PROT_READ (execute-only), which pkey_mprotect(2) refuses as if it were not allocated, and which
 * the kernel drops when such a mapping gets another protection. All are made by the calls that made
 * them first, since only so the kernel knows which is which.
 */
#include "kind/mm/pkeys.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "core/restart.h"
#include "host/features.h"
#include "task/stub.h"
#include "task/tracer.h"
#include "util/error.h"

#define NOWHERE (UINT64_MAX - 2 * MM_PAGE + 1) /* above all mappings */

void mm_pkeys_ask(struct injection *calls)
{
	/* looks at the key first: EINVAL unless it is allocated, ENOMEM since nothing is there */
	for (unsigned key = 1; key <= MM_PKEYS; key++)
		calls[key - 1] = (struct injection){ .nr = __NR_pkey_mprotect,
			                             .arg = { NOWHERE, MM_PAGE, PROT_NONE, key } };
}

uint32_t mm_pkeys_answer(const struct injection *calls)
{
	uint32_t ret = 0;

	for (unsigned key = 1; key <= MM_PKEYS; key++)
		ret |= (uint32_t)(calls[key - 1].result == -ENOMEM) << key;
	return ret;
}

/* all keys up to this one are needed: the kernel gives the lowest that is free */
static uint32_t highest(const MmState *s)
{
	uint32_t ret = s->pkeys ? 31 - (uint32_t)__builtin_clz(s->pkeys) : 0;

	for (size_t i = 0; i < s->n_mappings; i++)
		if (s->mappings[i]->pkey > ret)
			ret = s->mappings[i]->pkey;
	return ret;
}

/* whether the processor and the kernel have them */
static bool has_keys(uint32_t n_keys)
{
	int got[MM_PKEYS + 1];
	unsigned n = 0;

	while (n < n_keys && (got[n] = pkey_alloc(0, 0)) >= 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		pkey_free(got[i]);
	return n == n_keys;
}

void mm_pkeys_preflight(struct restart *r, const MmState *s)
{
	struct error refusal = ERROR_INIT;
	uint32_t n = highest(s);

	if (n == 0 || (feature(FEATURE_pkeys) && has_keys(n)))
		return;
	error_refuse(&refusal, CODE_not_supported,
	             "the image uses memory protection key %u, which this machine lacks", n);
	restart_refuse(r, &refusal);
}

bool mm_pkeys_execute_only(const MmState *s, const Mapping *m)
{
	return m->pkey && m->prot == PROT_EXEC && !(s->pkeys & 1u << m->pkey);
}

void mm_pkeys_allocate(struct stub *stub, const MmState *s)
{
	for (uint32_t key = 1; key <= highest(s); key++)
		CALL(stub->calls, pkey_alloc, 0, 0);
}

void mm_pkeys_settle(struct stub *stub, const MmState *s)
{
	uint32_t kept = s->pkeys;

	for (size_t i = 0; i < s->n_mappings; i++) {
		const Mapping *m = s->mappings[i];
		if (!mm_pkeys_execute_only(s, m))
			continue;
		if (!(kept & 1u << m->pkey)) /* the only one that is free now */
			CALL(stub->calls, pkey_free, m->pkey);
		kept |= 1u << m->pkey;
		CALL(stub->calls, mprotect, m->start, m->size, PROT_EXEC);
	}
	for (uint32_t key = 1; key <= highest(s); key++)
		if (!(kept & 1u << key))
			CALL(stub->calls, pkey_free, key);
}
