/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of restart's side of share.h know of each other: share.c, share_adopt.c... */
#pragma once

#include "core/restart.h"
#include "image/image.h"
#include "kind/mm/share.h"
#include "kind/mm/vdso.h"
#include "task/stub.h"
#include "util/map.h"

#define CHUNK_PAGES 512u
#define ALWAYS      UINT32_MAX /* as phase: after all children have been cloned */

/*
 * A mapping made for inheritance, like @like of a member but perhaps larger. Like all that is said
 * of page sets, where it is at home.
 */
struct temporary {
	uint64_t start, end;
	struct mm_piece like;
	uint32_t prot;
	uint32_t phase; /* the first child that inherits it */
};

/* a block that came too early or cannot be shared */
struct late_block {
	struct late_block *next;
	struct page_block block; /* runs and data are behind it */
};

/* one page set at restart; kept by the owner's mm */
struct restart_set {
	const MmState__PageSet *message;
	uint32_t number;              /* among all of the image, from 1 */
	struct inheritance *ancestor; /* where it is filled */
	uint32_t phase;               /* before which of its children is cloned */
	uint64_t n_left;              /* pages that have not come yet */
	struct late_block *late, **late_end;
	/* the last answer of agree() */
	uint64_t agreed_start, agreed_end;
	bool agreed;
};

/* all page sets of the image; in the first mm */
struct sharing {
	struct restart_set **sets; /* by number - 1 */
	size_t n;
};

/* which set each page of 2 MiB of addresses was last filled from; 0 = none */
struct chunk {
	uint32_t whole;  /* of all pages, when pages is NULL */
	uint32_t *pages; /* CHUNK_PAGES of them */
	struct old {     /* what was filled over, in the order of that */
		uint16_t first, n;
		uint32_t set;
	} * old;
	size_t n_old;
};

/* what the descendants of one address space inherit from it; stub->private_mm of its first stub */
struct inheritance {
	struct stub *stub;          /* the process whose address space it is */
	struct inheritance *parent; /* NULL: it comes from the coordinator's */
	unsigned depth;
	uint32_t index; /* which of the parent's children it is, in the order of their clones */
	uint32_t n_children;
	uint32_t phase; /* the child that is about to be cloned */
	bool staged;    /* this, and all that comes from it, has the vDSO in these places */
	struct vdso_places vdso;
	bool filling;
	bool huge; /* the stub gets huge pages */
	int mem;
	size_t *n_due; /* for each child: sets that are due and have not come wholly; NULL = none */
	struct temporary *temporaries; /* ascending */
	size_t n_temporaries;
	struct map *chunks; /* address / 2 MiB -> struct chunk */
	/* the last answer of blocks_phase() */
	uint32_t asked_set, asked_phase;
	bool blocks;
};

/* ---- share.c ---- */

/* the address space that a stub runs in: that of its creator if they share it (CLONE_VM) */
struct inheritance *share_inheritance(struct stub *stub);
/* the nearest that both descend from, or are; NULL if there is none */
struct inheritance *share_common(struct inheritance *a, struct inheritance *b);
/* the child of @in that @own is or descends from; NULL if it is @in itself, or no descendant */
struct inheritance *share_branch(const struct inheritance *in, struct inheritance *own);
/* all page sets; NULL before they have been planned, or if there is no mm */
struct sharing *share_sharing(const struct restart *r);
int share_get(struct restart *r, struct sharing **ret, struct error *err); /* planned if need be */

/* ---- share_chunks.c ---- */

/* what an address space and those above it have of one chunk, as far as it sees that */
struct lens {
	const struct sharing *sharing;
	struct {
		const struct chunk *chunk;
		uint32_t phase;
	} * levels;
	size_t n;
};

/* looks at no chunk yet; share_lens_done() it */
struct lens share_lens_new(const struct sharing *sharing, const struct inheritance *in);
void share_lens_done(struct lens *lens);
void share_lens_focus(struct lens *lens, const struct inheritance *in, uint64_t number);
uint32_t share_lens_set(const struct lens *lens, unsigned page); /* 0: of none */
/* notes that the pages have been filled from a set */
void share_note_filled(struct inheritance *in, uint64_t start, uint64_t n_pages, uint32_t set);

/* ---- share_temporary.c ---- */

bool share_same_backing(const struct mm_piece *a, const struct mm_piece *b);
/*
 * Finds or makes the temporary mapping for a page. 1: it is there, until *ret_end; 0: it cannot be
 * had, something else lies there.
 */
int share_temporary_for(struct restart *r, struct inheritance *in, struct restart_set *set,
                        uint64_t start, uint64_t *ret_end, struct error *err);

/* ---- share_fill.c ---- */

struct late_block *share_take_late(struct restart_set *set);
void share_late_free(struct late_block *late);
