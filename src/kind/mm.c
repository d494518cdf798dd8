/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind mm: the operations; what they do is in mm/. See mm.h. */
#include "kind/mm.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "image/image.h"
#include "kind/mm/huge.h"
#include "kind/mm/mm.h"
#include "kind/mm/pkeys.h"
#include "kind/mm/share.h"
#include "kind/mm/vdso.h"
#include "task/area.h"
#include "task/kcmp.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct mm *mm_live(struct object *object)
{
	if (!object->live) {
		struct mm *mm = xcalloc(1, sizeof(*mm));
		mm->mem = -1;
		object->live = mm;
	}
	return object->live;
}

bool mm_has_pages(const Mapping *m)
{
	return m->backing != MM_STATE__MAPPING__BACKING__KERNEL && !(m->flags & MM_SHARED);
}

/*
 * A private mapping is filled through a writable one if that leaves no trace: it was accounted for
 * when it became writable, or never is (MAP_NORESERVE, hugetlb). Else /proc/PID/mem forces it.
 * What was reserved for an allocator to grow into (PROT_NONE) stays a mapping of its own: as one
 * with its neighbour it would get a huge page, where the kernel is set to always give them.
 */
bool mm_fill_writable(const Mapping *m)
{
	if (m->prot == PROT_NONE && !(m->flags & (MM_ACCOUNTED | MM_HUGETLB)) &&
	    feature(FEATURE_proc_mem_force))
		return false;
	return mm_has_pages(m) &&
	       (m->prot & PROT_WRITE || m->flags & (MM_ACCOUNTED | MM_NORESERVE | MM_HUGETLB));
}

const Mapping *mm_mapping_at(const MmState *s, uint64_t start, uint64_t end)
{
	size_t low = 0, high = s->n_mappings;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const Mapping *m = s->mappings[middle];
		if (start < m->start)
			high = middle;
		else if (start >= m->start + m->size)
			low = middle + 1;
		else
			return end <= m->start + m->size ? m : NULL;
	}
	return NULL;
}

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object = NULL;
	bool is_new = false;
	int r = kcmp_object(c, &mm_kind, KCMP_VM, task, &object, &is_new, err);

	if (r < 0)
		return error_trace(err, r);
	task_refer(task, object);
	if (!is_new)
		return 0;
	r = mm_collect_state(c, task, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

struct mm_descent mm_descent(const struct task *task)
{
	const struct object *object = task_object(task, &mm_kind);
	const struct mm *mm = object ? object->live : NULL;

	if (!mm || mm->task->leader != task)
		return (struct mm_descent){ 0 };
	return (struct mm_descent){ mm->turn, mm->maker, mm->stand_ins, mm->n_stand_ins };
}

static bool is_first(const struct checkpoint *c, const struct object *object)
{
	size_t cursor = 0;

	return objects_next(c->objects, &mm_kind, &cursor) == object;
}

/* a restart needs room that no address space uses; dead relatives may get stubs, too */
static void judge_hole(struct checkpoint *c, const struct mm *mm)
{
	struct error refusal = ERROR_INIT, why = ERROR_INIT;
	uint64_t hole;

	if (mm_hole(c->objects, area_size(2 * c->n_tasks), &hole, &why) != -ENOMEM)
		return;
	error_refuse(&refusal, CODE_mm_full,
	             "together the address spaces leave no hole for a restart to work in");
	error_hint(&refusal, "let the program reserve less address space");
	refuse(c, mm->task, &refusal);
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mm *mm = mm_live(object);
	struct error refusal = ERROR_INIT;
	int r = 0;

	if (is_first(c, object)) {
		judge_hole(c, mm);
		check_unexamined(c, NULL, "contents of memory", CODE_mm_uprobes);
	}
	if (c->tracer && is_first(c, object)) { /* all are known now */
		r = mm_scan_pages(c, err);
		if (r >= 0)
			r = mm_share_find(c, err);
		mm_huge_tell(c);
	}
	if (r < 0)
		return error_trace(err, r);
	if (protobuf_c_message_get_packed_size(object->message) > IMAGE_RECORD_MAX) {
		const MmState *s = object_state(object, MmState);
		error_refuse(&refusal, CODE_mm_too_many,
		             "%zu mappings and %zu guard regions do not fit into one record",
		             s->n_mappings, s->n_guards);
		refuse(c, mm->task, &refusal);
	}
	return 0;
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	size_t cursor = 0;
	int r = 0;

	if (is_first(c, object)) /* what is shared is filled first */
		for (struct object *o; r >= 0 && (o = objects_next(c->objects, &mm_kind, &cursor));)
			r = mm_share_save(c, o, err);
	if (r >= 0)
		r = mm_save_pages(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static void need(struct restart *r, enum feature f, const char *what)
{
	struct error refusal = ERROR_INIT;

	if (feature(f))
		return;
	error_refuse(&refusal, CODE_not_supported, "the image has %s, which this kernel lacks",
	             what);
	restart_refuse(r, &refusal);
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	const MmState *s = object_state(object, MmState);
	struct error refusal = ERROR_INIT;
	uint64_t flags = 0;

	for (size_t i = 0; i < s->n_mappings; i++)
		if (s->mappings[i]->backing != MM_STATE__MAPPING__BACKING__KERNEL)
			flags |= s->mappings[i]->flags;
	if (flags & MM_SEALED)
		need(r, FEATURE_mseal, "sealed mappings");
	if (flags & MM_DROPPABLE)
		need(r, FEATURE_map_droppable, "droppable mappings");
	if (s->n_guards)
		need(r, FEATURE_madv_guard, "guard regions");
	mm_pkeys_preflight(r, s);
	if (vdso_fits(s, &refusal) < 0)
		restart_refuse(r, &refusal);
	return 0;
}

static void release(struct object *object)
{
	struct mm *mm = object->live;

	if (!mm)
		return;
	close_p(&mm->mem);
	free(mm->pages);
	free(mm->huge);
	free(mm->partly);
	free(mm->stand_ins);
	free(mm->told);
	free(mm->homes);
	mm_share_free(mm->share);
	mm_share_release(mm);
	free(mm);
	object->live = NULL;
}

/* ---- the hole ---- */

struct taken {
	uint64_t start, end;
};

static int by_start(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int own_mappings(struct taken **ret, size_t *ret_n, struct error *err)
{
	char line[512];
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/maps", "re");

	if (!f)
		return error_raise(err, errno, "opening /proc/self/maps");
	while (fgets(line, sizeof(line), f)) {
		unsigned long long start, end;
		if (sscanf(line, "%llx-%llx", &start, &end) == 2 && end <= MM_TASK_END)
			*array_push(*ret, *ret_n) = (struct taken){ start, end };
	}
	return 0;
}

/* in what is sorted; 0: there is none */
static uint64_t hole_between(const struct taken *taken, size_t n, uint64_t size, uint64_t margin)
{
	uint64_t at = 1ull << 32; /* programs may want the first 4 GiB for themselves */

	for (size_t i = 0; i < n; i++) {
		if (taken[i].start > at && taken[i].start - at >= size + 2 * margin)
			break;
		if (taken[i].end > at)
			at = taken[i].end;
	}
	return at + margin > MM_TASK_END - size ? 0 : at + margin;
}

int mm_hole(const struct objects *objects, uint64_t size, uint64_t *ret, struct error *err)
{
	struct taken *taken = NULL;
	size_t n = 0, cursor = 0;
	int r = own_mappings(&taken, &n, err);

	for (const struct object *o; r >= 0 && (o = objects_next(objects, &mm_kind, &cursor));) {
		const MmState *s = object_state(o, MmState);
		for (size_t i = 0; i < s->n_mappings; i++)
			*array_push(taken, n) = (struct taken){
				s->mappings[i]->start, s->mappings[i]->start + s->mappings[i]->size
			};
		for (size_t i = 0; i < s->n_homes; i++)
			*array_push(taken,
			            n) = (struct taken){ s->homes[i]->home,
				                         s->homes[i]->home + s->homes[i]->size };
	}
	if (r < 0) {
		free(taken);
		return error_trace(err, r);
	}
	if (n)
		qsort(taken, n, sizeof(*taken), by_start);
	size += MM_STAGING;
	*ret = hole_between(taken, n, size, 1ull << 30); /* stacks grow, and heaps */
	if (!*ret)
		*ret = hole_between(taken, n, size, 2ull << 20); /* more than stack_guard_gap */
	free(taken);
	if (!*ret)
		return error_raise(err, ENOMEM,
		                   "the address spaces of the image leave no hole of %llu bytes",
		                   (unsigned long long)size);
	return 0;
}

const struct kind mm_kind = {
	.name = "mm",
	.number = 10,
	.message = &mm_state__descriptor,
	.clone_flag = CLONE_VM,
	.collect = collect,
	.judge = judge,
	.save_bulk = save_bulk,
	.bulk_bytes = mm_bulk_bytes,
	.validate = mm_validate,
	.preflight = preflight,
	.before_clone = mm_before_clone,
	.install = mm_install,
	.restore_bulk = mm_restore_bulk,
	.commit = mm_commit,
	.release = release,
	.describe = mm_describe,
};
