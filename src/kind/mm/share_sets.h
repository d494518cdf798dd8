/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of checkpoint's side of share.h know of each other: the page sets. */
#pragma once

#include "kind/mm/mm.h"

/* one page set: the same pages of several address spaces */
struct set {
	struct object *owner;      /* the first member: keeps it in its message */
	uint32_t id;               /* page set number within the owner */
	uint32_t index;            /* among all, in the order in which they are found */
	uint32_t rank;             /* of the nearest common ancestor in the order of tasks */
	struct page_range *ranges; /* where they are at home */
	size_t n_ranges;
};

struct mm_share { /* kept in the first mm: all sets, in the order in which they are filled */
	struct set **sets;
	size_t n;
};

/* all sets */
void sets_forget(struct mm_share *share);
