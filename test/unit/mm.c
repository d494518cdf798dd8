/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind mm's and shmem's validation: each thing that a hostile image may say, one at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "kind/mm.h"
#include "kind/mm/mm.h"
#include "kind/mm/numa.h"
#include "kind/shmem.h"
#include "shmem.pb-c.h"
#include "util/alloc.h"

enum { MM = 1, OTHER_MM, SHM };

static Mapping *add(MmState *s, uint64_t start, uint64_t size)
{
	Mapping *m = xmalloc(sizeof(*m));

	mm_state__mapping__init(m);
	m->start = start;
	m->size = size;
	m->prot = PROT_READ;
	*array_push(s->mappings, s->n_mappings) = m;
	return m;
}

static void name(Mapping *m, const char *text)
{
	free(m->name.data);
	m->name.data = xmemdup(text, strlen(text) + 1);
	m->name.len = strlen(text);
}

static MmState *state_new(struct objects *objects, uint32_t id)
{
	MmState *s = xmalloc(sizeof(*s));

	mm_state__init(s);
	objects_insert(objects, id, &mm_kind, &s->base);
	add(s, 0x10000, 0x4000);
	Mapping *file = add(s, 0x20000, 0x4000);
	file->backing = MM_STATE__MAPPING__BACKING__OBJECT;
	file->object = SHM;
	file->flags = MM_SHARED;
	Mapping *vdso = add(s, 0x7ff000000000, 0x2000);
	vdso->backing = MM_STATE__MAPPING__BACKING__KERNEL;
	name(vdso, "[vdso]");
	s->exe = SHM;
	return s;
}

struct image {
	struct objects *objects;
	MmState *s, *other;
	ShmemState *shm;
};

static int set_up(void **state)
{
	struct image *i = xcalloc(1, sizeof(*i));

	i->objects = objects_new();
	i->s = state_new(i->objects, MM);
	i->other = state_new(i->objects, OTHER_MM);
	i->shm = xmalloc(sizeof(*i->shm));
	shmem_state__init(i->shm);
	i->shm->size = 0x4000;
	objects_insert(i->objects, SHM, &shmem_kind, &i->shm->base);
	*state = i;
	return 0;
}

static int tear_down(void **state)
{
	struct image *i = *state;

	objects_free(i->objects);
	free(i);
	return 0;
}

static bool valid(const struct image *i, uint32_t id)
{
	struct error err = ERROR_INIT;
	const struct object *o = objects_by_id(i->objects, id);

	return o->kind->validate(i->objects, o, &err) == 0;
}

#define BAD(i)  assert_false(valid((i), MM))
#define GOOD(i) assert_true(valid((i), MM))
/* a field with another value must be refused; then it is put back */
#define BAD_VALUE(i, field, value)                                        \
	do {                                                              \
		typeof(field) _old = (field);                             \
		(field) = (value);                                        \
		if (valid((i), MM))                                       \
			fail_msg("%s = %s was accepted", #field, #value); \
		(field) = _old;                                           \
		GOOD(i);                                                  \
	} while (0)

static void addresses(void **state)
{
	struct image *i = *state;
	Mapping *m = i->s->mappings[0];

	GOOD(i);
	BAD_VALUE(i, m->start, 0x10001);
	BAD_VALUE(i, m->size, 0x3fff);
	BAD_VALUE(i, m->size, 0);
	BAD_VALUE(i, m->size, 0x11000);  /* overlaps the next */
	BAD_VALUE(i, m->start, 0x30000); /* not in order */
	BAD_VALUE(i, m->start, 0xfffffffffffff000);
	BAD_VALUE(i, m->size, 0xfffffffffffff000);
	BAD_VALUE(i, m->size, (uint64_t)-0x10000);
	Mapping *last = i->s->mappings[2];
	BAD_VALUE(i, last->start, 0x7fffffffe000); /* reaches beyond the end */
	BAD_VALUE(i, last->start, 0x7ffffffff000);
	BAD_VALUE(i, last->start, 0xffffffffff600000);
}

static void attributes(void **state)
{
	struct image *i = *state;
	Mapping *m = i->s->mappings[0];

	BAD_VALUE(i, m->prot, 8);
	BAD_VALUE(i, m->prot, PROT_GROWSDOWN);
	BAD_VALUE(i, m->flags, MM_FLAGS_ALL + 1);
	BAD_VALUE(i, m->flags, MM_SHARED);  /* of nothing */
	BAD_VALUE(i, m->flags, MM_HUGETLB); /* without a size */
	BAD_VALUE(i, m->huge_shift, 21);
	BAD_VALUE(i, m->pkey, 16);
	BAD_VALUE(i, m->policy, 1);
	BAD_VALUE(i, m->backing, 3);
	BAD_VALUE(i, m->name.len, 80);
	m->flags = MM_HUGETLB;
	m->huge_shift = 21; /* not aligned to it */
	BAD(i);
	m->start = 0, m->size = 2 << 20;
	BAD(i); /* now it overlaps */
	m->start = 0, m->size = 0x10000, m->huge_shift = 16;
	GOOD(i);
	BAD_VALUE(i, m->huge_shift, 64);
	BAD_VALUE(i, m->huge_shift, 41);
	m->flags = 0, m->huge_shift = 0;
	name(m, "a b");
	GOOD(i);
	m->name.len = 4; /* with its zero byte */
	BAD(i);
}

static void backing(void **state)
{
	struct image *i = *state;
	Mapping *m = i->s->mappings[1];

	BAD_VALUE(i, m->object, 0);
	BAD_VALUE(i, m->object, MM); /* cannot be opened */
	BAD_VALUE(i, m->object, 999);
	BAD_VALUE(i, m->offset, 1);
	BAD_VALUE(i, m->offset, 0x7ffffffffffff000);
	BAD_VALUE(i, m->offset, 0xfffffffffffff000);
	BAD_VALUE(i, i->s->exe, 0);
	BAD_VALUE(i, i->s->exe, OTHER_MM);
	/* the kernel's own */
	Mapping *vdso = i->s->mappings[2];
	name(vdso, "[vvar]");
	BAD(i); /* no vDSO */
	name(vdso, "[heap]");
	BAD(i);
	name(vdso, "[vdso]");
	BAD_VALUE(i, vdso->size, 4 << 20);
	Mapping *second = add(i->s, 0x7ff000010000, 0x1000);
	second->backing = MM_STATE__MAPPING__BACKING__KERNEL;
	name(second, "[vvar]");
	GOOD(i);
	Mapping *third = add(i->s, 0x7ff000020000, 0x1000);
	third->backing = MM_STATE__MAPPING__BACKING__KERNEL;
	name(third, "[vvar]");
	BAD(i); /* twice */
	name(third, "[vdso]");
	BAD(i);
}

static void guards(void **state)
{
	struct image *i = *state;
	MmState__Range *g[2];

	for (int k = 0; k < 2; k++) {
		g[k] = xmalloc(sizeof(*g[k]));
		mm_state__range__init(g[k]);
		g[k]->start = 0x10000u + (unsigned)k * 0x2000u;
		g[k]->size = 0x1000;
		*array_push(i->s->guards, i->s->n_guards) = g[k];
	}
	GOOD(i);
	BAD_VALUE(i, g[0]->start, 0x10001);
	BAD_VALUE(i, g[0]->size, 0);
	BAD_VALUE(i, g[0]->size, 0x3000); /* overlaps the next */
	BAD_VALUE(i, g[0]->size, (uint64_t)-0x10000);
	BAD_VALUE(i, g[1]->start, 0x14000); /* no mapping */
	BAD_VALUE(i, g[1]->size, 0x3000);
	BAD_VALUE(i, g[1]->size, 0x10000);         /* ends in another mapping, a hole between */
	BAD_VALUE(i, g[0]->start, 0x20000);        /* not in order */
	BAD_VALUE(i, g[1]->start, 0x7ff000000000); /* the vDSO */
}

#define HUGE 0x200000ul

static MmState__Range *add_huge(MmState__Range ***huge, size_t *n, uint64_t start, uint64_t size)
{
	MmState__Range *range = xmalloc(sizeof(*range));

	mm_state__range__init(range);
	range->start = start;
	range->size = size;
	*array_push(*huge, *n) = range;
	return range;
}

/* an address space's own, and those of a page set */
static void huge(void **state)
{
	struct image *i = *state;
	MmState__PageSet *set = xmalloc(sizeof(*set));

	mm_state__page_set__init(set);
	set->id = 1;
	set->n_pages = 1;
	*array_push(set->members, set->n_members) = MM;
	*array_push(set->members, set->n_members) = OTHER_MM;
	*array_push(i->s->page_sets, i->s->n_page_sets) = set;
	i->s->mappings[1]->start = HUGE * 8;
	i->s->mappings[0]->start = HUGE * 2;
	i->s->mappings[0]->size = HUGE * 4;
	i->s->mappings[1]->size = HUGE;
	i->shm->size = HUGE;
	for (int own = 0; own < 2; own++) {
		MmState__Range ***list = own ? &i->s->huge : &set->huge;
		size_t *n = own ? &i->s->n_huge : &set->n_huge;
		MmState__Range *a = add_huge(list, n, HUGE * 2, HUGE);
		MmState__Range *b = add_huge(list, n, HUGE * 4, HUGE * 2);
		GOOD(i);
		BAD_VALUE(i, a->start, HUGE * 2 + 1);
		BAD_VALUE(i, a->start, HUGE * 4);
		BAD_VALUE(i, a->size, 0);
		BAD_VALUE(i, a->size, 0x1000);
		BAD_VALUE(i, a->size, HUGE * 3);
		BAD_VALUE(i, b->size, (uint64_t)-HUGE * 2);
		BAD_VALUE(i, b->start, 0x800000000000);
		if (!own)
			continue;
		BAD_VALUE(i, b->size, HUGE * 3);  /* ends where there is no mapping */
		BAD_VALUE(i, b->start, HUGE * 8); /* a shared one */
	}
}

static void homes(void **state)
{
	struct image *i = *state;
	MmState__Home *h[2];

	for (int k = 0; k < 2; k++) {
		h[k] = xmalloc(sizeof(*h[k]));
		mm_state__home__init(h[k]);
		h[k]->start = 0x10000u + (unsigned)k * 0x2000u;
		h[k]->size = 0x1000;
		h[k]->home = 0x100002000u - (unsigned)k * 0x1000u;
		*array_push(i->s->homes, i->s->n_homes) = h[k];
	}
	GOOD(i);
	BAD_VALUE(i, h[0]->start, 0x10001);
	BAD_VALUE(i, h[0]->home, 0x100002001);
	BAD_VALUE(i, h[0]->size, 0);
	BAD_VALUE(i, h[0]->size, 0x3000); /* overlaps the next */
	BAD_VALUE(i, h[0]->size, (uint64_t)-0x10000);
	BAD_VALUE(i, h[1]->start, 0x14000);       /* no mapping */
	BAD_VALUE(i, h[0]->home, 0x100001000);    /* where the other is at home */
	BAD_VALUE(i, h[0]->home, 0x7ffffffff000); /* behind the end */
	BAD_VALUE(i, h[1]->home, (uint64_t)-0x1000);
}

static void page_sets(void **state)
{
	struct image *i = *state;
	MmState__PageSet *p = xmalloc(sizeof(*p));

	mm_state__page_set__init(p);
	p->id = 1;
	p->n_members = 2;
	p->members = xmemdup((uint32_t[]){ MM, OTHER_MM }, 8);
	p->n_pages = 3;
	*array_push(i->s->page_sets, i->s->n_page_sets) = p;
	GOOD(i);
	BAD_VALUE(i, p->id, 0);
	BAD_VALUE(i, p->id, 2);
	BAD_VALUE(i, p->n_members, 0);
	BAD_VALUE(i, p->n_members, 1);
	BAD_VALUE(i, p->members[1], MM); /* twice */
	BAD_VALUE(i, p->members[0], SHM);
	BAD_VALUE(i, p->members[0], 0);
	BAD_VALUE(i, p->members[1], 999);
	BAD_VALUE(i, p->n_pages, 0);
	BAD_VALUE(i, p->n_pages, UINT64_MAX);
}

static void policies(void **state)
{
	struct image *i = *state;
	MmState__Policy *p = xmalloc(sizeof(*p));

	mm_state__policy__init(p);
	p->mode = 2;
	p->n_nodes = 1;
	p->nodes = xmemdup((uint32_t[]){ 0 }, 4);
	*array_push(i->s->policies, i->s->n_policies) = p;
	i->s->mappings[0]->policy = 1;
	GOOD(i);
	BAD_VALUE(i, i->s->mappings[0]->policy, 2);
	BAD_VALUE(i, p->mode, 99);
	BAD_VALUE(i, p->nodes[0], 64);
	BAD_VALUE(i, p->n_nodes, 65);
}

static void layout(void **state)
{
	struct image *i = *state;

	BAD_VALUE(i, i->s->start_code, 1);
	BAD_VALUE(i, i->s->end_code, UINT64_MAX);
	BAD_VALUE(i, i->s->start_brk, 4096);
	BAD_VALUE(i, i->s->brk, UINT64_MAX);
	BAD_VALUE(i, i->s->start_stack, UINT64_MAX);
	BAD_VALUE(i, i->s->arg_start, 1);
	BAD_VALUE(i, i->s->env_start, 1);
	BAD_VALUE(i, i->s->lock_future, MCL_CURRENT);
	BAD_VALUE(i, i->s->lock_future, 0xffffffff);
	i->s->auxv.data = xcalloc(1, 1024);
	BAD_VALUE(i, i->s->auxv.len, 8);
	BAD_VALUE(i, i->s->auxv.len, 1024);
}

static void shmem(void **state)
{
	struct image *i = *state;
	static const struct {
		uint64_t size;
		uint32_t huge_shift;
		bool good;
	} all[] = {
		{ 0x1000, 0, true },      { 0, 0, false },          { 0x1001, 0, false },
		{ 1ull << 47, 0, false }, { UINT64_MAX, 0, false }, { 2 << 20, 21, true },
		{ 1 << 20, 21, false },   { 2 << 20, 64, false },   { 2 << 20, 12, false },
		{ 2 << 20, 35, false },
	};

	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
		i->shm->size = all[k].size;
		i->shm->huge_shift = all[k].huge_shift;
		assert_int_equal(valid(i, SHM), all[k].good);
	}
}

static void policy_text(void **state)
{
	static const char *const bad[] = { "",
		                           "nonsense:0",
		                           "bind:",
		                           "bind:x",
		                           "bind:0-",
		                           "bind:3-1",
		                           "bind:64",
		                           "bind:0-64",
		                           "bind:0;1",
		                           "bind=odd:0",
		                           "prefer (many",
		                           "default:",
		                           "bind:99999999999999999999" };
	uint64_t nodes;
	uint32_t mode;

	(void)state;
	assert_int_equal(mm_policy_parse("default", &mode, &nodes), 0);
	assert_int_equal(mode, 0);
	assert_int_equal(mm_policy_parse("bind:0,2-4", &mode, &nodes), 0);
	assert_int_equal(mode, 2);
	assert_int_equal(nodes, 0x1d);
	assert_int_equal(mm_policy_parse("interleave=static:0-63", &mode, &nodes), 0);
	assert_int_equal(mode, 3 | 1 << 15);
	assert_int_equal(nodes, UINT64_MAX);
	assert_int_equal(mm_policy_parse("prefer (many)=relative:1", &mode, &nodes), 0);
	assert_int_equal(mode, 5 | 1 << 14);
	assert_int_equal(mm_policy_parse("local", &mode, &nodes), 0);
	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
		if (mm_policy_parse(bad[k], &mode, &nodes) == 0)
			fail_msg("accepted: \"%s\"", bad[k]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(addresses),
		TEST(attributes),
		TEST(backing),
		TEST(guards),
		TEST(huge),
		TEST(homes),
		TEST(page_sets),
		TEST(policies),
		TEST(layout),
		TEST(shmem),
		cmocka_unit_test(policy_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
