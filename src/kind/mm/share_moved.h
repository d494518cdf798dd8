/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: pages that one process has moved with mremap(2) since a fork. They have the frame of
 * another's page, at another address. What they are in gets a home (mm.h), and so do the mappings
 * of all who share pages with it.
 */
#pragma once

#include "kind/mm/mm.h"

/*
 * A page that is not its address space's alone, and nobody else has it at that address; or that a
 * set of them has, and that has been seen at another address before.
 */
struct stray {
	uint64_t frame, address;
	uint32_t space; /* index of the address space, or of the first of them */
	uint32_t set;   /* index of struct shared_pages, plus 1; 0: none */
};
#define STRAYS_MAX (512u << 10) /* more are saved for each on its own: correct, only not shared */

/* pages that some share at the same address, as they have been found so far */
struct shared_pages {
	const uint32_t *members; /* ids of objects, ascending */
	size_t n_members;
	const struct page_range *ranges;
	size_t n_ranges;
};

/**
 * moved_find() - gives homes to what has been moved, and those it shares pages with
 * @objects:	the address spaces, ids ascending; MmState.homes of them is filled, and indexed
 * @strays:	sorted here
 * Returns 1 if there are any homes, 0 if not.
 */
int moved_find(struct checkpoint *c, struct object *const *objects, size_t n, struct stray *strays,
               size_t n_strays, const struct shared_pages *shared, size_t n_shared,
               struct error *err);
