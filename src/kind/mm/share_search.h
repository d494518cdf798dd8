/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The search for shared pages, window by window of addresses: what share_find.c, which goes through
 * all of them, and share_window.c, which looks at one, have in common.
 */
#pragma once

#include "kind/mm/share_moved.h"
#include "kind/mm/share_sets.h"

struct genealogy;
struct map;

#define SEEN_FRAMES (1u << 25) /* of 128 GiB, in 4 MiB */

/* one address space in the search */
struct space {
	struct object *object;
	struct mm *mm;
	struct page_range *pages; /* all, where they are at home; ascending */
	size_t n_pages;
	size_t at;               /* the page range that is next */
	size_t mapping;          /* the first mapping that ends behind the window's start */
	struct page_range *kept; /* what stays its own, where it is */
	size_t n_kept;
	uint32_t n_members; /* in the sets that it owns */
	uint64_t *frames;   /* within the window; NULL when it has no pages there */
};

/* one that may share the page that is looked at */
struct candidate {
	uint64_t frame;
	uint32_t space; /* index */
};

struct search {
	struct space *spaces;
	struct object **objects; /* theirs */
	uint32_t *parents;       /* indices of those that they were forked from, or of themselves */
	size_t n, n_words;       /* words of a bit map of spaces */
	uint64_t start, n_pages; /* the window */
	struct map *by_members;
	struct mm_share *share;
	struct candidate *candidates; /* room for one of each space */
	uint64_t *members;            /* bit map in the making */
	struct set *last;             /* the set of the page before, mostly the same */
	uint64_t *last_members;
	struct genealogy *genealogy;
	/* in the first pass only: */
	struct stray *strays;
	size_t n_strays;
	uint64_t *seen; /* bit map of frames that are in sets, modulo its size */
	bool second_pass;
};

/*
 * Compares the pages of all address spaces in the window: those that several have go into page
 * sets, what is left is kept. @present: room for all spaces.
 */
int share_search_window(struct search *f, struct space **present, struct error *err);
