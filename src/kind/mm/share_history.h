/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: who forked whom, of address spaces and the tasks that have them: what is told of them
 * to genealogy.h, and by it.
 */
#pragma once

#include "kind/mm/genealogy.h"
#include "kind/mm/mm.h"

/* for each the index of the one that it descends from, or its own; the caller's */
uint32_t *history_parents(struct object *const *objects, size_t n);
/* the same of all; ids ascending */
struct genealogy *history_new(struct object *const *objects, const uint32_t *parents, size_t n);
/* all pages have been added: fills in the mms' turn, maker and stand_ins */
void history_tell(struct genealogy *g, struct object *const *objects, const uint32_t *parents,
                  size_t n);
