/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages out of an image: unpacked with a bounded allocator, and without anything that this build
 * does not know. A field that an older build ignored would be state lost without a word.
 */
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "image/invalid.h"

#define DECODE_MAX (16u << 20)

struct budget {
	size_t left;
};

/* plain malloc, so that protobuf_c_message_free_unpacked(message, NULL) frees it later */
static void *bounded_alloc(void *context, size_t size)
{
	struct budget *budget = context;
	size_t cost = size + 16; /* malloc's own */

	if (size > DECODE_MAX || cost > budget->left)
		return NULL;
	budget->left -= cost;
	return malloc(size);
}

static void bounded_free(void *context, void *p)
{
	free(p);
}

static bool is_known(const ProtobufCMessage *m);

static bool members_are_known(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *base = (const char *)m;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE)
		return true;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)(const void *)(base + f->quantifier_offset);
		ProtobufCMessage **items =
			*(ProtobufCMessage * *const *)(const void *)(base + f->offset);
		for (size_t i = 0; i < n; i++)
			if (!is_known(items[i]))
				return false;
		return true;
	}
	if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const int *)(const void *)(base + f->quantifier_offset) != (int)f->id)
		return true;
	const ProtobufCMessage *member =
		*(ProtobufCMessage *const *)(const void *)(base + f->offset);
	return !member || is_known(member);
}

static bool is_known(const ProtobufCMessage *m)
{
	if (m->n_unknown_fields)
		return false;
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		if (!members_are_known(m, &m->descriptor->fields[i]))
			return false;
	return true;
}

int image_message_decode(const struct record *record, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **ret, struct error *err)
{
	struct budget budget = { .left = DECODE_MAX };
	ProtobufCAllocator allocator = { .alloc = bounded_alloc,
		                         .free = bounded_free,
		                         .allocator_data = &budget };
	int r;

	ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, record->size,
	                                                record->body);
	if (m && is_known(m)) {
		*ret = m;
		return 0;
	}
	if (m)
		r = invalid(err, image_message, "a %s with fields that this build does not know",
		            type->short_name);
	else
		r = invalid(err, image_message, "a malformed or too large %s", type->short_name);
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	error_object(err, "image record at byte %llu", (unsigned long long)record->offset);
	return r;
}
