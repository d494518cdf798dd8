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
#include "kind/mm/share_parts.h"

#include <stdlib.h>
#include <string.h>

#include "kind/mm.h"
#include "task/plan.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct sharing *share_sharing(const struct restart *r)
{
	size_t cursor = 0;
	struct object *o = objects_next(r->objects, &mm_kind, &cursor);

	return o ? mm_live(o)->sharing : NULL;
}

struct inheritance *share_inheritance(struct stub *stub)
{
	struct stub *s = stub->leader;

	if (s->private_mm)
		return s->private_mm;
	const struct object *mm = stub_object(s, &mm_kind);
	struct inheritance *parent = s->parent ? share_inheritance(s->parent) : NULL;
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

struct inheritance *share_common(struct inheritance *a, struct inheritance *b)
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

struct inheritance *share_branch(const struct inheritance *in, struct inheritance *own)
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
		struct inheritance *in = share_inheritance(r->stubs[step->node]);
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
		in = k ? share_common(in, own) : own;
	}
	set->ancestor = in;
	set->phase = ALWAYS;
	for (size_t k = 0; in && k < message->n_members; k++) {
		struct object *o = objects_by_id(r->objects, message->members[k]);
		const struct inheritance *child = share_branch(in, mm_live(o)->inheritance);
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
			mm_live(o)->inheritance = share_inheritance(r->stubs[i]);
	}
	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		const MmState *s = object_state(o, MmState);
		struct mm *mm = mm_live(o);
		first = first ? first : mm;
		mm_index_homes(o);
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

int share_get(struct restart *r, struct sharing **ret, struct error *err)
{
	*ret = share_sharing(r);
	return *ret ? 0 : plan_sharing(r, ret, err);
}

const struct vdso_places *mm_share_vdso(struct stub *stub)
{
	const struct inheritance *in = share_inheritance(stub);

	while (in->parent)
		in = in->parent;
	return in->staged ? &in->vdso : NULL;
}

void mm_share_release(struct mm *mm)
{
	for (size_t i = 0; i < mm->n_sets; i++)
		share_late_free(share_take_late(&mm->sets[i]));
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

void mm_share_forget(struct restart *r)
{
	for (size_t i = 0; i < r->n_stubs; i++) { /* what is its creator's is freed there */
		const struct inheritance *in = r->stubs[i]->private_mm;
		if (in && in->stub != r->stubs[i])
			r->stubs[i]->private_mm = NULL;
	}
	for (size_t i = 0; i < r->n_stubs; i++)
		if (r->stubs[i]->private_mm)
			inheritance_free(take_ptr(r->stubs[i]->private_mm));
}
