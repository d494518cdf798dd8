/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The object table: everything tasks refer to, once. At checkpoint it maps kernel identity to an
 * object id, at restart object id to live object (Linux-CR's objhash). Every piece of state is an
 * object, also what belongs to one task alone (its credentials, say): its key is then the tid.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kind;
struct objects;

struct object {
	uint32_t id; /* > 0; dense in order of first sight at checkpoint */
	const struct kind *kind;
	ProtobufCMessage *message; /* the state, of kind->message's type; owned; NULL until saved */
	void *live;                /* the kind's own; kind->release frees it */
	size_t n_users;            /* tasks that refer to it (task_refer, or TaskState.objects) */
	bool done;                 /* restart: installed already, for objects that tasks share */
	bool waits;                /* restart: restore() said RESTORE_LATER: it is not there yet */
};

/* the table; objects_free() it, with all that is in it */
struct objects *objects_new(void);
void objects_free(struct objects *objects); /* calls kind->release on each; takes NULL */

/**
 * objects_get() - find an object by kernel identity, or add it
 * @kind, @key, @key_size: identity; the key is copied
 * @ret_new:	set to whether it was added now; may be NULL
 * Returns the object, owned by the table.
 */
struct object *objects_get(struct objects *objects, const struct kind *kind, const void *key,
                           size_t key_size, bool *ret_new);
/*
 * The object of @kind whose message equals @message, or a new one that has it: for state without an
 * identity of its own, kept once however many tasks have it. Takes @message, which is on the heap.
 */
struct object *objects_get_equal(struct objects *objects, const struct kind *kind,
                                 ProtobufCMessage *message);
struct object *objects_find(const struct objects *objects, const struct kind *kind, const void *key,
                            size_t key_size); /* NULL when absent */

/* restart: adds an object under the id that the image gives; NULL if the id is 0 or taken */
struct object *objects_insert(struct objects *objects, uint32_t id, const struct kind *kind,
                              ProtobufCMessage *message);
struct object *objects_by_id(const struct objects *objects, uint32_t id); /* NULL when absent */

size_t objects_count(const struct objects *objects);
/* walks the objects of one kind (NULL = all) in order of id; start with *cursor = 0; NULL at the
 * end */
struct object *objects_next(const struct objects *objects, const struct kind *kind, size_t *cursor);
