/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transparent huge pages, Documentation/admin-guide/mm/transhuge.rst. A write into an empty range
 * of 2 MiB gives all of it a page where the kernel is set to, so that memory which had a page here
 * and there would come back whole; and filling with 4 KiB pages would lose the huge ones that a
 * program had. So the image says where they were, and all else is filled while they are switched
 * off (PR_SET_THP_DISABLE).
 */
#pragma once

#include <stdbool.h>

#include "kind/mm/mm.h"

/* ---- checkpoint ---- */

/*
 * Takes note of the huge pages among those that were scanned, mm->pages, and in mm->partly of the
 * mappings in which some may be shared in part: of one that the address space maps as a whole,
 * pagemap says of all pages whether the first one is shared (PAGEMAP_EXCLUSIVE; Linux 6.1 to 6.18),
 * and to pin any of them splits it and copies them.
 */
void mm_huge_note(struct mm *mm, const MmState *s);
/*
 * All pages being found, and those that are shared: puts into the messages which of an address
 * space's own pages, and of each page set, are huge; what is in part one and in part the other is
 * not. Forgets the notes.
 */
void mm_huge_tell(struct checkpoint *c);

/* ---- restart ---- */

/* queues the call that lets the stub get huge pages, or not; kind prctl sets it as it was */
void mm_huge_allow(struct stub *stub, bool allowed);
/*
 * The stub, which may get huge pages, runs what is queued, its mappings, and gets those that the
 * address space had; the call that it gets no more is queued. @mem: its /proc/PID/mem, open for
 * writing. Where the kernel has none to give, the pages will be small ones. Errors: of the calls.
 */
int mm_huge_make(const MmState *s, struct stub *stub, int mem, struct error *err);
