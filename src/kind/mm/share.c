/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: pages shared by fork. Before a stub clones a child, the page sets that this child or its
 * descendants share with what the stub clones later, or with the stub itself, are read from the
 * stream and filled into the stub, in mappings like the members' own (temporary, if it is no member
 * itself). The children inherit them. When a stub is installed, it keeps of the inheritance what
 * its own mappings and page sets agree with.
 *
 * A page that the parent wrote between two forks is in two sets: the second is filled over the
 * first, as the parent did, when all members of the first have been cloned. Where an image says
 * what no order of forks can make, what comes second is late: written into each member by itself,
 * correct but not shared.
 */
#include "kind/mm/share.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/restart.h"
#include "image/image.h"
#include "kind/mm.h"
#include "kind/mm/fill.h"
#include "kind/mm/vdso.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define CHUNK_PAGES 512u
#define ALWAYS      UINT32_MAX /* as phase: after all children have been cloned */

/* a mapping made for inheritance, like mapping @like of a member but perhaps larger */
struct temporary {
	uint64_t start, end;
	const Mapping *like;
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
	bool staged; /* all stubs have the vDSO in these places */
	struct vdso_places vdso;
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
	struct stub *stub; /* the process whose address space it is */
	struct inheritance *parent;
	unsigned depth;
	uint32_t index; /* which of the parent's children it is, in the order of their clones */
	uint32_t n_children;
	uint32_t phase; /* the child that is about to be cloned */
	bool filling;
	int mem;
	size_t *n_due; /* for each child: sets that are due and have not come wholly; NULL = none */
	struct temporary *temporaries; /* ascending */
	size_t n_temporaries;
	struct map *chunks; /* address / 2 MiB -> struct chunk */
	/* the last answer of blocks_phase() */
	uint32_t asked_set, asked_phase;
	bool blocks;
};

static struct sharing *sharing_of(const struct restart *r)
{
	size_t cursor = 0;
	struct object *o = objects_next(r->objects, &mm_kind, &cursor);

	return o ? mm_live(o)->sharing : NULL;
}

/* the address space that a stub runs in: that of its creator if they share it (CLONE_VM) */
static struct inheritance *inheritance_of(struct stub *stub)
{
	struct stub *s = stub->leader;

	if (s->private_mm)
		return s->private_mm;
	const struct object *mm = stub_object(s, &mm_kind);
	struct inheritance *parent = s->parent ? inheritance_of(s->parent) : NULL;
	if (parent && mm && stub_object(parent->stub, &mm_kind) == mm) {
		s->private_mm = parent;
		return parent;
	}
	struct inheritance *in = xcalloc(1, sizeof(*in));
	in->stub = s;
	in->parent = parent;
	in->depth = parent ? parent->depth + 1 : 0;
	in->mem = -1;
	in->chunks = map_new();
	s->private_mm = in;
	return in;
}

static void inheritance_free(struct inheritance *in)
{
	size_t cursor = 0;

	for (struct chunk *c; (c = map_next(in->chunks, &cursor));) {
		free(c->pages);
		free(c->old);
		free(c);
	}
	map_free(in->chunks);
	free(in->temporaries);
	free(in->n_due);
	close_p(&in->mem);
	free(in);
}

static struct inheritance *common(struct inheritance *a, struct inheritance *b)
{
	while (a != b) {
		if (!a || !b)
			return NULL;
		if (a->depth >= b->depth)
			a = a->parent;
		else
			b = b->parent;
	}
	return a;
}

/* the child of @in that @own is or descends from; NULL if it is @in itself, or no descendant */
static struct inheritance *branch(const struct inheritance *in, struct inheritance *own)
{
	while (own && own->parent != in)
		own = own->parent;
	return own;
}

/* ---- the plan ---- */

/* numbers the children of each address space in the order in which they will be cloned */
static void number_children(struct restart *r)
{
	for (size_t i = 0; i < r->plan->n_steps; i++) {
		const struct plan_step *step = &r->plan->steps[i];
		if (step->action != PLAN_CLONE)
			continue;
		struct inheritance *in = inheritance_of(r->stubs[step->node]);
		if (in->stub == r->stubs[step->node] && in->parent)
			in->index = in->parent->n_children++;
	}
}

static int plan_set(struct restart *r, struct restart_set *set, struct error *err)
{
	const MmState__PageSet *message = set->message;
	struct inheritance *in = NULL;

	for (size_t k = 0; k < message->n_members; k++) {
		struct object *o = objects_by_id(r->objects, message->members[k]);
		struct inheritance *own = mm_live(o)->inheritance;
		if (!own)
			return error_raise(err, EBADMSG,
			                   "address space %u shares pages, but no task has it",
			                   o->id);
		in = k ? common(in, own) : own;
	}
	set->ancestor = in;
	set->phase = ALWAYS;
	for (size_t k = 0; in && k < message->n_members; k++) {
		struct object *o = objects_by_id(r->objects, message->members[k]);
		const struct inheritance *child = branch(in, mm_live(o)->inheritance);
		if (child && child->index < set->phase)
			set->phase = child->index;
	}
	if (!in || set->phase == ALWAYS || !message->n_pages)
		return 0;
	if (!in->n_due)
		in->n_due = xcalloc(in->n_children, sizeof(*in->n_due));
	in->n_due[set->phase]++;
	return 0;
}

/* for each mm its first stub, then for each page set where and when it is to be filled; once */
static int plan_sharing(struct restart *r, struct sharing **ret, struct error *err)
{
	struct sharing *sharing = xcalloc(1, sizeof(*sharing));
	struct mm *first = NULL;
	size_t cursor = 0;
	int e = 0;

	number_children(r);
	for (size_t i = 0; i < r->n_stubs; i++) {
		struct object *o = stub_object(r->stubs[i], &mm_kind);
		if (o && !mm_live(o)->inheritance)
			mm_live(o)->inheritance = inheritance_of(r->stubs[i]);
	}
	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		const MmState *s = object_state(o, MmState);
		struct mm *mm = mm_live(o);
		first = first ? first : mm;
		mm->sets = xcalloc(s->n_page_sets + 1, sizeof(*mm->sets));
		mm->n_sets = s->n_page_sets;
		for (size_t i = 0; i < s->n_page_sets && e == 0; i++) {
			struct restart_set *set = &mm->sets[i];
			*array_push(sharing->sets, sharing->n) = set;
			set->message = s->page_sets[i];
			set->number = (uint32_t)sharing->n;
			set->n_left = set->message->n_pages;
			set->late_end = &set->late;
			e = plan_set(r, set, err);
		}
	}
	*ret = sharing;
	if (first)
		first->sharing = sharing;
	else
		free(take_ptr(*ret));
	return e;
}

static int sharing_get(struct restart *r, struct sharing **ret, struct error *err)
{
	*ret = sharing_of(r);
	return *ret ? 0 : plan_sharing(r, ret, err);
}

/* ---- which set a page is of ---- */

static struct chunk *chunk_at(const struct inheritance *in, uint64_t number)
{
	return map_get(in->chunks, &number, sizeof(number));
}

/* the set that a page of a chunk is of for those who see what was filled up to @phase */
static uint32_t chunk_set(const struct sharing *sharing, const struct chunk *c, unsigned page,
                          uint32_t phase)
{
	uint32_t set = c->pages ? c->pages[page] : c->whole;

	if (!set || sharing->sets[set - 1]->phase <= phase || phase == ALWAYS)
		return set;
	for (size_t i = c->n_old; i-- > 0;)
		if (page >= c->old[i].first && page < c->old[i].first + c->old[i].n &&
		    sharing->sets[c->old[i].set - 1]->phase <= phase)
			return c->old[i].set;
	return 0;
}

/* what an address space and those above it have of one chunk, as far as it sees that */
struct lens {
	const struct sharing *sharing;
	struct {
		const struct chunk *chunk;
		uint32_t phase;
	} * levels;
	size_t n;
};

static struct lens lens_new(const struct sharing *sharing, const struct inheritance *in)
{
	struct lens lens = { .sharing = sharing };

	lens.levels = xcalloc(in->depth + 1u, sizeof(*lens.levels));
	return lens;
}

static void lens_done(struct lens *lens)
{
	free(lens->levels);
}

static void lens_focus(struct lens *lens, const struct inheritance *in, uint64_t number)
{
	uint32_t phase = ALWAYS;

	lens->n = 0;
	for (; in; phase = in->index, in = in->parent) {
		const struct chunk *c = chunk_at(in, number);
		if (!c)
			continue;
		lens->levels[lens->n].chunk = c;
		lens->levels[lens->n++].phase = phase;
	}
}

static uint32_t lens_set(const struct lens *lens, unsigned page)
{
	uint32_t set = 0;

	for (size_t i = 0; i < lens->n && !set; i++)
		set = chunk_set(lens->sharing, lens->levels[i].chunk, page, lens->levels[i].phase);
	return set;
}

static void expand(struct chunk *c)
{
	if (c->pages)
		return;
	c->pages = xmalloc(CHUNK_PAGES * sizeof(*c->pages));
	for (unsigned i = 0; i < CHUNK_PAGES; i++)
		c->pages[i] = c->whole;
}

static void collapse(struct chunk *c)
{
	for (unsigned i = 1; i < CHUNK_PAGES; i++)
		if (c->pages[i] != c->pages[0])
			return;
	c->whole = c->pages[0];
	free(c->pages);
	c->pages = NULL;
}

static void remember_old(struct chunk *c, unsigned page)
{
	struct old *last = c->n_old ? &c->old[c->n_old - 1] : NULL;

	if (!c->pages[page])
		return;
	if (last && last->set == c->pages[page] && last->first + last->n == page)
		last->n++;
	else
		*array_push(c->old, c->n_old) = (struct old){ (uint16_t)page, 1, c->pages[page] };
}

/* notes that the pages have been filled from a set */
static void note_filled(struct inheritance *in, uint64_t start, uint64_t n_pages, uint32_t set)
{
	for (uint64_t page = start; page < start + n_pages; page++) {
		uint64_t number = page / CHUNK_PAGES;
		unsigned at = (unsigned)(page % CHUNK_PAGES);
		struct chunk *c = chunk_at(in, number);
		if (!c) {
			c = xcalloc(1, sizeof(*c));
			map_put(in->chunks, &number, sizeof(number), c);
		}
		expand(c);
		remember_old(c, at);
		c->pages[at] = set;
		if (at == CHUNK_PAGES - 1)
			collapse(c);
	}
}

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
		const struct inheritance *child = branch(in, own);
		in->blocks = own == in || (child && child->index >= in->phase);
	}
	return in->blocks;
}

/* how many pages from @start on may be filled now; or, negated, how many may not */
static int64_t free_pages(struct restart *r, const struct sharing *sharing, struct inheritance *in,
                          uint64_t start, uint64_t n_pages)
{
	struct lens lens = lens_new(sharing, in);
	uint64_t focus = UINT64_MAX, n = 0;
	bool first = false;

	for (; n < n_pages; n++) {
		uint64_t page = start + n;
		if (page / CHUNK_PAGES != focus) {
			focus = page / CHUNK_PAGES;
			lens_focus(&lens, in, focus);
		}
		uint32_t set = lens.n ? lens_set(&lens, (unsigned)(page % CHUNK_PAGES)) : 0;
		bool is_free = !set || !blocks_phase(r, sharing, in, set);
		if (n == 0)
			first = is_free;
		else if (is_free != first)
			break;
	}
	lens_done(&lens);
	return first ? (int64_t)n : -(int64_t)n;
}

static bool same_backing(const Mapping *a, const Mapping *b)
{
	const uint64_t flags = MM_SHARED | MM_GROWSDOWN | MM_NORESERVE | MM_HUGETLB | MM_DROPPABLE;

	return a->backing == b->backing && a->object == b->object &&
	       a->huge_shift == b->huge_shift && (a->flags & flags) == (b->flags & flags) &&
	       (a->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS ||
	        a->offset - a->start == b->offset - b->start);
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

/*
 * The mapping at @start as the members have it, as large as any descendant has it: a heap may have
 * grown in one of them, and what is too large can be cut, but what is too small never becomes one
 * mapping again.
 */
static void widest(struct restart *r, const struct inheritance *in, uint64_t start,
                   struct temporary *ret)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		struct inheritance *own = mm_live(o)->inheritance;
		const Mapping *m = mm_mapping_at(object_state(o, MmState), start, start + MM_PAGE);

		if (!m || !own || !same_backing(m, ret->like) ||
		    common(own, (struct inheritance *)in) != in)
			continue;
		if (m->start < ret->start)
			ret->start = m->start;
		if (m->start + m->size > ret->end)
			ret->end = m->start + m->size;
	}
}

static int make_temporary(struct restart *r, struct inheritance *in, const struct temporary *t,
                          struct error *err)
{
	struct stub *stub = in->stub;
	Mapping like = *t->like;
	int ret, fd = -1;

	/* the same mapping, cut out larger */
	like.offset = t->like->offset - (t->like->start - t->start);
	like.start = t->start;
	like.size = t->end - t->start;
	if (like.backing == MM_STATE__MAPPING__BACKING__OBJECT) {
		struct object *o = objects_by_id(r->objects, like.object);
		ret = o->kind->open(r, o, O_RDONLY, &fd, err);
		if (ret < 0)
			return error_trace(err, ret);
		ret = stub_send_fds(r, stub, &fd, 1, err);
		close(fd);
		if (ret < 0)
			return error_trace(err, ret);
	}
	mm_queue_map(stub, &like, t->start, t->end, fd < 0 ? -1 : 0);
	if (fd >= 0)
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
                 const Mapping **ret_like, uint64_t *ret_end, struct error *err)
{
	uint64_t low = 0, high = UINT64_MAX;
	bool agreed = true;

	for (size_t k = 0; k < set->message->n_members; k++) {
		const struct object *o = objects_by_id(r->objects, set->message->members[k]);
		const Mapping *m = mm_mapping_at(object_state(o, MmState), start, start + MM_PAGE);
		if (k == 0)
			*ret_like = m;
		if (k > 0 && start >= set->agreed_start && start < set->agreed_end)
			break; /* asked before */
		if (!m || !mm_has_pages(m) || m->flags & MM_DROPPABLE)
			return error_raise(err, EBADMSG,
			                   "a shared page at %llx that no mapping has",
			                   (unsigned long long)start);
		agreed = agreed && same_backing(*ret_like, m);
		low = m->start > low ? m->start : low;
		high = m->start + m->size < high ? m->start + m->size : high;
	}
	if (start < set->agreed_start || start >= set->agreed_end) {
		set->agreed = agreed;
		set->agreed_start = low;
		set->agreed_end = high;
	}
	*ret_end = set->agreed_end;
	return set->agreed;
}

/*
 * Finds or makes the temporary mapping for a page. 1: it is there, until *ret_end; 0: it cannot be
 * had, something else lies there.
 */
static int temporary_for(struct restart *r, struct inheritance *in, struct restart_set *set,
                         uint64_t start, uint64_t *ret_end, struct error *err)
{
	const Mapping *m = NULL;
	int ret = agree(r, set, start, &m, ret_end, err);

	if (ret <= 0 || !m)
		return ret;
	const struct temporary *there = find_temporary(in, start, start + MM_PAGE);
	if (there) {
		if (there->end < *ret_end)
			*ret_end = there->end;
		return same_backing(there->like, m);
	}
	struct temporary t = { m->start, m->start + m->size, m, mm_fill_protection(m), in->phase };
	widest(r, in, start, &t);
	if (m->offset < m->start - t.start && m->backing == MM_STATE__MAPPING__BACKING__OBJECT)
		return 0;
	if (find_temporary(in, t.start, t.end))
		return 0;
	ret = make_temporary(r, in, &t, err);
	if (ret < 0)
		return error_trace(err, ret);
	add_temporary(in, &t);
	return 1;
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

/*
 * Fills a run, or as much of it as one mapping has: how many pages. Negative: so many cannot be
 * shared. 0: an error.
 */
static int64_t fill_early(struct restart *r, struct inheritance *in, struct restart_set *set,
                          const struct page_run *run, const char *data, struct error *err)
{
	struct fill_target target = { in->stub->host_tid, in->mem };
	uint64_t start = run->start * MM_PAGE, end = start + run->n_pages * MM_PAGE, stop = 0;
	const struct sharing *sharing = sharing_of(r);

	int ret = temporary_for(r, in, set, start, &stop, err);
	if (ret < 0)
		return 0;
	if (ret == 0)
		return -1; /* page by page: the next one may do */
	stop = stop < end ? stop : end;
	int64_t n = free_pages(r, sharing, in, run->start, (stop - start) / MM_PAGE);
	if (n < 0)
		return n;
	struct page_run part = { run->start, (uint32_t)n, 0 };
	ret = run->zero ? fill_zero(&target, start, part.n_pages, err)
	                : fill_data(&target, &part, 1, data, err);
	if (ret < 0)
		return 0;
	note_filled(in, part.start, part.n_pages, set->number);
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

static int fill_members(struct restart *r, const struct restart_set *set,
                        const struct page_block *block, struct error *err)
{
	for (size_t k = 0; k < set->message->n_members; k++) {
		struct object *member = objects_by_id(r->objects, set->message->members[k]);
		int ret = mm_fill_block(member, block, err);
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

static struct late_block *take_late(struct restart_set *set)
{
	struct late_block *late = take_ptr(set->late);

	set->late_end = &set->late;
	return late;
}

static void late_free(struct late_block *late)
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
		struct late_block *all = take_late(&mm->sets[i]);
		for (struct late_block *late = all; late && ret >= 0; late = late->next)
			ret = fill_members(r, &mm->sets[i], &late->block, err);
		late_free(all);
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
		struct late_block *all = take_late(set);
		for (struct late_block *late = all; late && ret >= 0; late = late->next)
			ret = fill_block(r, in, set, &late->block, err);
		late_free(all);
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
	struct sharing *sharing = sharing_of(r);
	bool first = !sharing;
	int ret = sharing_get(r, &sharing, err);

	if (ret < 0)
		return error_trace(err, ret);
	if (!sharing || !sharing->n)
		return 0;
	if (first) /* mappings of the set may be wanted where the coordinator has its vDSO */
		ret = vdso_stage(r, parent, &sharing->vdso, err);
	if (first && ret >= 0)
		sharing->staged = true;
	struct inheritance *in = inheritance_of(parent), *own = inheritance_of(child);
	if (ret < 0 || own == in || own->stub != child)
		return ret < 0 ? error_trace(err, ret) : 0;
	in->phase = own->index;
	if (any_due(sharing, in))
		ret = fill_inheritance(r, sharing, in, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

/* ---- what a stub keeps of its inheritance ---- */

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
	struct lens lens = lens_new(sharing, in);
	uint64_t page = t->start / MM_PAGE, end = t->end / MM_PAGE;

	while (page < end) {
		uint64_t stop = (page / CHUNK_PAGES + 1) * CHUNK_PAGES;
		lens_focus(&lens, in, page / CHUNK_PAGES);
		stop = stop < end ? stop : end;
		for (; lens.n && page < stop; page++)
			sift_page(&sifted, sharing, lens_set(&lens, (unsigned)(page % CHUNK_PAGES)),
			          id, page * MM_PAGE);
		page = stop;
	}
	lens_done(&lens);
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

		if (!mm_has_pages(m) || !same_backing(m, t->like))
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
	int ret = sharing_get(r, &sharing, err);

	if (ret < 0)
		return error_trace(err, ret);
	if (!sharing || !sharing->n)
		return 0;
	struct inheritance *in = inheritance_of(stub);
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

const struct vdso_places *mm_share_vdso(const struct restart *r)
{
	const struct sharing *sharing = sharing_of(r);

	return sharing && sharing->staged ? &sharing->vdso : NULL;
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

void mm_share_release(struct mm *mm)
{
	for (size_t i = 0; i < mm->n_sets; i++)
		late_free(take_late(&mm->sets[i]));
	if (mm->sharing)
		free(mm->sharing->sets);
	free(mm->sharing);
	free(mm->sets);
	free(mm->kept);
	mm->sharing = NULL;
	mm->sets = NULL;
	mm->n_sets = 0;
	mm->kept = NULL;
	mm->n_kept = 0;
}

void mm_share_forget(struct stub *stub)
{
	struct inheritance *in = stub->private_mm;

	if (in && in->stub == stub)
		inheritance_free(in);
	stub->private_mm = NULL;
}
