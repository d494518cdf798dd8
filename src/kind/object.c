/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The object table. See object.h. */
#include "kind/object.h"

#include <stdlib.h>
#include <string.h>

#include "kind/kind.h"
#include "util/alloc.h"
#include "util/map.h"

struct list {
	struct object **items;
	size_t n;
};

struct objects {
	struct map *by_key; /* {kind number, key} -> object */
	struct map *by_id;
	struct list all;     /* in order of id at checkpoint, of arrival at restart */
	struct map *by_kind; /* kind -> struct list, in the same order */
	uint32_t last_id;
};

struct objects *objects_new(void)
{
	struct objects *objects = xcalloc(1, sizeof(*objects));

	objects->by_key = map_new();
	objects->by_id = map_new();
	objects->by_kind = map_new();
	return objects;
}

void objects_free(struct objects *objects)
{
	size_t cursor = 0;

	if (!objects)
		return;
	for (size_t i = objects->all.n; i-- > 0;) {
		struct object *o = objects->all.items[i];
		if (o->kind->release)
			o->kind->release(o);
		if (o->message)
			protobuf_c_message_free_unpacked(o->message, NULL);
		free(o);
	}
	free(objects->all.items);
	for (struct list *list; (list = map_next(objects->by_kind, &cursor));) {
		free(list->items);
		free(list);
	}
	map_free(objects->by_kind);
	map_free(objects->by_key);
	map_free(objects->by_id);
	free(objects);
}

static struct object *append(struct objects *objects, uint32_t id, const struct kind *kind)
{
	struct object *o = xcalloc(1, sizeof(*o));

	o->id = id;
	o->kind = kind;
	struct list *list = map_get(objects->by_kind, &kind, sizeof(kind));
	if (!list)
		map_put(objects->by_kind, &kind, sizeof(kind), list = xcalloc(1, sizeof(*list)));
	*array_push(list->items, list->n) = o;
	*array_push(objects->all.items, objects->all.n) = o;
	map_put(objects->by_id, &id, sizeof(id), o);
	return o;
}

/* the key with the kind's number before it; the caller frees it */
static void *full_key(const struct kind *kind, const void *key, size_t key_size)
{
	char *full = xmalloc(sizeof(kind->number) + key_size);

	memcpy(full, &kind->number, sizeof(kind->number));
	memcpy(full + sizeof(kind->number), key, key_size);
	return full;
}

struct object *objects_find(const struct objects *objects, const struct kind *kind, const void *key,
                            size_t key_size)
{
	void *full = full_key(kind, key, key_size);
	struct object *o = map_get(objects->by_key, full, sizeof(kind->number) + key_size);

	free(full);
	return o;
}

struct object *objects_get(struct objects *objects, const struct kind *kind, const void *key,
                           size_t key_size, bool *ret_new)
{
	struct object *o = objects_find(objects, kind, key, key_size);

	if (ret_new)
		*ret_new = !o;
	if (o)
		return o;
	o = append(objects, ++objects->last_id, kind);
	void *full = full_key(kind, key, key_size);
	map_put(objects->by_key, full, sizeof(kind->number) + key_size, o);
	free(full);
	return o;
}

struct object *objects_get_equal(struct objects *objects, const struct kind *kind,
                                 ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *packed = xmalloc(size + 1); /* an empty message has no bytes */
	bool is_new;

	protobuf_c_message_pack(message, packed);
	struct object *o = objects_get(objects, kind, packed, size, &is_new);
	if (is_new)
		o->message = message;
	else
		protobuf_c_message_free_unpacked(message, NULL);
	free(packed);
	return o;
}

struct object *objects_insert(struct objects *objects, uint32_t id, const struct kind *kind,
                              ProtobufCMessage *message)
{
	if (id == 0 || objects_by_id(objects, id))
		return NULL;
	struct object *o = append(objects, id, kind);
	o->message = message;
	return o;
}

struct object *objects_by_id(const struct objects *objects, uint32_t id)
{
	return map_get(objects->by_id, &id, sizeof(id));
}

size_t objects_count(const struct objects *objects)
{
	return objects->all.n;
}

struct object *objects_next(const struct objects *objects, const struct kind *kind, size_t *cursor)
{
	/* not through all of them: that would be quadratic where it is asked for each task */
	const struct list *list = kind ? map_get(objects->by_kind, &kind, sizeof(kind))
	                               : &objects->all;

	return list && *cursor < list->n ? list->items[(*cursor)++] : NULL;
}
