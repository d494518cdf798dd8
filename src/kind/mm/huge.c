/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transparent huge pages, found and made again. See huge.h. */
#include "kind/mm/huge.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "image/image.h"
#include "kind/mm.h"
#include "kind/mm/pages.h"
#include "kind/mm/share_sets.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/parallel.h"

#define RANGE_SIZE 32u /* bytes of one in a message, at most */
#define PER_TURN   8u  /* huge pages that are worth a thread */
#define TURNS_MAX  16u

/* ---- checkpoint ---- */

void mm_huge_note(struct mm *mm, const MmState *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_mappings; i++)
		if (mm->told[i].has_huge && mm->told[i].may_share)
			*array_push(mm->partly, mm->n_partly) = (struct page_range){
				.start = s->mappings[i]->start,
				.end = s->mappings[i]->start + s->mappings[i]->size,
			};
	for (size_t i = 0; i < mm->n_pages; i++) {
		struct page_range range = mm->pages[i], *last = n ? &mm->pages[n - 1] : NULL;

		if (range.huge)
			*array_push(mm->huge, mm->n_huge) = range;
		range.huge = false;
		/* that is all that set it apart from its neighbours */
		if (last && last->end == range.start && last->zero == range.zero &&
		    last->guard == range.guard)
			last->end = range.end;
		else
			mm->pages[n++] = range;
	}
	mm->n_pages = n;
}

/* how many ranges fit into a message; for want of room nothing is refused, pages become small */
static size_t room(const struct object *object)
{
	size_t size = protobuf_c_message_get_packed_size(object->message);

	return size < IMAGE_RECORD_MAX ? (IMAGE_RECORD_MAX - size) / RANGE_SIZE : 0;
}

/* whole huge pages of the address space in @ranges */
static void tell(struct mm *mm, const struct page_range *ranges, size_t n, MmState__Range ***ret,
                 size_t *ret_n)
{
	for (size_t i = 0; i < n && mm->n_huge; i++) {
		for (size_t k = pages_above(mm->huge, mm->n_huge, ranges[i].start);
		     k < mm->n_huge && mm->huge[k].start < ranges[i].end && mm->huge_room; k++) {
			uint64_t start = mm->huge[k].start, end = mm->huge[k].end;

			if (start < ranges[i].start)
				start = (ranges[i].start + PAGEMAP_HUGE_SIZE - 1) &
				        ~(PAGEMAP_HUGE_SIZE - 1);
			if (end > ranges[i].end)
				end = ranges[i].end & ~(PAGEMAP_HUGE_SIZE - 1);
			if (start >= end)
				continue;
			MmState__Range *range = xmalloc(sizeof(*range));
			mm_state__range__init(range);
			range->start = start;
			range->size = end - start;
			*array_push(*ret, *ret_n) = range;
			mm->huge_room--;
		}
	}
}

/* of sets, which are at home where their owner has them, or where nobody has anything */
static void tell_of_sets(const struct mm_share *share)
{
	for (size_t i = 0; share && i < share->n; i++) {
		const struct set *set = share->sets[i];
		MmState *s = object_state(set->owner, MmState);
		MmState__PageSet *message = s->page_sets[set->id - 1];

		tell(mm_live(set->owner), set->ranges, set->n_ranges, &message->huge,
		     &message->n_huge);
	}
}

void mm_huge_tell(struct checkpoint *c)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, &mm_kind, &cursor));)
		mm_live(o)->huge_room = room(o);
	cursor = 0;
	for (struct object *o; (o = objects_next(c->objects, &mm_kind, &cursor));)
		tell_of_sets(mm_live(o)->share);
	cursor = 0;
	for (struct object *o; (o = objects_next(c->objects, &mm_kind, &cursor));) {
		struct mm *mm = mm_live(o);
		MmState *s = object_state(o, MmState);

		tell(mm, mm->pages, mm->n_pages, &s->huge, &s->n_huge);
		free(take_ptr(mm->huge));
		mm->n_huge = 0;
	}
}

/* ---- restart ---- */

void mm_huge_allow(struct stub *stub, bool allowed)
{
	CALL(stub->calls, prctl, PR_SET_THP_DISABLE, !allowed, 0, 0, 0);
}

struct making {
	const MmState *s;
	int mem;
	size_t turns;
};

/* every so many-th of them: the kernel zeroes it; all is in the image, and is written over */
static int make_some(void *making, size_t turn, struct error *err)
{
	const struct making *m = making;
	size_t k = 0;

	for (size_t i = 0; i < m->s->n_huge; i++)
		for (uint64_t at = 0; at < m->s->huge[i]->size; at += PAGEMAP_HUGE_SIZE)
			if (k++ % m->turns == turn)
				(void)!pwrite(m->mem, "", 1, (off_t)(m->s->huge[i]->start + at));
	return 0;
}

static size_t count(const MmState *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_huge; i++)
		n += s->huge[i]->size / PAGEMAP_HUGE_SIZE;
	return n;
}

int mm_huge_make(const MmState *s, struct stub *stub, int mem, struct error *err)
{
	struct making m = { s, mem, count(s) / PER_TURN };
	int r = 0;

	m.turns = m.turns < 1 ? 1 : m.turns > TURNS_MAX ? TURNS_MAX : m.turns;
	if (s->n_huge)
		r = calls_run(stub->calls, err);
	if (r >= 0 && s->n_huge)
		r = parallel(m.turns, make_some, &m, err);
	if (r < 0)
		return error_trace(err, r);
	mm_huge_allow(stub, false);
	return 0;
}
