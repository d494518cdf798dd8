/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: what a stub keeps of its inheritance. See share.c. */
#include "kind/mm/share_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kind/mm.h"
#include "util/alloc.h"

static bool is_member(const struct restart_set *set, uint32_t id)
{
	size_t low = 0, high = set->message->n_members;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (set->message->members[middle] == id)
			return true;
		if (set->message->members[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static void queue_unmap(struct stub *stub, uint64_t start, uint64_t end)
{
	if (start < end)
		CALL(stub->calls, munmap, start, end - start);
}

/* the part of a temporary that an address space inherits, page by page: its own, foreign, empty */
struct sifted {
	bool wanted;                /* it has pages that are the address space's own */
	struct page_range *foreign; /* pages of sets that it is no member of */
	size_t n;
};

static void sift_page(struct sifted *sifted, const struct sharing *sharing, uint32_t set,
                      uint32_t id, uint64_t address)
{
	struct page_range *last = sifted->n ? &sifted->foreign[sifted->n - 1] : NULL;

	if (!set)
		return;
	if (is_member(sharing->sets[set - 1], id)) {
		sifted->wanted = true;
		return;
	}
	if (last && last->end == address)
		last->end += MM_PAGE;
	else
		*array_push(sifted->foreign, sifted->n) =
			(struct page_range){ .start = address, .end = address + MM_PAGE };
}

static struct sifted sift(const struct sharing *sharing, const struct inheritance *in,
                          const struct temporary *t, uint32_t id)
{
	struct sifted sifted = { 0 };
	struct lens lens = share_lens_new(sharing, in);
	uint64_t page = t->start / MM_PAGE, end = t->end / MM_PAGE;

	while (page < end) {
		uint64_t stop = (page / CHUNK_PAGES + 1) * CHUNK_PAGES;
		share_lens_focus(&lens, in, page / CHUNK_PAGES);
		stop = stop < end ? stop : end;
		for (; lens.n && page < stop; page++)
			sift_page(&sifted, sharing,
			          share_lens_set(&lens, (unsigned)(page % CHUNK_PAGES)), id,
			          page * MM_PAGE);
		page = stop;
	}
	share_lens_done(&lens);
	return sifted;
}

/* what an address space keeps of its inheritance, and has moved since */
struct adoption {
	struct object *object;
	struct stub *stub;
	struct page_range *parts; /* that are kept of a temporary, where they are at home */
	size_t n_parts;
	struct move {
		uint64_t from, size, to;
	} * moves;
	size_t n_moves;
};

static void keep(struct adoption *a, const struct temporary *t, const struct mm_piece *piece,
                 uint64_t start, uint64_t end)
{
	struct mm *mm = mm_live(a->object);
	uint32_t prot = mm_fill_protection(piece->mapping);

	*array_push(a->parts, a->n_parts) = (struct page_range){ .start = start, .end = end };
	*array_push(mm->kept, mm->n_kept) = (struct page_range){ .start = start + piece->away,
		                                                 .end = end + piece->away };
	if (t->prot != prot)
		CALL(a->stub->calls, mprotect, start, end - start, prot);
	if (piece->away)
		*array_push(a->moves, a->n_moves) = (struct move){ start, end - start,
			                                           start + piece->away };
}

/* keeps the parts of a temporary that mappings like it want; cuts the rest off */
static void keep_parts(struct adoption *a, const struct temporary *t)
{
	uint64_t at = t->start;
	struct mm_piece piece;

	for (uint64_t next = at;
	     next < t->end && mm_piece_above(a->object, next, &piece) && piece.start < t->end;
	     next = piece.end) {
		uint64_t start = piece.start > next ? piece.start : next;
		uint64_t end = piece.end < t->end ? piece.end : t->end;

		if (!mm_has_pages(piece.mapping) || !share_same_backing(&piece, &t->like))
			continue;
		queue_unmap(a->stub, at, start);
		at = end;
		keep(a, t, &piece, start, end);
	}
	queue_unmap(a->stub, at, t->end);
}

/* foreign pages of the parts kept (both ascending) become untouched again */
static void drop_foreign(const struct adoption *a, const struct sifted *sifted)
{
	for (size_t i = 0, k = 0; i < sifted->n && k < a->n_parts;) {
		const struct page_range *f = &sifted->foreign[i], *part = &a->parts[k];
		uint64_t start = f->start > part->start ? f->start : part->start;
		uint64_t end = f->end < part->end ? f->end : part->end;

		if (start < end)
			CALL(a->stub->calls, madvise, start, end - start, MADV_DONTNEED);
		if (f->end < part->end)
			i++;
		else
			k++;
	}
}

static void adopt(struct adoption *a, const struct sharing *sharing, const struct inheritance *in,
                  const struct temporary *t)
{
	struct sifted sifted = sift(sharing, in, t, a->object->id);

	a->n_parts = 0;
	if (sifted.wanted)
		keep_parts(a, t);
	else
		queue_unmap(a->stub, t->start, t->end);
	drop_foreign(a, &sifted);
	free(sifted.foreign);
}

static int by_start(const void *a, const void *b)
{
	const struct page_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int mm_share_adopt(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	struct mm *mm = mm_live(object);
	struct adoption adoption = { .object = object, .stub = stub };
	struct sharing *sharing;
	uint32_t phase = ALWAYS;
	int ret = share_get(r, &sharing, err);

	if (ret < 0)
		return error_trace(err, ret);
	if (!sharing || !sharing->n)
		return 0;
	struct inheritance *in = share_inheritance(stub);
	in->huge = false; /* once it is installed */
	for (struct inheritance *a = in; a; phase = a->index, a = a->parent)
		for (size_t i = 0; i < a->n_temporaries; i++)
			if (a->temporaries[i].phase <= phase)
				adopt(&adoption, sharing, in, &a->temporaries[i]);
	for (size_t i = 0; i < adoption.n_moves; i++) { /* nothing is in the way now */
		const struct move *m = &adoption.moves[i];
		CALL(stub->calls, mremap, m->from, m->size, m->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		     m->to);
	}
	free(adoption.parts);
	free(adoption.moves);
	if (mm->n_kept)
		qsort(mm->kept, mm->n_kept, sizeof(*mm->kept), by_start);
	ret = calls_run(stub->calls, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

void mm_share_map(struct mm *mm, struct stub *stub, const Mapping *m, int fd)
{
	uint64_t at = m->start, end = m->start + m->size;

	/* mappings come in ascending order, so do the parts kept */
	while (mm->kept_at < mm->n_kept && mm->kept[mm->kept_at].end <= at)
		mm->kept_at++;
	for (; mm->kept_at < mm->n_kept && mm->kept[mm->kept_at].start < end; mm->kept_at++) {
		if (at < mm->kept[mm->kept_at].start)
			mm_queue_map(stub, m, at, mm->kept[mm->kept_at].start, fd);
		at = mm->kept[mm->kept_at].end;
	}
	if (at < end)
		mm_queue_map(stub, m, at, end, fd);
}
