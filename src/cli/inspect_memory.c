/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inspect --memory: each address space as a table of its mappings, with what the image holds of it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inspect.h"
#include "cli/json.h"
#include "kind/describe.h"
#include "kind/mm.h"
#include "kind/mm/mm.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* pages in the image, of one mapping or of an object that is no address space */
struct count {
	uint64_t data, zero;
};

/* of one object with page blocks */
struct bulk {
	struct object *object;
	struct count all;
	struct count *mappings; /* an address space's; else NULL */
};

struct counting {
	pthread_mutex_t lock;
	struct map *bulks; /* object id -> struct bulk */
};

static struct bulk *bulk_of(struct counting *c, struct object *object)
{
	struct bulk *b = map_get(c->bulks, &object->id, sizeof(object->id));

	if (b)
		return b;
	b = xcalloc(1, sizeof(*b));
	b->object = object;
	if (object->kind == &mm_kind)
		b->mappings = xcalloc(object_state(object, MmState)->n_mappings + 1,
		                      sizeof(*b->mappings));
	map_put(c->bulks, &object->id, sizeof(object->id), b);
	return b;
}

static void bulks_free(struct map *bulks)
{
	size_t cursor = 0;

	for (struct bulk *b; (b = map_next(bulks, &cursor));) {
		free(b->mappings);
		free(b);
	}
	map_free(bulks);
}

static void add(struct count *c, uint64_t n, bool zero)
{
	if (zero)
		c->zero += n;
	else
		c->data += n;
}

/* the first mapping that ends above this address; n_mappings when none does */
static size_t mapping_above(const MmState *s, uint64_t address)
{
	size_t low = 0, high = s->n_mappings;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (s->mappings[middle]->start + s->mappings[middle]->size > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* a run may go over several mappings that follow one another */
static void count_in_mappings(struct bulk *b, const struct page_run *run)
{
	const MmState *s = object_state(b->object, MmState);
	uint64_t at = run->start, end = run->start + run->n_pages;

	for (size_t i = mapping_above(s, at * MM_PAGE); i < s->n_mappings && at < end; i++) {
		uint64_t first = s->mappings[i]->start / MM_PAGE;
		uint64_t last = first + s->mappings[i]->size / MM_PAGE;
		uint64_t from = at > first ? at : first, to = end < last ? end : last;
		if (to > from)
			add(&b->mappings[i], to - from, run->zero);
		if (last > at)
			at = last;
	}
}

static int count_block(void *context, struct object *object, const struct page_block *block,
                       struct error *err)
{
	struct counting *c = context;

	pthread_mutex_lock(&c->lock);
	struct bulk *b = bulk_of(c, object);
	for (uint32_t i = 0; i < block->n_runs; i++) {
		add(&b->all, block->runs[i].n_pages, block->runs[i].zero);
		if (b->mappings)
			count_in_mappings(b, &block->runs[i]);
	}
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/* ---- as JSON; the text is made from it ---- */

static void add_count(json_object *o, const struct count *count)
{
	json_add_number(o, "saved_bytes", count->data * MM_PAGE);
	json_add_number(o, "zero_bytes", count->zero * MM_PAGE);
}

static char *what_is_mapped(const struct inspection *in, const MmState *s, const Mapping *m)
{
	const struct object *o = objects_by_id(in->contents.objects, m->object);

	if (m->backing == MM_STATE__MAPPING__BACKING__OBJECT)
		return o ? object_title(in->contents.objects, o) : xstrdup("?");
	if (m->backing == MM_STATE__MAPPING__BACKING__KERNEL || m->name.len)
		return NULL; /* its name says it */
	if (s->brk > s->start_brk && m->start < s->brk && s->start_brk < m->start + m->size)
		return xstrdup("[heap]");
	if (m->start <= s->start_stack && s->start_stack < m->start + m->size)
		return xstrdup("[stack]");
	return xstrdup("");
}

static void complete_mapping(const struct inspection *in, const MmState *s, const Mapping *m,
                             const struct count *count, json_object *o)
{
	_cleanup_(free_p) char *what = what_is_mapped(in, s, m);
	json_object *name;

	if (!what && json_object_object_get_ex(o, "name", &name))
		what = xstrdup(json_object_get_string(name));
	json_add_text(o, "what", what ? what : "");
	add_count(o, count);
}

static json_object *mm_to_json(const struct inspection *in, struct object *object,
                               const struct bulk *bulk)
{
	static const struct count none;
	const MmState *s = object_state(object, MmState);
	json_object *o = object_describe(in->contents.objects, object), *mappings;
	const struct object *exe = objects_by_id(in->contents.objects, s->exe);
	_cleanup_(free_p) char *executable = exe ? object_title(in->contents.objects, exe)
	                                         : xstrdup("");

	json_object_object_get_ex(o, "mappings", &mappings);
	for (size_t i = 0; i < s->n_mappings; i++)
		complete_mapping(in, s, s->mappings[i], bulk ? &bulk->mappings[i] : &none,
		                 json_object_array_get_idx(mappings, i));
	json_add_number(o, "id", object->id);
	json_add(o, "tasks", inspection_holders_json(in, object->id));
	json_add_text(o, "executable", executable);
	add_count(o, bulk ? &bulk->all : &none);
	return o;
}

static json_object *other_to_json(const struct bulk *bulk)
{
	json_object *o = json_object_new_object();

	json_add_number(o, "id", bulk->object->id);
	json_add_text(o, "kind", bulk->object->kind->name);
	add_count(o, &bulk->all);
	return o;
}

int memory_to_json(struct inspection *in, struct json_object **ret, struct error *err)
{
	struct counting c = { .lock = PTHREAD_MUTEX_INITIALIZER, .bulks = map_new() };
	json_object *spaces = json_object_new_array(), *others = json_object_new_array();
	size_t cursor = 0;

	int r = contents_each_block(&in->contents, count_block, &c, err);
	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		const struct bulk *b = map_get(c.bulks, &o->id, sizeof(o->id));
		if (o->kind == &mm_kind)
			json_object_array_add(spaces, mm_to_json(in, o, b));
		else if (b)
			json_object_array_add(others, other_to_json(b));
	}
	bulks_free(c.bulks);
	*ret = json_object_new_object();
	json_add(*ret, "address_spaces", spaces);
	json_add(*ret, "other_contents", others);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- as text ---- */

static uint64_t number(json_object *o, const char *member)
{
	json_object *value;

	return json_object_object_get_ex(o, member, &value) ? json_object_get_uint64(value) : 0;
}

static const char *text(json_object *o, const char *member)
{
	json_object *value;

	return json_object_object_get_ex(o, member, &value) ? json_object_get_string(value) : "";
}

/* flags that the permissions do not show already, nor every mapping has */
static void print_flags(json_object *mapping)
{
	json_object *flags;

	if (!json_object_object_get_ex(mapping, "flags", &flags))
		return;
	for (size_t i = 0; i < json_object_array_length(flags); i++) {
		const char *word = json_object_get_string(json_object_array_get_idx(flags, i));
		if (strcmp(word, "shared") && strcmp(word, "accounted") && strcmp(word, "maywrite"))
			printf(" %s", word);
	}
}

static void print_mapping(json_object *m)
{
	uint64_t start = number(m, "start"), saved = number(m, "saved_bytes");

	printf("  %12llx-%-12llx %10s  %s %10s  %s", (unsigned long long)start,
	       (unsigned long long)(start + number(m, "size")), human_bytes(number(m, "size")).text,
	       text(m, "perms"), saved ? human_bytes(saved).text : "-", text(m, "what"));
	if (number(m, "offset"))
		printf(" +%llx", (unsigned long long)number(m, "offset"));
	print_flags(m);
	putchar('\n');
}

static void print_space(const struct inspection *in, json_object *o)
{
	uint32_t id = (uint32_t)number(o, "id");
	_cleanup_(free_p) char *tasks = inspection_holders_text(in, id);
	json_object *mappings;

	json_object_object_get_ex(o, "mappings", &mappings);
	printf("address space %u of %s\n  %s; %zu mappings, %s in the image\n\n", id, tasks,
	       text(o, "executable"), json_object_array_length(mappings),
	       human_bytes(number(o, "saved_bytes")).text);
	printf("  %-25s %10s  %-4s %10s  %s\n", "ADDRESSES", "SIZE", "PERM", "IN IMAGE", "WHAT");
	for (size_t i = 0; i < json_object_array_length(mappings); i++)
		print_mapping(json_object_array_get_idx(mappings, i));
	putchar('\n');
}

int memory_print(struct inspection *in, struct error *err)
{
	json_object *all, *list;

	int r = memory_to_json(in, &all, err);
	json_object_object_get_ex(all, "address_spaces", &list);
	for (size_t i = 0; i < json_object_array_length(list); i++)
		print_space(in, json_object_array_get_idx(list, i));
	json_object_object_get_ex(all, "other_contents", &list);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i);
		printf("%s %u: %s in the image\n", text(o, "kind"), (unsigned)number(o, "id"),
		       human_bytes(number(o, "saved_bytes")).text);
	}
	json_object_put(all);
	return r;
}
