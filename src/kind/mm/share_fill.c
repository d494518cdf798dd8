/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: page sets are filled into the ancestors of their members. See share.c. */
#include "kind/mm/share_parts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kind/mm.h"
#include "kind/mm/fill.h"
#include "kind/mm/huge.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* ---- filling an ancestor ---- */

/*
 * Whether pages of a set that was filled before must stay: a member is this address space itself,
 * or will still be cloned below it.
 */
static bool blocks_phase(struct restart *r, const struct sharing *sharing, struct inheritance *in,
                         uint32_t number)
{
	const MmState__PageSet *message = sharing->sets[number - 1]->message;

	if (in->asked_set == number && in->asked_phase == in->phase)
		return in->blocks;
	in->asked_set = number;
	in->asked_phase = in->phase;
	in->blocks = false;
	for (size_t k = 0; k < message->n_members && !in->blocks; k++) {
		struct object *o = objects_by_id(r->objects, message->members[k]);
		struct inheritance *own = mm_live(o)->inheritance;
		const struct inheritance *child = share_branch(in, own);
		in->blocks = own == in || (child && child->index >= in->phase);
	}
	return in->blocks;
}

/* how many pages from @start on may be filled now; or, negated, how many may not */
static int64_t free_pages(struct restart *r, const struct sharing *sharing, struct inheritance *in,
                          uint64_t start, uint64_t n_pages)
{
	struct lens lens = share_lens_new(sharing, in);
	uint64_t focus = UINT64_MAX, n = 0;
	bool first = false;

	for (; n < n_pages; n++) {
		uint64_t page = start + n;
		if (page / CHUNK_PAGES != focus) {
			focus = page / CHUNK_PAGES;
			share_lens_focus(&lens, in, focus);
		}
		uint32_t set = lens.n ? share_lens_set(&lens, (unsigned)(page % CHUNK_PAGES)) : 0;
		bool is_free = !set || !blocks_phase(r, sharing, in, set);
		if (n == 0)
			first = is_free;
		else if (is_free != first)
			break;
	}
	share_lens_done(&lens);
	return first ? (int64_t)n : -(int64_t)n;
}

static void add_late(struct restart_set *set, const struct page_block *block,
                     const struct page_run *runs, uint32_t n_runs, const void *data,
                     size_t data_size)
{
	size_t runs_size = n_runs * sizeof(*runs);
	struct late_block *late = xmalloc(sizeof(*late) + runs_size + data_size);

	late->next = NULL;
	late->block = *block;
	late->block.n_runs = n_runs;
	late->block.runs = memcpy(late + 1, runs, runs_size);
	late->block.data = (char *)(late + 1) + runs_size;
	late->block.data_size = data_size;
	if (data_size)
		memcpy((char *)(late + 1) + runs_size, data, data_size);
	*set->late_end = late;
	set->late_end = &late->next;
}

/* whether the pages of a set at @start are huge ones; *end: lowered to where that changes */
static bool is_huge(const MmState__PageSet *set, uint64_t start, uint64_t *end)
{
	size_t low = 0, high = set->n_huge;

	while (low < high) { /* the first that ends above */
		size_t middle = (low + high) / 2;
		if (set->huge[middle]->start + set->huge[middle]->size <= start)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == set->n_huge)
		return false;
	const MmState__Range *range = set->huge[low];
	uint64_t change = range->start > start ? range->start : range->start + range->size;
	*end = change < *end ? change : *end;
	return range->start <= start;
}

static int allow_huge(struct inheritance *in, bool huge, struct error *err)
{
	if (in->huge == huge)
		return 0;
	mm_huge_allow(in->stub, huge);
	in->huge = huge;
	int r = calls_run(in->stub->calls, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/*
 * Fills a run, or as much of it as one mapping has: how many pages. Negative: so many cannot be
 * shared. 0: an error.
 */
static int64_t fill_early(struct restart *r, struct inheritance *in, struct restart_set *set,
                          const struct page_run *run, const char *data, struct error *err)
{
	struct fill_target target = { in->stub->host_tid, in->mem };
	uint64_t start = run->start * MM_PAGE, end = start + run->n_pages * MM_PAGE, stop = 0;
	const struct sharing *sharing = share_sharing(r);

	int ret = share_temporary_for(r, in, set, start, &stop, err);
	if (ret < 0)
		return 0;
	if (ret == 0)
		return -1; /* page by page: the next one may do */
	stop = stop < end ? stop : end;
	if (allow_huge(in, is_huge(set->message, start, &stop), err) < 0)
		return 0;
	int64_t n = free_pages(r, sharing, in, run->start, (stop - start) / MM_PAGE);
	if (n < 0)
		return n;
	struct page_run part = { run->start, (uint32_t)n, 0 };
	ret = run->zero ? fill_zero(&target, start, part.n_pages, err)
	                : fill_data(&target, &part, 1, data, err);
	if (ret < 0)
		return 0;
	share_note_filled(in, part.start, part.n_pages, set->number);
	return n;
}

static int fill_block(struct restart *r, struct inheritance *in, struct restart_set *set,
                      const struct page_block *block, struct error *err)
{
	const char *data = block->data;

	for (uint32_t i = 0; i < block->n_runs; i++) {
		struct page_run run = block->runs[i];
		while (run.n_pages > 0) {
			int64_t n = fill_early(r, in, set, &run, data, err);
			if (n == 0)
				return error_trace(err, -err->errnum);
			if (n < 0) {
				n = -n;
				struct page_run late = { run.start, (uint32_t)n, run.zero };
				add_late(set, block, &late, 1, data,
				         run.zero ? 0 : (size_t)n * MM_PAGE);
			}
			run.start += (uint64_t)n;
			run.n_pages -= (uint32_t)n;
			data += run.zero ? 0 : (uint64_t)n * MM_PAGE;
		}
	}
	return 0;
}

/* ---- blocks ---- */

/* a block of a page set, to where an address space has moved it */
static int fill_member(struct object *object, const struct page_block *block, struct error *err)
{
	_cleanup_(free_p) struct page_run *runs = NULL;
	struct page_block moved = *block;

	if (!mm_live(object)->homes)
		return mm_fill_block(object, block, err);
	moved.n_runs = 0;
	for (uint32_t i = 0; i < block->n_runs; i++) {
		struct page_run run = block->runs[i];
		while (run.n_pages > 0) {
			uint64_t end, at = mm_away_from(object, run.start * MM_PAGE, &end);
			uint64_t n = end / MM_PAGE - run.start;
			n = n < run.n_pages ? n : run.n_pages;
			size_t n_runs = moved.n_runs++;
			*array_push(runs, n_runs) = (struct page_run){ at / MM_PAGE, (uint32_t)n,
				                                       run.zero };
			run.start += n;
			run.n_pages -= (uint32_t)n;
		}
	}
	moved.runs = runs;
	return mm_fill_block(object, &moved, err);
}

static int fill_members(struct restart *r, const struct restart_set *set,
                        const struct page_block *block, struct error *err)
{
	for (size_t k = 0; k < set->message->n_members; k++) {
		struct object *member = objects_by_id(r->objects, set->message->members[k]);
		int ret = fill_member(member, block, err);
		if (ret < 0)
			return error_trace(err, ret);
	}
	return 0;
}

static bool members_installed(const struct restart *r, const struct restart_set *set)
{
	for (size_t k = 0; k < set->message->n_members; k++)
		if (!mm_live(objects_by_id(r->objects, set->message->members[k]))->stub)
			return false;
	return true;
}

int mm_share_block(struct restart *r, struct object *object, const struct page_block *block,
                   struct error *err)
{
	struct mm *mm = mm_live(object);
	uint64_t n_pages = 0;

	if (block->page_set == 0 || block->page_set > mm->n_sets)
		return error_raise(err, EBADMSG, "page set %u of %zu", block->page_set, mm->n_sets);
	struct restart_set *set = &mm->sets[block->page_set - 1];
	if (members_installed(r, set)) /* from several threads */
		return fill_members(r, set, block, err);
	/* the stubs are still being made: there is one thread only */
	for (uint32_t i = 0; i < block->n_runs; i++)
		n_pages += block->runs[i].n_pages;
	if (n_pages > set->n_left)
		return error_raise(err, EBADMSG, "page set %u has more pages than it says",
		                   block->page_set);
	set->n_left -= n_pages;
	struct inheritance *in = set->ancestor;
	if (set->n_left == 0 && n_pages && in && in->n_due && set->phase != ALWAYS)
		in->n_due[set->phase]--;
	if (in && in->filling && in->phase == set->phase)
		return fill_block(r, in, set, block, err);
	add_late(set, block, block->runs, block->n_runs, block->data, block->data_size);
	return 0;
}

struct late_block *share_take_late(struct restart_set *set)
{
	struct late_block *late = take_ptr(set->late);

	set->late_end = &set->late;
	return late;
}

void share_late_free(struct late_block *late)
{
	while (late) {
		struct late_block *next = late->next;
		free(late);
		late = next;
	}
}

int mm_share_flush(struct restart *r, struct object *object, struct error *err)
{
	struct mm *mm = mm_live(object);
	int ret = 0;

	for (size_t i = 0; i < mm->n_sets && ret >= 0; i++) {
		struct late_block *all = share_take_late(&mm->sets[i]);
		for (struct late_block *late = all; late && ret >= 0; late = late->next)
			ret = fill_members(r, &mm->sets[i], &late->block, err);
		share_late_free(all);
	}
	return ret < 0 ? error_trace(err, ret) : 0;
}

/* what came before its turn */
static int fill_early_late(struct restart *r, const struct sharing *sharing, struct inheritance *in,
                           struct error *err)
{
	int ret = 0;

	for (size_t i = 0; i < sharing->n && ret >= 0; i++) {
		struct restart_set *set = sharing->sets[i];
		if (set->ancestor != in || set->phase != in->phase || !set->late)
			continue;
		struct late_block *all = share_take_late(set);
		for (struct late_block *late = all; late && ret >= 0; late = late->next)
			ret = fill_block(r, in, set, &late->block, err);
		share_late_free(all);
	}
	return ret < 0 ? error_trace(err, ret) : 0;
}

static int fill_inheritance(struct restart *r, const struct sharing *sharing,
                            struct inheritance *in, struct error *err)
{
	char path[32];

	/* children that are queued must have been made: what comes now is not theirs */
	int ret = calls_run(in->stub->calls, err);
	if (ret < 0)
		return error_trace(err, ret);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)in->stub->host_tid);
	in->mem = open(path, O_RDWR | O_CLOEXEC);
	if (in->mem < 0)
		return error_raise(err, errno, "opening %s", path);
	in->filling = true;
	ret = fill_early_late(r, sharing, in, err);
	while (ret >= 0 && in->n_due[in->phase] > 0) {
		ret = restart_next_block(r, err);
		if (ret == 0)
			ret = error_raise(err, EBADMSG, "the image lacks pages that are shared");
	}
	in->filling = false;
	close_p(&in->mem);
	return ret < 0 ? error_trace(err, ret) : 0;
}

static bool any_due(const struct sharing *sharing, const struct inheritance *in)
{
	if (!in->n_due)
		return false;
	if (in->n_due[in->phase])
		return true;
	for (size_t i = 0; i < sharing->n; i++) /* all of it may have come early */
		if (sharing->sets[i]->ancestor == in && sharing->sets[i]->phase == in->phase)
			return true;
	return false;
}

int mm_before_clone(struct restart *r, struct stub *parent, struct stub *child, struct error *err)
{
	struct sharing *sharing;
	int ret = share_get(r, &sharing, err);

	if (ret < 0)
		return error_trace(err, ret);
	if (!sharing || !sharing->n)
		return 0;
	struct inheritance *in = share_inheritance(parent), *own = share_inheritance(child);
	if (!in->parent && !in->staged) {
		/* mappings of the set may be wanted where the coordinator has its vDSO */
		ret = vdso_stage(r, parent, &in->vdso, err);
		in->staged = ret >= 0;
	}
	if (ret < 0 || own == in || own->stub != child)
		return ret < 0 ? error_trace(err, ret) : 0;
	in->phase = own->index;
	if (any_due(sharing, in))
		ret = fill_inheritance(r, sharing, in, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}
