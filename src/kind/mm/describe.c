/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect: an address space, its mappings with permissions and flags as words. */
#include <json-c/json.h>
#include <sys/mman.h>

#include "kind/describe.h"
#include "kind/mm/mm.h"

/* by bit, as in enum mm_flag */
static const char *const flag_words[] = {
	"shared",    "growsdown", "locked",     "sequential",  "random",    "dontfork",
	"noreserve", "hugetlb",   "wipeonfork", "dontdump",    "hugepage",  "nohugepage",
	"mergeable", "sealed",    "droppable",  "lockonfault", "accounted", "maywrite",
};
static_assert(1ull << (sizeof(flag_words) / sizeof(flag_words[0])) == MM_FLAGS_ALL + 1ull,
              "a word for each flag");

static json_object *flags_to_json(uint64_t flags)
{
	json_object *words = json_object_new_array();

	for (size_t i = 0; i < sizeof(flag_words) / sizeof(flag_words[0]); i++)
		if (flags & 1ull << i)
			json_object_array_add(words, json_object_new_string(flag_words[i]));
	return words;
}

/* as /proc/PID/maps shows it */
static json_object *perms_to_json(const Mapping *m)
{
	const char perms[] = { m->prot & PROT_READ ? 'r' : '-', m->prot & PROT_WRITE ? 'w' : '-',
		               m->prot & PROT_EXEC ? 'x' : '-', m->flags & MM_SHARED ? 's' : 'p',
		               0 };

	return json_object_new_string(perms);
}

static json_object *mapping_to_json(const Mapping *m)
{
	json_object *o = message_describe(&m->base);

	json_object_object_add(o, "perms", perms_to_json(m));
	json_object_object_add(o, "flags", flags_to_json(m->flags));
	json_object_object_del(o, "prot");
	return o;
}

json_object *mm_describe(const struct objects *objects, const struct object *object)
{
	const MmState *s = object_state(object, MmState);
	json_object *o = message_describe(object->message), *mappings = json_object_new_array();

	for (size_t i = 0; i < s->n_mappings; i++)
		json_object_array_add(mappings, mapping_to_json(s->mappings[i]));
	json_object_object_add(o, "mappings", mappings);
	return o;
}
