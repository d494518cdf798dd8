/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect --namespaces: which there are, and who is in them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/json.h"
#include "file.pb-c.h"
#include "files.pb-c.h"
#include "kind/describe.h"
#include "kind/mount.h"
#include "kind/nsfs.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "kind/time_ns.h"
#include "kind/user_ns.h"
#include "mount.pb-c.h"
#include "nsfs.pb-c.h"
#include "pid_ns.pb-c.h"
#include "time_ns.pb-c.h"
#include "user_ns.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/text.h"

/* the clocks of the time namespace that the checkpoint was in are not one of the tree's own */
static bool is_namespace(const struct object *o)
{
	size_t size = strlen(o->kind->name);

	if (o->kind == &time_ns_kind && object_state(o, TimeNsState)->outer)
		return false;
	return size > 3 && !strcmp(o->kind->name + size - 3, "_ns");
}

/* object id of a namespace -> what keeps it beside the tasks in it, for "descriptors" or "bound" */
struct kept {
	json_object *descriptors, *bound;
};

static struct kept *kept_of(struct map *all, uint32_t id)
{
	struct kept *k = map_get(all, &id, sizeof(id));

	if (!k) {
		k = xmalloc(sizeof(*k));
		*k = (struct kept){ json_object_new_array(), json_object_new_array() };
		map_put(all, &id, sizeof(id), k);
	}
	return k;
}

/* the namespace that a descriptor refers to; 0: none */
static uint32_t opened(const struct inspection *in, const FilesDescriptor *d)
{
	const struct object *file = objects_by_id(in->contents.objects, d->file);
	const struct object *o = file && file->kind == kind_by_name("file")
	                                 ? objects_by_id(in->contents.objects,
	                                                 object_state(file, FileState)->object)
	                                 : NULL;

	return o && o->kind == &nsfs_kind ? object_state(o, NsfsState)->target : 0;
}

static void add_descriptors(const struct inspection *in, struct map *all, const struct object *o)
{
	const FilesState *s = object_state(o, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++) {
		uint32_t target = opened(in, s->descriptors[i]);
		if (!target)
			continue;
		json_object *entry = json_object_new_object();
		json_add_number(entry, "fd", s->descriptors[i]->number);
		json_add(entry, "tasks", inspection_holders_json(in, o->id));
		json_object_array_add(kept_of(all, target)->descriptors, entry);
	}
}

static struct map *find_kept(const struct inspection *in)
{
	struct map *all = map_new();
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		if (o->kind == kind_by_name("files"))
			add_descriptors(in, all, o);
		if (o->kind != &mount_kind || !object_state(o, MountState)->target)
			continue;
		const MountState *s = object_state(o, MountState);
		_cleanup_(free_p) char *point = text_printable(s->point.data, s->point.len);
		json_object_array_add(kept_of(all, s->target)->bound,
		                      json_object_new_string(point));
	}
	return all;
}

static void free_kept(struct map *all)
{
	size_t cursor = 0;

	for (struct kept *k; (k = map_next(all, &cursor));) {
		json_object_put(k->descriptors);
		json_object_put(k->bound);
		free(k);
	}
	map_free(all);
}

/* that of the root task, which others in the image say nothing of; 0: it is not the image's own */
static uint32_t root_pid_ns(const struct inspection *in)
{
	const TaskState *t = in->contents.n_tasks ? object_state(in->contents.tasks[0], TaskState)
	                                          : NULL;

	for (size_t i = 0; t && i < t->n_objects; i++) {
		const struct object *o = objects_by_id(in->contents.objects, t->objects[i]);
		if (o && o->kind == &pid_ns_kind)
			return o->id;
	}
	return 0;
}

/* the namespace of its kind that it is in; 0: one outside of the image */
static uint32_t parent_of(const struct object *o, uint32_t root)
{
	if (o->kind == &user_ns_kind)
		return object_state(o, UserNsState)->parent;
	if (o->kind != &pid_ns_kind || o->id == root)
		return 0;
	return object_state(o, PidNsState)->parent ?: root;
}

struct json_object *namespaces_to_json(const struct inspection *in)
{
	json_object *array = json_object_new_array();
	struct map *all = find_kept(in);
	uint32_t root = root_pid_ns(in);
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		if (!is_namespace(o))
			continue;
		const struct kept *kept = kept_of(all, o->id);
		json_object *entry = json_object_new_object();
		json_add_number(entry, "object", o->id);
		json_add_text(entry, "kind", o->kind->name);
		json_add_number(entry, "parent", parent_of(o, root));
		json_add(entry, "tasks", inspection_holders_json(in, o->id));
		json_add(entry, "descriptors", json_object_get(kept->descriptors));
		json_add(entry, "bound", json_object_get(kept->bound));
		json_add(entry, "state", object_describe(in->contents.objects, o));
		json_object_array_add(array, entry);
	}
	free_kept(all);
	return array;
}

static void print_more(json_object *list)
{
	size_t n = json_object_array_length(list);

	if (n > 1)
		printf(" and %zu more", n - 1);
}

static void print_kept(const struct kept *kept)
{
	json_object *entry = json_object_array_get_idx(kept->descriptors, 0);
	json_object *place = json_object_array_get_idx(kept->bound, 0), *fd, *tasks;

	if (entry) {
		json_object_object_get_ex(entry, "fd", &fd);
		json_object_object_get_ex(entry, "tasks", &tasks);
		json_object *task = json_object_array_get_idx(tasks, 0);
		printf(", open as fd %s of %s", json_object_get_string(fd),
		       task ? json_object_get_string(task) : "no task");
		print_more(kept->descriptors);
	}
	if (place) {
		printf(", bound to %s", json_object_get_string(place));
		print_more(kept->bound);
	}
}

void namespaces_print(const struct inspection *in)
{
	struct map *all = find_kept(in);
	uint32_t root = root_pid_ns(in);
	size_t cursor = 0, any = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		if (!is_namespace(o))
			continue;
		_cleanup_(free_p) char *tasks = inspection_holders_text(in, o->id);
		json_object *state = object_describe(in->contents.objects, o);
		printf("%u %s of %s", o->id, o->kind->name, tasks);
		print_kept(kept_of(all, o->id));
		if (parent_of(o, root))
			printf(", below %u", parent_of(o, root));
		putchar('\n');
		outline_print(state, 2);
		json_object_put(state);
		any++;
	}
	free_kept(all);
	if (!any)
		puts("all tasks are in the namespaces that the restart is in");
}
