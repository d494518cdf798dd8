/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages out of an image: unpacked with a bounded allocator, and without anything that this build
 * does not know. A field that an older build ignored would be state lost without a word.
 */
#include <stdlib.h>

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

/* an empty bytes field gets a pointer, too: memchr(3) and its like want one even for no bytes */
static bool settle_bytes(ProtobufCBinaryData *bytes)
{
	if (!bytes->data)
		bytes->data = calloc(1, 1);
	return bytes->data != NULL;
}

static bool settle(ProtobufCMessage *m);

static bool settle_repeated(const ProtobufCFieldDescriptor *f, void *values, size_t n)
{
	bool known = true;

	for (size_t i = 0; i < n && known; i++)
		known = f->type == PROTOBUF_C_TYPE_BYTES
		                ? settle_bytes(&((ProtobufCBinaryData *)values)[i])
		                : settle(((ProtobufCMessage **)values)[i]);
	return known;
}

static bool settle_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	void *value = (char *)m + f->offset, *quantifier = (char *)m + f->quantifier_offset;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_BYTES)
		return true;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return settle_repeated(f, *(void **)value, *(size_t *)quantifier);
	if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(int *)quantifier != (int)f->id)
		return true;
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return settle_bytes(value);
	return !*(ProtobufCMessage **)value || settle(*(ProtobufCMessage **)value);
}

/* false when it holds a field that this build does not know */
static bool settle(ProtobufCMessage *m)
{
	if (m->n_unknown_fields)
		return false;
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		if (!settle_field(m, &m->descriptor->fields[i]))
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
	if (m && settle(m)) {
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
