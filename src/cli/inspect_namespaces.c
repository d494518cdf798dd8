/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect --namespaces: which there are, and who is in them. */
#include <stdio.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/json.h"
#include "kind/describe.h"
#include "kind/time_ns.h"
#include "time_ns.pb-c.h"
#include "util/cleanup.h"

/* the clocks of the time namespace that the checkpoint was in are not one of the tree's own */
static bool is_namespace(const struct object *o)
{
	size_t size = strlen(o->kind->name);

	if (o->kind == &time_ns_kind && object_state(o, TimeNsState)->outer)
		return false;
	return size > 3 && !strcmp(o->kind->name + size - 3, "_ns");
}

struct json_object *namespaces_to_json(const struct inspection *in)
{
	json_object *array = json_object_new_array();
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		if (!is_namespace(o))
			continue;
		json_object *entry = json_object_new_object();
		json_add_number(entry, "object", o->id);
		json_add_text(entry, "kind", o->kind->name);
		json_add(entry, "tasks", inspection_holders_json(in, o->id));
		json_add(entry, "state", object_describe(in->contents.objects, o));
		json_object_array_add(array, entry);
	}
	return array;
}

void namespaces_print(const struct inspection *in)
{
	size_t cursor = 0, any = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		if (!is_namespace(o))
			continue;
		_cleanup_(free_p) char *tasks = inspection_holders_text(in, o->id);
		json_object *state = object_describe(in->contents.objects, o);
		printf("%u %s of %s\n", o->id, o->kind->name, tasks);
		outline_print(state, 2);
		json_object_put(state);
		any++;
	}
	if (!any)
		puts("all tasks are in the namespaces that the restart is in");
}
