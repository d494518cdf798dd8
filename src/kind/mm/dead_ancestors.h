/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which processes must have had an ancestor that is dead, by the pages that they share.
 *
 * At restart a page set is filled in the nearest common ancestor of its members before the first of
 * them is cloned, and may be filled over when the last has been (share.c). That cannot be done
 * where another set has the same page of the ancestor itself, or of children that are cloned in
 * between: then the members were not forked by this ancestor, but by a process between, which has
 * changed the page and is dead, or made them with CLONE_PARENT. A placeholder must stand in for
 * that.
 *
 * Plain data, no tasks: address spaces are indices 0..n-1, parents before children.
 */
#pragma once

#include <stdint.h>

#include "mm.pb-c.h"

struct dead_ancestors;

/*
 * @parents: the index of the address space that each descends from, its own if it has none; @ids,
 * ascending: of the objects. Siblings are cloned in ascending order.
 */
struct dead_ancestors *dead_ancestors_new(const uint32_t *parents, const uint32_t *ids, uint32_t n);
void dead_ancestors_free(struct dead_ancestors *d); /* takes NULL */

/* a set that has the page that is looked at */
void dead_ancestors_add(struct dead_ancestors *d, const MmState__PageSet *set);
/* all sets of that page have been added: compares them, and goes on to the next */
void dead_ancestors_compare(struct dead_ancestors *d);

/* equal, and not 0: one ancestor for these siblings */
uint32_t dead_ancestors_number(struct dead_ancestors *d, uint32_t space);
