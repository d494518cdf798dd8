/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private pages that processes share copy-on-write since fork. At checkpoint they are found by
 * equal page frame and saved once, in a page set whose members are several mms. At restart they are
 * filled in the nearest common ancestor of the members before its children are cloned.
 */
#pragma once

#include "kind/mm/mm.h"

struct mm_share;
struct vdso_places;

/* checkpoint, all pages scanned: takes what is shared out of each mm's own pages; once */
int mm_share_find(struct checkpoint *c, struct error *err);
/* writes the page sets that are kept in this object, before all mms' own pages */
int mm_share_save(struct checkpoint *c, struct object *object, struct error *err);
uint64_t mm_share_bytes(const struct mm_share *share); /* that it will write; takes NULL */
void mm_share_free(struct mm_share *share);            /* takes NULL */

/* restart */
int mm_before_clone(struct restart *r, struct stub *parent, struct stub *child, struct error *err);
/* keeps what was inherited and fits, drops the rest */
int mm_share_adopt(struct restart *r, struct object *object, struct stub *stub, struct error *err);
/* where it has the vDSO meanwhile; NULL: where the coordinator has it */
const struct vdso_places *mm_share_vdso(struct stub *stub);
/* queues the mmap of what adoption did not leave; @fd: descriptor in the stub, -1 = anonymous */
void mm_share_map(struct mm *mm, struct stub *stub, const Mapping *m, int fd);
/* a block of a page set > 0 */
int mm_share_block(struct restart *r, struct object *object, const struct page_block *block,
                   struct error *err);
/* writes what came for this mm and could not be shared; before commit */
int mm_share_flush(struct restart *r, struct object *object, struct error *err);

void mm_share_release(struct mm *mm); /* restart's part of an mm */

/* fill.c: writes a block of whatever page set into one address space, installed already */
int mm_fill_block(struct object *object, const struct page_block *block, struct error *err);
/* install.c: opens what is mapped or executed for reading, and gives it to the stub, as 0 */
int mm_send_object(struct restart *r, uint32_t id, struct stub *stub, struct error *err);
/* install.c: the protection a mapping has until commit */
uint32_t mm_fill_protection(const Mapping *m);
/* install.c: queues the mmap of a part of a mapping as it is to be filled */
void mm_queue_map(struct stub *stub, const Mapping *m, uint64_t start, uint64_t end, int fd);
