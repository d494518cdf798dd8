/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: what an image says of an address space is hostile until it has been through here. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kind/mm.h"
#include "kind/mm/mm.h"
#include "kind/mm/numa.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define AUXV_MAX 512 /* sizeof(mm->saved_auxv), include/linux/mm_types.h */

static int invalid(struct error *err, size_t index, const char *what)
{
	return error_raise(err, EBADMSG, "mapping %zu: %s", index, what);
}

static bool is_named(const Mapping *m, const char *name)
{
	return m->name.len == strlen(name) && !memcmp(m->name.data, name, m->name.len);
}

static bool has_open(const struct objects *objects, uint32_t id)
{
	const struct object *o = objects_by_id(objects, id);

	return o && o->kind->open;
}

static bool has_attach(const struct objects *objects, uint32_t id)
{
	const struct object *o = objects_by_id(objects, id);

	return o && o->kind->attach;
}

static int validate_kernel(const Mapping *m, size_t i, struct error *err)
{
	if (!is_named(m, "[vdso]") && !is_named(m, "[vvar]") && !is_named(m, "[vvar_vclock]"))
		return invalid(err, i, "no mapping of the kernel's is called that");
	if (m->size > MM_STAGING / 4)
		return invalid(err, i, "a mapping of the kernel's is too large");
	return 0;
}

/* one vDSO, and each of its data pages at most once */
static int validate_kernels_own(const MmState *s, struct error *err)
{
	const char *const names[] = { "[vdso]", "[vvar]", "[vvar_vclock]" };
	size_t n[3] = { 0 };

	for (size_t i = 0; i < s->n_mappings; i++)
		for (size_t k = 0; k < 3; k++)
			n[k] += s->mappings[i]->backing == MM_STATE__MAPPING__BACKING__KERNEL &&
			        is_named(s->mappings[i], names[k]);
	if (n[0] != 1 || n[1] > 1 || n[2] > 1)
		return error_raise(err, EBADMSG,
		                   "there are %zu vDSOs with %zu and %zu data mappings", n[0], n[1],
		                   n[2]);
	return 0;
}

static int validate_mapping(const struct objects *objects, const MmState *s, size_t i,
                            struct error *err)
{
	const Mapping *m = s->mappings[i];
	uint64_t before = i ? s->mappings[i - 1]->start + s->mappings[i - 1]->size : 0;

	if (m->start % MM_PAGE || m->size % MM_PAGE || m->size == 0)
		return invalid(err, i, "start or size is not a multiple of a page");
	if (m->start < before || m->start >= MM_TASK_END || m->size > MM_TASK_END - m->start)
		return invalid(err, i, "it overlaps another, or the end of the address space");
	if (m->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    m->flags & ~(uint64_t)MM_FLAGS_ALL || m->pkey > 15)
		return invalid(err, i, "protection or flags are unknown");
	if (!(m->flags & MM_HUGETLB) != !m->huge_shift ||
	    (m->huge_shift && (m->huge_shift < 12 || m->huge_shift > 40 ||
	                       (m->start | m->size) & ((1ull << m->huge_shift) - 1))))
		return invalid(err, i, "the huge page size does not fit");
	if (m->backing == MM_STATE__MAPPING__BACKING__KERNEL)
		return validate_kernel(m, i, err);
	if (m->name.len > 79 || (m->name.len && memchr(m->name.data, 0, m->name.len)))
		return invalid(err, i, "its name is too long"); /* ANON_VMA_NAME_MAX_LEN is 80 */
	if (m->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS)
		return m->flags & MM_SHARED ? invalid(err, i, "shared, but of nothing") : 0;
	if (m->backing != MM_STATE__MAPPING__BACKING__OBJECT)
		return invalid(err, i, "what is behind it is unknown");
	if (!has_open(objects, m->object) &&
	    !(m->flags & MM_SHARED && has_attach(objects, m->object)))
		return invalid(err, i, "it maps an object that is none or cannot be opened");
	if (m->offset % MM_PAGE || m->offset > INT64_MAX - m->size)
		return invalid(err, i, "its offset is invalid");
	return 0;
}

/* whether mappings of the program's cover a range without a hole */
static bool all_mapped(const MmState *s, uint64_t start, uint64_t end)
{
	while (start < end) {
		const Mapping *m = mm_mapping_at(s, start, start + MM_PAGE);
		if (!m || m->backing == MM_STATE__MAPPING__BACKING__KERNEL)
			return false;
		start = m->start + m->size;
	}
	return true;
}

static int validate_guards(const MmState *s, struct error *err)
{
	uint64_t before = 0;

	for (size_t i = 0; i < s->n_guards; i++) {
		const MmState__Range *g = s->guards[i];

		if (g->start % MM_PAGE || g->size % MM_PAGE || g->size == 0 || g->start < before ||
		    g->start >= MM_TASK_END || g->size > MM_TASK_END - g->start ||
		    !all_mapped(s, g->start, g->start + g->size))
			return error_raise(err, EBADMSG, "guard region %zu is invalid", i);
		before = g->start + g->size;
	}
	return 0;
}

static int validate_huge(MmState__Range *const *huge, size_t n, struct error *err)
{
	uint64_t before = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t start = huge[i]->start, size = huge[i]->size;

		if (start % PAGEMAP_HUGE_SIZE || size % PAGEMAP_HUGE_SIZE || size == 0 ||
		    start < before || start >= MM_TASK_END || size > MM_TASK_END - start)
			return error_raise(err, EBADMSG, "huge range %zu is invalid", i);
		before = start + size;
	}
	return 0;
}

/* each is written to before it is filled, so it must not be shared with a file */
static int validate_own_huge(const MmState *s, struct error *err)
{
	int r = validate_huge(s->huge, s->n_huge, err);

	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < s->n_huge; i++) {
		uint64_t at = s->huge[i]->start, end = at + s->huge[i]->size;
		while (at < end) {
			const Mapping *m = mm_mapping_at(s, at, at + MM_PAGE);
			if (!m || !mm_has_pages(m))
				return error_raise(err, EBADMSG,
				                   "huge range %zu is in no private mapping", i);
			at = m->start + m->size;
		}
	}
	return 0;
}

static int compare_homes(const void *a, const void *b)
{
	const MmState__Home *x = *(MmState__Home *const *)a, *y = *(MmState__Home *const *)b;

	return (x->home > y->home) - (x->home < y->home);
}

/* neither where they are nor at home do any two overlap */
static int validate_homes(const MmState *s, struct error *err)
{
	_cleanup_(free_p) MmState__Home **homes = xmemdup(s->homes, s->n_homes * sizeof(*s->homes));
	uint64_t before = 0;

	for (size_t i = 0; i < s->n_homes; i++) {
		const MmState__Home *h = s->homes[i];

		if (h->start % MM_PAGE || h->size % MM_PAGE || h->home % MM_PAGE || h->size == 0 ||
		    h->start < before || h->start >= MM_TASK_END ||
		    h->size > MM_TASK_END - h->start || h->home >= MM_TASK_END ||
		    h->size > MM_TASK_END - h->home || !all_mapped(s, h->start, h->start + h->size))
			return error_raise(err, EBADMSG, "home %zu is invalid", i);
		before = h->start + h->size;
	}
	if (s->n_homes)
		qsort(homes, s->n_homes, sizeof(*homes), compare_homes);
	for (size_t i = 1; i < s->n_homes; i++)
		if (homes[i]->home < homes[i - 1]->home + homes[i - 1]->size)
			return error_raise(err, EBADMSG, "homes overlap at %llx",
			                   (unsigned long long)homes[i]->home);
	return 0;
}

static int validate_page_sets(const struct objects *objects, const MmState *s, struct error *err)
{
	for (size_t i = 0; i < s->n_page_sets; i++) {
		const MmState__PageSet *set = s->page_sets[i];

		/* numbered in order, so that a block finds its set by index */
		if (set->id != i + 1 || set->n_members < 2 || set->n_pages == 0 ||
		    set->n_pages > MM_TASK_END / MM_PAGE)
			return error_raise(err, EBADMSG, "page set %zu is invalid", i);
		int r = validate_huge(set->huge, set->n_huge, err);
		if (r < 0)
			return error_trace(err, r);
		for (size_t k = 0; k < set->n_members; k++) {
			const struct object *o = objects_by_id(objects, set->members[k]);
			if (!o || o->kind != &mm_kind ||
			    (k && set->members[k] <= set->members[k - 1]))
				return error_raise(err, EBADMSG, "page set %zu has member %u", i,
				                   set->members[k]);
		}
	}
	return 0;
}

static int validate_layout(const struct objects *objects, const MmState *s, struct error *err)
{
	const uint64_t pairs[][2] = {
		{ s->start_code, s->end_code }, { s->start_data, s->end_data },
		{ s->start_brk, s->brk },       { s->arg_start, s->arg_end },
		{ s->env_start, s->env_end },   { s->start_stack, s->start_stack },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (pairs[i][0] > pairs[i][1] || pairs[i][1] > MM_TASK_END)
			return error_raise(err, EBADMSG,
			                   "the layout of the address space is invalid");
	if (s->auxv.len > AUXV_MAX || s->auxv.len % 16)
		return error_raise(err, EBADMSG, "the auxiliary vector has %zu bytes", s->auxv.len);
	if (!has_open(objects, s->exe))
		return error_raise(err, EBADMSG, "the executable is no object that can be opened");
	if (s->lock_future != 0 && s->lock_future != MCL_FUTURE &&
	    s->lock_future != (MCL_FUTURE | MCL_ONFAULT))
		return error_raise(err, EBADMSG, "lock_future is %u", s->lock_future);
	return 0;
}

int mm_validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const MmState *s = object_state(object, MmState);
	int r = 0;

	for (size_t i = 0; i < s->n_mappings && r >= 0; i++)
		r = validate_mapping(objects, s, i, err);
	if (r >= 0)
		r = validate_kernels_own(s, err);
	if (r >= 0 && s->pkeys & ~0xfffeu)
		r = error_raise(err, EBADMSG, "protection keys 0x%x", s->pkeys);
	if (r >= 0)
		r = validate_guards(s, err);
	if (r >= 0)
		r = validate_own_huge(s, err);
	if (r >= 0)
		r = validate_homes(s, err);
	if (r >= 0)
		r = validate_page_sets(objects, s, err);
	if (r >= 0)
		r = mm_validate_policies(s, err);
	if (r >= 0)
		r = validate_layout(objects, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}
