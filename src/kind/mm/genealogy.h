/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In which order address spaces must be forked again, and by whom, so that they come to share what
 * they share.
 *
 * At restart a page set is filled in the nearest common ancestor of its members before the first of
 * them is cloned, and filled over when the last has been (share.c). So at each page the children of
 * an ancestor come in blocks: first those that have what it inherited itself, then one set after
 * the other, and last those that have what is its own in the end. The order in which they were
 * forked is such an order. It need not be that of their pids, for orphans have been forked by
 * somebody else, who is dead, and so have those that were made with CLONE_PARENT. Where these have
 * pages that no order makes, they are made by a placeholder, which stands in for him: its pages are
 * filled without a regard for those of the ancestor. Or by the descendant that has made them
 * before.
 *
 * Plain data, no tasks: address spaces are indices 0..n-1, parents before children.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mm.pb-c.h"

struct genealogy;

/*
 * @parents: the index of the address space that each descends from, its own if it has none; @ids,
 * ascending: of the objects.
 */
struct genealogy *genealogy_new(const uint32_t *parents, const uint32_t *ids, uint32_t n);
void genealogy_free(struct genealogy *g); /* takes NULL */

/* a set that has the page that is looked at; it stays where it is */
void genealogy_add(struct genealogy *g, const MmState__PageSet *set);
/* all sets of that page have been added: on to the next one */
void genealogy_next_page(struct genealogy *g);
/* all pages have been looked at */
void genealogy_solve(struct genealogy *g);

#define GENEALOGY_DEPTH_MAX 16u
struct genealogy_place {
	uint32_t turn;  /* among the children of its parent, or maker; 0: the order given will do */
	uint32_t maker; /* the descendant of its parent that makes it; 0: the parent */
	const uint32_t *path; /* placeholders between them, the outermost first; lent */
};
/* returns how many placeholders */
size_t genealogy_result(const struct genealogy *g, uint32_t space, struct genealogy_place *ret);
