/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: pages shared by fork. Before a stub's first child is cloned, the page sets whose
 * members' nearest common ancestor it is are read from the stream and filled into it, in mappings
 * like the members' own (temporary, if it is no member itself). All children inherit them. When a
 * stub is installed, it keeps of the inheritance what its own mappings and page sets agree with.
 *
 * Within a line of ancestors every page is filled at most once; where an image says otherwise (the
 * parent wrote between two forks), what comes second is late: written into each member by itself,
 * correct but not shared.
 */
#include "kind/mm/share.h"

#include <fcntl.h>
#include <pthread.h>
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
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define CHUNK_PAGES 512u

/* a mapping made for inheritance, like mapping @like of a member but perhaps larger */
struct temporary {
	uint64_t start, end;
	const Mapping *like;
	uint32_t prot;
};

/* pages that were filled for inheritance */
struct filled {
	uint64_t start, end;
	const struct restart_set *set;
};

/* a block that came too early or cannot be shared */
struct late_block {
	struct late_block *next;
	struct page_block block; /* runs and data are behind it */
};

/* one page set at restart; kept by the owner's mm */
struct restart_set {
	const MmState__PageSet *message;
	struct inheritance *ancestor; /* where it is filled */
	uint64_t n_left;              /* pages that have not come yet */
	struct late_block *late;
};

/* what the descendants of one address space inherit from it; stub->private_mm of its first stub */
struct inheritance {
	struct stub *stub; /* the process whose address space it is */
	struct inheritance *parent;
	unsigned depth;
	bool filling, done;
	int mem;
	size_t n_sets; /* that are to be filled here and have not come wholly */
	struct temporary *temporaries;
	size_t n_temporaries;
	struct filled *filled;
	size_t n_filled;
	struct map *chunks; /* address / 2 MiB -> bit map of pages filled */
};

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

	for (void *chunk; (chunk = map_next(in->chunks, &cursor));)
		free(chunk);
	map_free(in->chunks);
	free(in->temporaries);
	free(in->filled);
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

/* for each mm its first stub, then for each page set where it is to be filled; once */
static void plan_sets(struct restart *r)
{
	struct mm *first_mm = NULL;
	size_t cursor = 0;

	for (size_t i = 0; i < r->n_stubs; i++) {
		struct object *o = stub_object(r->stubs[i], &mm_kind);
		if (o && !mm_live(o)->inheritance)
			mm_live(o)->inheritance = inheritance_of(r->stubs[i]);
	}
	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		const MmState *s = object_state(o, MmState);
		struct mm *mm = mm_live(o);
		first_mm = first_mm ? first_mm : mm;
		mm->sets = xcalloc(s->n_page_sets + 1, sizeof(*mm->sets));
		mm->n_sets = s->n_page_sets;
		for (size_t i = 0; i < s->n_page_sets; i++) {
			const MmState__PageSet *message = s->page_sets[i];
			struct inheritance *in = NULL;
			for (size_t k = 0; k < message->n_members; k++) {
				struct object *member = objects_by_id(r->objects,
				                                      message->members[k]);
				struct inheritance *own = mm_live(member)->inheritance;
				in = k ? common(in, own) : own;
			}
			mm->sets[i] = (struct restart_set){ message, in, message->n_pages, NULL };
			if (in && message->n_pages)
				in->n_sets++;
		}
	}
	if (first_mm)
		first_mm->planned = true;
}

static bool is_planned(struct restart *r)
{
	size_t cursor = 0;
	struct object *o = objects_next(r->objects, &mm_kind, &cursor);

	return o && mm_live(o)->planned;
}

/* ---- filling an ancestor ---- */

static bool same_backing(const Mapping *a, const Mapping *b)
{
	const uint64_t flags = MM_SHARED | MM_GROWSDOWN | MM_NORESERVE | MM_HUGETLB | MM_DROPPABLE;

	return a->backing == b->backing && a->object == b->object &&
	       (a->flags & flags) == (b->flags & flags) &&
	       (a->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS ||
	        a->offset - a->start == b->offset - b->start);
}

static struct temporary *find_temporary(struct inheritance *in, uint64_t start, uint64_t end)
{
	for (; in; in = in->parent)
		for (size_t i = 0; i < in->n_temporaries; i++)
			if (in->temporaries[i].start < end && start < in->temporaries[i].end)
				return &in->temporaries[i];
	return NULL;
}

static bool set_filled(struct inheritance *in, uint64_t start, uint64_t n_pages, bool query)
{
	for (uint64_t page = start; page < start + n_pages; page++) {
		uint64_t number = page / CHUNK_PAGES;
		uint64_t *bits = map_get(in->chunks, &number, sizeof(number));
		unsigned bit = (unsigned)(page % CHUNK_PAGES);

		if (query) {
			if (bits && bits[bit / 64] >> (bit % 64) & 1)
				return true;
			continue;
		}
		if (!bits) {
			bits = xcalloc(CHUNK_PAGES / 64, sizeof(*bits));
			map_put(in->chunks, &number, sizeof(number), bits);
		}
		bits[bit / 64] |= 1ull << (bit % 64);
	}
	return false;
}

static bool is_filled(struct inheritance *in, const struct page_run *run)
{
	for (; in; in = in->parent)
		if (set_filled(in, run->start, run->n_pages, true))
			return true;
	return false;
}

/*
 * The mapping at @start as the members have it, as large as any member of any set that is filled
 * here has it: a heap may have grown in one of them, and what is too large can be cut, but what is
 * too small never becomes one mapping again.
 */
static void widest(struct restart *r, const struct inheritance *in, uint64_t start,
                   struct temporary *ret)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		struct inheritance *own = mm_live(o)->inheritance;
		const Mapping *m = mm_mapping_at(object_state(o, MmState), start, start + MM_PAGE);

		if (!m || !own || common(own, (struct inheritance *)in) != in ||
		    !same_backing(m, ret->like))
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
 * Finds or makes the temporary mapping for a page. 1: it is there, until *ret_end; 0: it cannot be
 * had, something else lies there.
 */
static int temporary_for(struct restart *r, struct inheritance *in, const struct restart_set *set,
                         uint64_t start, uint64_t *ret_end, struct error *err)
{
	const struct object *member = objects_by_id(r->objects, set->message->members[0]);
	const Mapping *m = mm_mapping_at(object_state(member, MmState), start, start + MM_PAGE);

	if (!m || !mm_has_pages(m) || m->flags & (MM_HUGETLB | MM_DROPPABLE))
		return error_raise(err, EBADMSG, "a shared page at %llx that no mapping has",
		                   (unsigned long long)start);
	for (size_t k = 1; k < set->message->n_members; k++) {
		const struct object *o = objects_by_id(r->objects, set->message->members[k]);
		const Mapping *other = mm_mapping_at(object_state(o, MmState), start,
		                                     start + MM_PAGE);
		if (!other || !mm_has_pages(other))
			return error_raise(err, EBADMSG,
			                   "a shared page at %llx that a member lacks",
			                   (unsigned long long)start);
		if (!same_backing(m, other))
			return 0;
	}
	struct temporary *there = find_temporary(in, start, start + MM_PAGE);
	if (there) {
		*ret_end = there->end;
		return same_backing(there->like, m);
	}
	struct temporary t = { m->start, m->start + m->size, m, mm_fill_protection(m) };
	widest(r, in, start, &t);
	if (m->offset < m->start - t.start && m->backing == MM_STATE__MAPPING__BACKING__OBJECT)
		return 0;
	if (find_temporary(in, t.start, t.end))
		return 0;
	int ret = make_temporary(r, in, &t, err);
	if (ret < 0)
		return error_trace(err, ret);
	*array_push(in->temporaries, in->n_temporaries) = t;
	*ret_end = t.end;
	return 1;
}

static void add_late(struct restart_set *set, const struct page_block *block,
                     const struct page_run *runs, uint32_t n_runs, const void *data,
                     size_t data_size)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	size_t runs_size = n_runs * sizeof(*runs);
	struct late_block *late = xmalloc(sizeof(*late) + runs_size + data_size);

	late->block = *block;
	late->block.n_runs = n_runs;
	late->block.runs = memcpy(late + 1, runs, runs_size);
	late->block.data = (char *)(late + 1) + runs_size;
	late->block.data_size = data_size;
	if (data_size)
		memcpy((char *)(late + 1) + runs_size, data, data_size);
	pthread_mutex_lock(&lock);
	late->next = set->late;
	set->late = late;
	pthread_mutex_unlock(&lock);
}

/* fills a run, or as much of it as one mapping has; 0 = none of it can be shared */
static int64_t fill_early(struct restart *r, struct inheritance *in, struct restart_set *set,
                          const struct page_run *run, const char *data, struct error *err)
{
	struct fill_target target = { in->stub->host_tid, in->mem };
	uint64_t start = run->start * MM_PAGE, end = start + run->n_pages * MM_PAGE, stop = 0;

	int ret = temporary_for(r, in, set, start, &stop, err);
	if (ret <= 0)
		return ret;
	stop = stop < end ? stop : end;
	struct page_run part = { run->start, (uint32_t)((stop - start) / MM_PAGE), 0 };
	if (is_filled(in, &part))
		return 0;
	ret = run->zero ? fill_zero(&target, start, part.n_pages, err)
	                : fill_data(&target, &part, 1, data, err);
	if (ret < 0)
		return error_trace(err, ret);
	set_filled(in, part.start, part.n_pages, false);
	*array_push(in->filled, in->n_filled) = (struct filled){ start, stop, set };
	return part.n_pages;
}

static int fill_block(struct restart *r, struct inheritance *in, struct restart_set *set,
                      const struct page_block *block, struct error *err)
{
	const char *data = block->data;

	for (uint32_t i = 0; i < block->n_runs; i++) {
		struct page_run run = block->runs[i];
		while (run.n_pages > 0) {
			int64_t n = fill_early(r, in, set, &run, data, err);
			if (n < 0)
				return error_trace(err, (int)n);
			if (n == 0) { /* page by page: the next one may do */
				struct page_run one = { run.start, 1, run.zero };
				n = 1;
				add_late(set, block, &one, 1, data, run.zero ? 0 : MM_PAGE);
			}
			run.start += (uint64_t)n;
			run.n_pages -= (uint32_t)n;
			data += run.zero ? 0 : (uint64_t)n * MM_PAGE;
		}
	}
	return 0;
}

/* ---- late blocks ---- */

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

	if (!is_planned(r))
		plan_sets(r);
	if (block->page_set > mm->n_sets)
		return error_raise(err, EBADMSG, "page set %u of %zu", block->page_set, mm->n_sets);
	struct restart_set *set = &mm->sets[block->page_set - 1];
	if (members_installed(r, set))
		return fill_members(r, set, block, err);
	/* from here on the stubs are being made: there is one thread only */
	for (uint32_t i = 0; i < block->n_runs; i++)
		n_pages += block->runs[i].n_pages;
	if (n_pages > set->n_left)
		return error_raise(err, EBADMSG, "page set %u has more pages than it says",
		                   block->page_set);
	set->n_left -= n_pages;
	if (set->n_left == 0 && n_pages && set->ancestor)
		set->ancestor->n_sets--;
	if (set->ancestor && set->ancestor->filling)
		return fill_block(r, set->ancestor, set, block, err);
	add_late(set, block, block->runs, block->n_runs, block->data, block->data_size);
	return 0;
}

int mm_share_flush(struct restart *r, struct object *object, struct error *err)
{
	struct mm *mm = mm_live(object);
	int ret = 0;

	for (size_t i = 0; i < mm->n_sets && ret >= 0; i++)
		while (mm->sets[i].late && ret >= 0) {
			struct late_block *late = mm->sets[i].late;
			mm->sets[i].late = late->next;
			ret = fill_members(r, &mm->sets[i], &late->block, err);
			free(late);
		}
	return ret < 0 ? error_trace(err, ret) : 0;
}

/* what came before its ancestor's turn */
static int fill_early_late(struct restart *r, struct inheritance *in, struct error *err)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		struct mm *mm = mm_live(o);
		for (size_t i = 0; i < mm->n_sets; i++) {
			if (mm->sets[i].ancestor != in)
				continue;
			struct late_block *late = take_ptr(mm->sets[i].late);
			while (late) {
				struct late_block *next = late->next;
				int ret = fill_block(r, in, &mm->sets[i], &late->block, err);
				free(late);
				late = next;
				if (ret < 0)
					return error_trace(err, ret);
			}
		}
	}
	return 0;
}

static int fill_inheritance(struct restart *r, struct inheritance *in, struct error *err)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)in->stub->host_tid);
	in->mem = open(path, O_RDWR | O_CLOEXEC);
	if (in->mem < 0)
		return error_raise(err, errno, "opening %s", path);
	in->filling = true;
	int ret = fill_early_late(r, in, err);
	while (ret >= 0 && in->n_sets > 0) {
		ret = restart_next_block(r, err);
		if (ret == 0)
			return error_raise(err, EBADMSG, "the image lacks pages that are shared");
	}
	in->filling = false;
	close_p(&in->mem);
	return ret < 0 ? error_trace(err, ret) : 0;
}

static bool any_sets(const struct restart *r)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));)
		if (object_state(o, MmState)->n_page_sets)
			return true;
	return false;
}

int mm_before_clone(struct restart *r, struct stub *parent, struct stub *child, struct error *err)
{
	int ret = 0;

	if (!any_sets(r))
		return 0;
	if (!is_planned(r)) {
		plan_sets(r);
		/* mappings of the set may be wanted where the coordinator has its vDSO */
		ret = vdso_stage(r, parent, err);
	}
	struct inheritance *in = inheritance_of(parent);
	if (ret < 0 || in->done || inheritance_of(child) == in)
		return ret < 0 ? error_trace(err, ret) : 0;
	in->done = true;
	if (in->n_sets > 0)
		ret = fill_inheritance(r, in, err);
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

/* whether pages of a set that it is a member of lie in there */
static bool wants(struct inheritance *in, const struct temporary *t, uint32_t id)
{
	for (; in; in = in->parent)
		for (size_t i = 0; i < in->n_filled; i++)
			if (in->filled[i].start >= t->start && in->filled[i].start < t->end &&
			    is_member(in->filled[i].set, id))
				return true;
	return false;
}

static void queue_unmap(struct stub *stub, uint64_t start, uint64_t end)
{
	if (start < end)
		CALL(stub->calls, munmap, start, end - start);
}

/* keeps the parts of a temporary that mappings like it want; cuts the rest off */
static void adopt_temporary(struct mm *mm, const MmState *s, struct stub *stub,
                            const struct temporary *t)
{
	uint64_t at = t->start;

	for (size_t i = 0; i < s->n_mappings; i++) {
		const Mapping *m = s->mappings[i];
		uint64_t start = m->start > t->start ? m->start : t->start;
		uint64_t end = m->start + m->size < t->end ? m->start + m->size : t->end;

		if (start >= end || !mm_has_pages(m) || !same_backing(m, t->like))
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

static int by_start(const void *a, const void *b)
{
	const struct page_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* pages of sets that it is no member of become untouched again */
static void drop_foreign(struct mm *mm, struct inheritance *in, struct stub *stub, uint32_t id)
{
	for (; in; in = in->parent)
		for (size_t i = 0; i < in->n_filled; i++) {
			const struct filled *f = &in->filled[i];
			if (is_member(f->set, id))
				continue;
			for (size_t k = 0; k < mm->n_kept; k++) {
				uint64_t start = f->start > mm->kept[k].start ? f->start
				                                              : mm->kept[k].start;
				uint64_t end = f->end < mm->kept[k].end ? f->end : mm->kept[k].end;
				if (start < end)
					CALL(stub->calls, madvise, start, end - start,
					     MADV_DONTNEED);
			}
		}
}

int mm_share_adopt(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const MmState *s = object_state(object, MmState);
	struct mm *mm = mm_live(object);

	if (!is_planned(r))
		return 0;
	struct inheritance *in = inheritance_of(stub);
	for (struct inheritance *a = in; a; a = a->parent)
		for (size_t i = 0; i < a->n_temporaries; i++) {
			const struct temporary *t = &a->temporaries[i];
			if (wants(in, t, object->id))
				adopt_temporary(mm, s, stub, t);
			else
				queue_unmap(stub, t->start, t->end);
		}
	if (mm->n_kept)
		qsort(mm->kept, mm->n_kept, sizeof(*mm->kept), by_start);
	drop_foreign(mm, in, stub, object->id);
	int ret = calls_run(stub->calls, err);
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

void mm_share_release(struct mm *mm)
{
	for (size_t i = 0; i < mm->n_sets; i++)
		while (mm->sets[i].late) {
			struct late_block *next = mm->sets[i].late->next;
			free(mm->sets[i].late);
			mm->sets[i].late = next;
		}
	free(mm->sets);
	free(mm->kept);
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
