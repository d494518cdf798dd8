/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kind mm: an address space (CLONE_VM shares it). mm.c has the operations; the parts are in mm/:
 * collect (checkpoint: /proc to message), pages (checkpoint: contents), share (pages shared by
 * fork), validate, install (restart: layout), fill (restart: contents).
 */
#pragma once

#include "kind/kind.h"

extern const struct kind mm_kind;

/**
 * mm_hole() - an address that no recorded address space and not the coordinator uses
 * @size:	bytes of the hole; MM_STAGING bytes right above it are free as well and belong to mm
 * Returns 0; -ENOMEM when there is none.
 */
#define MM_STAGING (1ull << 20)
int mm_hole(const struct objects *objects, uint64_t size, uint64_t *ret, struct error *err);

/*
 * checkpoint, when pages have been compared: a number that @task has in common with siblings that
 * share pages of a dead process between them and their parent; 0 = none
 */
uint32_t mm_stand_in(const struct task *task);
