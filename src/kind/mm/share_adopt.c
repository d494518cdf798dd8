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

/* the first mapping that ends above an address */
static size_t mapping_above(const MmState *s, uint64_t address)
{
	size_t low = 0, high = s->n_mappings;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (s->mappings[middle]->start + s->mappings[middle]->size <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* keeps the parts of a temporary that mappings like it want; cuts the rest off */
static void keep_parts(struct mm *mm, const MmState *s, struct stub *stub,
                       const struct temporary *t)
{
	uint64_t at = t->start;

	for (size_t i = mapping_above(s, t->start);
	     i < s->n_mappings && s->mappings[i]->start < t->end; i++) {
		const Mapping *m = s->mappings[i];
		uint64_t start = m->start > t->start ? m->start : t->start;
		uint64_t end = m->start + m->size < t->end ? m->start + m->size : t->end;

		if (!mm_has_pages(m) || !share_same_backing(m, t->like))
			continue;
		queue_unmap(stub, at, start);
		at = end;
		*array_push(mm->kept, mm->n_kept) = (struct page_range){ .start = start,
			                                                 .end = end };
		if (t->prot != mm_fill_protection(m))
			CALL(stub->calls, mprotect, start, end - start, mm_fill_protection(m));
	}
	queue_unmap(stub, at, t->end);
}

/* foreign pages of the parts kept (both ascending) become untouched again */
static void drop_foreign(struct stub *stub, const struct sifted *sifted,
                         const struct page_range *kept, size_t n_kept)
{
	for (size_t i = 0, k = 0; i < sifted->n && k < n_kept;) {
		const struct page_range *f = &sifted->foreign[i];
		uint64_t start = f->start > kept[k].start ? f->start : kept[k].start;
		uint64_t end = f->end < kept[k].end ? f->end : kept[k].end;

		if (start < end)
			CALL(stub->calls, madvise, start, end - start, MADV_DONTNEED);
		if (f->end < kept[k].end)
			i++;
		else
			k++;
	}
}

static int by_start(const void *a, const void *b)
{
	const struct page_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int mm_share_adopt(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const MmState *s = object_state(object, MmState);
	struct mm *mm = mm_live(object);
	struct sharing *sharing;
	uint32_t phase = ALWAYS;
	int ret = share_get(r, &sharing, err);

	if (ret < 0)
		return error_trace(err, ret);
	if (!sharing || !sharing->n)
		return 0;
	struct inheritance *in = share_inheritance(stub);
	for (struct inheritance *a = in; a; phase = a->index, a = a->parent)
		for (size_t i = 0; i < a->n_temporaries; i++) {
			const struct temporary *t = &a->temporaries[i];
			size_t before = mm->n_kept;
			if (t->phase > phase)
				continue;
			struct sifted sifted = sift(sharing, in, t, object->id);
			if (sifted.wanted)
				keep_parts(mm, s, stub, t);
			else
				queue_unmap(stub, t->start, t->end);
			drop_foreign(stub, &sifted, mm->kept + before, mm->n_kept - before);
			free(sifted.foreign);
		}
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
