/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stub area: memory at one address that no address space of the set uses, shared by the
 * coordinator and all stubs. One page of code, then one slot per stub. The root stub inherits it
 * with fork(2), and every further one does, too.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* address ranges that the area must keep away from */
struct ranges {
	struct range {
		uint64_t start, end;
	} * items;
	size_t n;
};
/* appends, in no order */
void ranges_add(struct ranges *ranges, uint64_t start, uint64_t end);
void ranges_done(struct ranges *ranges);
/* adds the mappings of the calling process; with @names, only those called so ("[vdso]"...) */
int ranges_add_own(struct ranges *ranges, const char *const *names, struct error *err);
/* sorts by start and merges what overlaps or touches */
void ranges_sort(struct ranges *ranges);

struct stub_area {
	uint64_t start, size;
	size_t n_slots;
};

uint64_t area_size(size_t n_slots); /* bytes */
/**
 * area_new() - map the area for @n_slots stubs
 * @start:	where: a hole of area_size() that nothing of the set uses
 * Untouched slots cost no memory.
 */
int area_new(struct stub_area **ret, size_t n_slots, uint64_t start, struct error *err);
void area_free(struct stub_area *area);                         /* unmaps; takes NULL */
uint64_t area_slot(const struct stub_area *area, size_t index); /* its address */
