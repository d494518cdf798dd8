/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who must fork whom, and in which order, so that address spaces come to share what they share.
 *
 * A process has one version of each page at a time, and hands that on when it forks: a history of
 * forks is linear for each process. It is told backwards here. At the end all processes are there,
 * each with the versions that it has; one after the other is traced to the one that has forked it,
 * which then had the versions of both: its own where others share them still, and any where not,
 * since what nobody else has it may have written later. What remains is the first process, and the
 * order of its forks.
 *
 * Real forkers may be dead (of orphans), or not the parent (CLONE_PARENT). So a process is traced
 * to whomever it fits best among those that descend from its parent; to a placeholder where two fit
 * one another, and each is somebody's child: that stands in for the dead one.
 *
 * At restart a page set is filled in the nearest common ancestor of its members before the first of
 * them is cloned, and filled over when the last has been (share.c).
 *
 * Plain data, no tasks: address spaces are indices 0..n-1, parents before children.
 */
#pragma once

#include <stdbool.h>
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
/* all sets of @n such pages have been added: on to the next one */
void genealogy_next_page(struct genealogy *g, uint64_t n);
/* whether there are pages that not any order makes */
bool genealogy_any(const struct genealogy *g);
/* what else is handed on like a page, and must not be lost: to be added like one */
#define GENEALOGY_PRECIOUS (1ull << 30)
/* somebody who is dead, a descendant of @parent; the order given will not do any more */
uint32_t genealogy_add_dead(struct genealogy *g, uint32_t parent);
/* a space can only have been forked by @above, dead or not, or by who descends from that */
void genealogy_put_below(struct genealogy *g, uint32_t space, uint32_t above);
/* all pages have been looked at; returns the pages that cannot be shared, times those who would */
uint64_t genealogy_solve(struct genealogy *g);

#define GENEALOGY_DEPTH_MAX 16u
struct genealogy_place {
	uint32_t turn;  /* among those that its parent or maker forks; 0: the order given will do */
	uint32_t maker; /* the descendant of its parent that makes it; 0: the parent */
	size_t n_path;
	uint32_t path[GENEALOGY_DEPTH_MAX]; /* placeholders between them, the outermost first */
};
struct genealogy_place genealogy_result(const struct genealogy *g, uint32_t space);
