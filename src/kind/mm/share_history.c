/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: who forked whom. See share_history.h. */
#include "kind/mm/share_history.h"

#include <stdlib.h>

#include "kind/mm.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* the address spaces, and what is told of them */
struct family {
	struct object *const *objects;
	const uint32_t *parents;
	size_t n;
	struct genealogy *genealogy;
};

uint32_t *history_parents(struct object *const *objects, size_t n)
{
	uint32_t *parents = xcalloc(n, sizeof(*parents));
	struct map *index = map_new();

	for (size_t i = 0; i < n; i++)
		map_put(index, &objects[i]->id, sizeof(uint32_t), (void *)&objects[i]);
	for (size_t i = 0; i < n; i++) {
		const struct task *t = mm_live(objects[i])->task->leader->parent;
		parents[i] = (uint32_t)i;
		for (; t; t = t->leader->parent) {
			const struct object *o = task_object(t, &mm_kind);
			struct object *const *p = o ? map_get(index, &o->id, sizeof(uint32_t))
			                            : NULL;
			if (p && p < &objects[i]) {
				parents[i] = (uint32_t)(p - objects);
				break;
			}
		}
	}
	map_free(index);
	return parents;
}

struct genealogy *history_new(struct object *const *objects, const uint32_t *parents, size_t n)
{
	_cleanup_(free_p) uint32_t *ids = xcalloc(n, sizeof(*ids));

	for (size_t i = 0; i < n; i++)
		ids[i] = objects[i]->id;
	return genealogy_new(parents, ids, (uint32_t)n);
}

/* ---- sessions ---- */

/* what makes sure that whoever forks is in the right session */
struct sessions {
	struct by_session {
		pid_t sid;
		uint32_t space;
	} * all; /* ascending */
	MmState__PageSet *sets;
	uint32_t *ids;
};

static const struct task *task_of(const struct family *f, uint32_t space)
{
	return mm_live(f->objects[space])->task->leader;
}

static pid_t sid_of(const struct family *f, uint32_t space)
{
	return task_of(f, space)->recorded.sid;
}

static int by_sid(const void *a, const void *b)
{
	const struct by_session *x = a, *y = b;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	return (x->space > y->space) - (x->space < y->space);
}

/* whether nobody above it is in its session: its parent did not have it before a setsid(2) */
static bool was_left(const struct family *f, uint32_t space)
{
	pid_t sid = sid_of(f, space);
	uint32_t i = f->parents[space];

	while (sid_of(f, i) != sid && f->parents[i] != i)
		i = f->parents[i];
	return sid_of(f, i) != sid;
}

/* all[first, end) of a session descend from its leader, @leader; UINT32_MAX: it is dead */
static void put_below_leader(const struct family *f, const struct sessions *s, size_t first,
                             size_t end, uint32_t leader)
{
	uint32_t top = UINT32_MAX;

	for (size_t i = first; i < end && leader == UINT32_MAX; i++) {
		uint32_t space = s->all[i].space, parent = f->parents[space];
		if (parent < top && was_left(f, space))
			top = parent;
	}
	if (top != UINT32_MAX)
		leader = genealogy_add_dead(f->genealogy, top);
	for (size_t i = first; i < end && leader != UINT32_MAX; i++)
		if (was_left(f, s->all[i].space))
			genealogy_put_below(f->genealogy, s->all[i].space, leader);
}

/* all[first, end) */
static void add_session(const struct family *f, struct sessions *s, size_t first, size_t end,
                        MmState__PageSet *set)
{
	uint32_t leader = UINT32_MAX;

	for (size_t i = first; i < end; i++) {
		uint32_t space = s->all[i].space;
		s->ids[i] = f->objects[space]->id;
		if (task_of(f, space)->recorded.tid == s->all[i].sid)
			leader = space;
	}
	put_below_leader(f, s, first, end, leader);
	if (end - first < 2)
		return;
	mm_state__page_set__init(set);
	set->members = &s->ids[first];
	set->n_members = end - first;
	genealogy_add(f->genealogy, set);
}

/*
 * A session is like a page: a process has one, hands it on when it forks, and may change it, by
 * setsid(2), for one that nobody has.
 */
static void add_sessions(const struct family *f, struct sessions *s)
{
	s->all = xcalloc(f->n, sizeof(*s->all));
	s->sets = xcalloc(f->n, sizeof(*s->sets));
	s->ids = xcalloc(f->n, sizeof(*s->ids));
	for (uint32_t i = 0; i < f->n; i++)
		s->all[i] = (struct by_session){ sid_of(f, i), i };
	qsort(s->all, f->n, sizeof(*s->all), by_sid);
	for (size_t i = 0, end; i < f->n; i = end) {
		for (end = i; end < f->n && s->all[end].sid == s->all[i].sid; end++)
			;
		add_session(f, s, i, end, &s->sets[i]);
	}
	genealogy_next_page(f->genealogy, GENEALOGY_PRECIOUS);
}

static void sessions_done(struct sessions *s)
{
	free(s->all);
	free(s->sets);
	free(s->ids);
}

void history_tell(struct genealogy *g, struct object *const *objects, const uint32_t *parents,
                  size_t n)
{
	_cleanup_(sessions_done) struct sessions sessions = { 0 };
	const struct family f = { objects, parents, n, g };

	if (genealogy_any(g))
		add_sessions(&f, &sessions);
	genealogy_solve(g);
	for (uint32_t i = 0; i < n; i++) {
		struct mm *mm = mm_live(objects[i]);
		struct genealogy_place place = genealogy_result(g, i);
		mm->turn = place.turn;
		mm->maker = place.maker ? task_of(&f, place.maker) : NULL;
		mm->n_stand_ins = place.n_path;
		if (mm->n_stand_ins)
			mm->stand_ins = xmemdup(place.path, mm->n_stand_ins * sizeof(*place.path));
	}
}
