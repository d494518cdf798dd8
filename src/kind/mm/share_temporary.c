/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: the mappings that page sets are filled into, to be inherited. See share.c. */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kind/mm.h"
#include "kind/mm/huge.h"
#include "kind/mm/share_parts.h"
#include "util/alloc.h"

#define WIDEN_MAX 8u /* times; what is in more pieces may be cut */

/* of what is mapped, bytes into it, minus where that is at home; modulo 2^64 */
static uint64_t origin(const struct mm_piece *p)
{
	return p->mapping->offset - (p->mapping->start - p->away);
}

bool share_same_backing(const struct mm_piece *of_a, const struct mm_piece *of_b)
{
	const uint64_t flags = MM_SHARED | MM_GROWSDOWN | MM_NORESERVE | MM_HUGETLB | MM_DROPPABLE;
	const Mapping *a = of_a->mapping, *b = of_b->mapping;

	return a->backing == b->backing && a->object == b->object &&
	       a->huge_shift == b->huge_shift && (a->flags & flags) == (b->flags & flags) &&
	       (a->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS ||
	        origin(of_a) == origin(of_b));
}

/* the first of ascending temporaries that ends above @address */
static size_t temporary_above(const struct inheritance *in, uint64_t address)
{
	size_t low = 0, high = in->n_temporaries;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (in->temporaries[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct temporary *find_temporary(const struct inheritance *in, uint64_t start,
                                              uint64_t end)
{
	uint32_t phase = ALWAYS;

	for (; in; phase = in->index, in = in->parent)
		for (size_t i = temporary_above(in, start);
		     i < in->n_temporaries && in->temporaries[i].start < end; i++)
			if (in->temporaries[i].phase <= phase)
				return &in->temporaries[i];
	return NULL;
}

static void add_temporary(struct inheritance *in, const struct temporary *t)
{
	size_t at = temporary_above(in, t->start);

	(void)array_push(in->temporaries, in->n_temporaries);
	memmove(&in->temporaries[at + 1], &in->temporaries[at],
	        (in->n_temporaries - 1 - at) * sizeof(*t));
	in->temporaries[at] = *t;
}

/* whether it has become wider by a mapping of an address space that lies within it, or overlaps */
static bool widen(const struct object *o, uint64_t start, struct temporary *t)
{
	struct mm_piece p;
	bool wider = false;

	for (uint64_t at = t->start; at < t->end && mm_piece_above(o, at, &p) && p.start < t->end;
	     at = p.end) {
		bool here = p.start <= start && start < p.end;
		if ((p.start >= t->start && p.end <= t->end) ||
		    (!here && p.mapping->prot == PROT_NONE) || /* what is reserved may be large */
		    !share_same_backing(&p, &t->like))
			continue;
		t->start = p.start < t->start ? p.start : t->start;
		t->end = p.end > t->end ? p.end : t->end;
		wider = true;
	}
	return wider;
}

/*
 * The mapping at @start as the members have it, as large as any descendant has it, and what
 * overlaps that: a heap may have grown in one of them, and be in parts in another. What is too
 * large can be cut, but what is too small never becomes one mapping again.
 */
static void widest(struct restart *r, const struct inheritance *in, uint64_t start,
                   struct temporary *ret)
{
	bool wider = true;

	for (unsigned n = 0; wider && n < WIDEN_MAX; n++) {
		size_t cursor = 0;
		wider = false;
		for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
			struct inheritance *own = mm_live(o)->inheritance;
			if (own && share_common(own, (struct inheritance *)in) == in)
				wider |= widen(o, start, ret);
		}
	}
}

/* cuts off what something else has been made for already; not at @start, where there is nothing */
static void make_room(const struct inheritance *in, uint64_t start, struct temporary *t)
{
	const struct temporary *there;

	while ((there = find_temporary(in, t->start, t->end))) {
		if (there->start > start)
			t->end = there->start;
		else
			t->start = there->end;
	}
}

static int make_temporary(struct restart *r, struct inheritance *in, const struct temporary *t,
                          struct error *err)
{
	struct stub *stub = in->stub;
	Mapping like = *t->like.mapping;
	bool of_object = like.backing == MM_STATE__MAPPING__BACKING__OBJECT;

	/* the same mapping, cut out larger */
	like.offset = origin(&t->like) + t->start;
	like.start = t->start;
	like.size = t->end - t->start;
	int ret = of_object ? mm_send_object(r, like.object, stub, err) : 0;
	if (ret < 0)
		return error_trace(err, ret);
	mm_huge_allow(stub, false);
	in->huge = false;
	mm_queue_map(stub, &like, t->start, t->end, of_object ? 0 : -1);
	if (of_object)
		CALL(stub->calls, close, 0);
	if (like.flags & MM_HUGEPAGE)
		CALL(stub->calls, madvise, t->start, like.size, MADV_HUGEPAGE);
	if (like.flags & MM_NOHUGEPAGE)
		CALL(stub->calls, madvise, t->start, like.size, MADV_NOHUGEPAGE);
	ret = calls_run(stub->calls, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

/*
 * Whether all members have the same sort of mapping at a page, as *ret_like: 1, until *ret_end; or
 * 0.
 */
static int agree(struct restart *r, struct restart_set *set, uint64_t start,
                 struct mm_piece *ret_like, uint64_t *ret_end, struct error *err)
{
	uint64_t low = 0, high = UINT64_MAX;
	bool agreed = true;

	for (size_t k = 0; k < set->message->n_members; k++) {
		const struct object *o = objects_by_id(r->objects, set->message->members[k]);
		struct mm_piece p;
		if (k > 0 && start >= set->agreed_start && start < set->agreed_end)
			break; /* asked before */
		if (!mm_piece_at(o, start, &p) || !mm_has_pages(p.mapping) ||
		    p.mapping->flags & MM_DROPPABLE)
			return error_raise(err, EBADMSG,
			                   "a shared page at %llx that no mapping has",
			                   (unsigned long long)start);
		if (k == 0)
			*ret_like = p;
		agreed = agreed && share_same_backing(ret_like, &p);
		low = p.start > low ? p.start : low;
		high = p.end < high ? p.end : high;
	}
	if (start < set->agreed_start || start >= set->agreed_end) {
		set->agreed = agreed;
		set->agreed_start = low;
		set->agreed_end = high;
	}
	*ret_end = set->agreed_end;
	return set->agreed;
}

int share_temporary_for(struct restart *r, struct inheritance *in, struct restart_set *set,
                        uint64_t start, uint64_t *ret_end, struct error *err)
{
	struct mm_piece like = { 0 };
	int ret = agree(r, set, start, &like, ret_end, err);

	if (ret <= 0 || !like.mapping)
		return ret;
	if (like.mapping->backing == MM_STATE__MAPPING__BACKING__OBJECT &&
	    objects_by_id(r->objects, like.mapping->object)->waits)
		return 0; /* on a mount that is made after other tasks */
	const struct temporary *there = find_temporary(in, start, start + MM_PAGE);
	if (there) {
		if (there->end < *ret_end)
			*ret_end = there->end;
		return share_same_backing(&there->like, &like);
	}
	struct temporary t = { like.start, like.end, like, mm_fill_protection(like.mapping),
		               in->phase };
	widest(r, in, start, &t);
	if (origin(&like) + t.start > INT64_MAX &&
	    like.mapping->backing == MM_STATE__MAPPING__BACKING__OBJECT)
		return 0; /* as large as that, it would begin before the file does */
	make_room(in, start, &t);
	ret = make_temporary(r, in, &t, err);
	if (ret < 0)
		return error_trace(err, ret);
	add_temporary(in, &t);
	return 1;
}
