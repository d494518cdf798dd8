/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stub area. See area.h. */
#include "task/area.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/x86_64/stub_slot.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define TASK_END 0x7ffffffff000ull /* 47 bits, less the guard page: Documentation/x86/x86_64/mm */

extern const char stasis_stub_code[], stasis_stub_code_end[];

void ranges_add(struct ranges *ranges, uint64_t start, uint64_t end)
{
	*array_push(ranges->items, ranges->n) = (struct range){ start, end };
}

void ranges_done(struct ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct ranges){ 0 };
}

static bool wanted(const char *line, const char *const *names)
{
	if (!names)
		return true;
	for (; *names; names++)
		if (strstr(line, *names))
			return true;
	return false;
}

int ranges_add_own(struct ranges *ranges, const char *const *names, struct error *err)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/maps", "re");
	_cleanup_(free_p) char *line = NULL;
	size_t room = 0;
	uint64_t start, end;

	if (!f)
		return error_raise(err, errno, "open /proc/self/maps");
	while (getline(&line, &room, f) > 0) {
		if (!wanted(line, names))
			continue;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			return error_raise(err, EBADMSG, "parse /proc/self/maps");
		if (end <= TASK_END)
			ranges_add(ranges, start, end);
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void ranges_sort(struct ranges *ranges)
{
	size_t n = 0;

	if (ranges->n == 0)
		return;
	qsort(ranges->items, ranges->n, sizeof(ranges->items[0]), by_start);
	for (size_t i = 1; i < ranges->n; i++) {
		struct range *last = &ranges->items[n], *next = &ranges->items[i];
		if (next->start > last->end)
			ranges->items[++n] = *next;
		else if (next->end > last->end)
			last->end = next->end;
	}
	ranges->n = n + 1;
}

uint64_t area_size(size_t n_slots)
{
	return STUB_CODE_SIZE + n_slots * (uint64_t)STUB_SLOT_SIZE;
}

int area_new(struct stub_area **ret, size_t n_slots, uint64_t start, struct error *err)
{
	uint64_t size = area_size(n_slots);
	struct stub_area *area;
	void *p;

	p = mmap((void *)start, size, PROT_READ | PROT_WRITE,
	         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return error_raise(err, errno, "map the stub area, %" PRIu64 " bytes at %" PRIx64,
		                   size, start);
	memcpy(p, stasis_stub_code, (uintptr_t)stasis_stub_code_end - (uintptr_t)stasis_stub_code);
	if (mprotect(p, STUB_CODE_SIZE, PROT_READ | PROT_EXEC) < 0) {
		int r = error_raise(err, errno, "make the stub's code executable");
		munmap(p, size);
		return r;
	}
	area = xcalloc(1, sizeof(*area));
	*area = (struct stub_area){ start, size, n_slots };
	*ret = area;
	return 0;
}

void area_free(struct stub_area *area)
{
	if (!area)
		return;
	munmap((void *)area->start, area->size);
	free(area);
}

uint64_t area_slot(const struct stub_area *area, size_t index)
{
	assert(index < area->n_slots);
	return area->start + STUB_CODE_SIZE + index * (uint64_t)STUB_SLOT_SIZE;
}
