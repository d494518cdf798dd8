/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The extended state (x87, SSE, AVX...): what this host has, what an image uses. Intel SDM 1.13. */
#include <cpuid.h>
#include <string.h>

#include "arch/arch.h"

#define XSTATE_BV_OFFSET 512
#define HEADER_END       576
#define SUPERVISOR       ((1ull << 8) | (1ull << 10) | (0xfull << 11) | (1ull << 16)) /* not in XCR0 */
#define XTILEDATA        (1ull << 18) /* AMX needs a permission per process */

uint64_t arch_xstate_in_use(const void *xstate, size_t size)
{
	uint64_t bv;

	if (size < XSTATE_BV_OFFSET + sizeof(bv))
		return 3; /* the legacy area: x87 and SSE */
	memcpy(&bv, (const uint8_t *)xstate + XSTATE_BV_OFFSET, sizeof(bv));
	return bv;
}

uint64_t arch_xstate_enabled(void)
{
	static int known = -1; /* CPUID is slow under a hypervisor, XGETBV is not */
	unsigned a, b, c, d;

	if (known < 0)
		known = __get_cpuid(1, &a, &b, &c, &d) && c & bit_OSXSAVE;
	if (!known)
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return ((uint64_t)d << 32 | a) & ~SUPERVISOR & ~XTILEDATA;
}

size_t arch_xstate_size(uint64_t components)
{
	size_t size = HEADER_END;

	for (unsigned i = 2; i < 63; i++) {
		unsigned a, b, c, d;
		if (!(components & (1ull << i)) || !__get_cpuid_count(0xd, i, &a, &b, &c, &d))
			continue;
		if (a && (size_t)b + a > size)
			size = (size_t)b + a;
	}
	return size;
}

const char *arch_xstate_name(unsigned component)
{
	static const char *const names[] = {
		[0] = "x87",
		[1] = "SSE",
		[2] = "AVX",
		[3] = "MPX bounds",
		[4] = "MPX configuration",
		[5] = "AVX-512 masks",
		[6] = "AVX-512 upper halves",
		[7] = "AVX-512 upper registers",
		[9] = "PKRU",
		[11] = "shadow stack",
		[17] = "AMX configuration",
		[18] = "AMX tiles",
		[19] = "APX",
	};
	return component < sizeof(names) / sizeof(names[0]) ? names[component] : NULL;
}
