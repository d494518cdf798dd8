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
 * mm_hole() - an address that no recorded address space and not the coordinator uses, and that is
 * nobody's home
 * @size:	bytes of the hole; MM_STAGING bytes right above it are free as well and belong to mm
 * Returns 0; -ENOMEM when there is none.
 */
#define MM_STAGING (1ull << 20)
int mm_hole(const struct objects *objects, uint64_t size, uint64_t *ret, struct error *err);

/* TaskState.turn, .maker and .stand_ins of a task, when pages have been compared */
struct mm_descent {
	uint32_t turn;
	const struct task *maker;  /* NULL: none */
	const uint32_t *stand_ins; /* lent */
	size_t n_stand_ins;
};
struct mm_descent mm_descent(const struct task *task);

/* frees what mm keeps of the stubs, all of which are there still */
void mm_share_forget(struct restart *r);
