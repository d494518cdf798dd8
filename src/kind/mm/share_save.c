/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: page sets into the image. See share.h. */
#include <stdlib.h>

#include "core/checkpoint.h"
#include "kind/mm/pages.h"
#include "kind/mm/share.h"
#include "kind/mm/share_sets.h"

/* reads the pages of a set from one of its members */
struct set_source {
	struct pages_source pages;
	const struct object *member;
};

static int fetch(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                 struct error *err)
{
	const struct set_source *source = context;
	struct page_run away[IMAGE_BLOCK_PAGES]; /* no zero pages: at most so many */
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_runs; i++) {
		struct page_run run = runs[i];
		while (run.n_pages > 0) {
			uint64_t end, at = mm_away_from(source->member, run.start * MM_PAGE, &end);
			uint64_t n_pages = end / MM_PAGE - run.start;
			if (n_pages > run.n_pages)
				n_pages = run.n_pages;
			away[n++] = (struct page_run){ at / MM_PAGE, (uint32_t)n_pages, 0 };
			run.start += n_pages;
			run.n_pages -= (uint32_t)n_pages;
		}
	}
	return pages_read(&source->pages, away, n, buffer, err);
}

int mm_share_save(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mm_share *share = mm_live(object)->share;
	const struct page_range all = { .end = MM_TASK_END };
	int r = 0;

	for (size_t i = 0; share && i < share->n && r >= 0; i++) {
		const struct set *set = share->sets[i];
		struct set_source source = { PAGES_SOURCE_INIT, set->owner };
		source.pages.shared = &all;
		source.pages.n_shared = 1;
		r = pages_source_open(&source.pages, mm_live(set->owner)->task, err);
		if (r >= 0)
			r = pages_save(c->image, set->owner->id, set->id, set->ranges,
			               set->n_ranges, fetch, &source, c->options->progress, err);
		pages_source_close(&source.pages);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

uint64_t mm_share_bytes(const struct mm_share *share)
{
	uint64_t bytes = 0;

	for (size_t i = 0; share && i < share->n; i++)
		bytes += pages_bytes(share->sets[i]->ranges, share->sets[i]->n_ranges);
	return bytes;
}

void sets_forget(struct mm_share *share)
{
	for (size_t i = 0; i < share->n; i++) {
		free(share->sets[i]->ranges);
		free(share->sets[i]);
	}
	free(share->sets);
	*share = (struct mm_share){ 0 };
}

void mm_share_free(struct mm_share *share)
{
	if (!share)
		return;
	sets_forget(share);
	free(share);
}
