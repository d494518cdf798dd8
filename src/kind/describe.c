/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects as JSON, by their messages' descriptors. See describe.h. */
#include "kind/describe.h"

#include <json-c/json.h>
#include <string.h>

#include "kind/kind.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/text.h"

static json_object *bytes_to_json(const void *data, size_t size)
{
	_cleanup_(free_p) char *text = text_printable(data, size);

	return json_object_new_string(text);
}

static json_object *enum_to_json(const ProtobufCFieldDescriptor *field, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(field->descriptor,
	                                                                       value);

	return known ? json_object_new_string(known->name) : json_object_new_int(value);
}

size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		return 4;
	}
	return 0;
}

static json_object *text_to_json(const char *text)
{
	return text ? bytes_to_json(text, strlen(text)) : NULL;
}

static json_object *value_to_json(const ProtobufCFieldDescriptor *field, const void *p)
{
	const ProtobufCBinaryData *bytes = p;
	ProtobufCMessage *const *message = p;

	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_to_json(field, *(const int *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_object_new_uint64(*(const uint32_t *)p);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_object_new_int64(*(const int32_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_object_new_uint64(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_object_new_int64(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_object_new_double((double)*(const float *)p);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_object_new_double(*(const double *)p);
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_to_json(bytes->data, bytes->len);
	case PROTOBUF_C_TYPE_STRING:
		return text_to_json(*(char *const *)p);
	case PROTOBUF_C_TYPE_MESSAGE:
		return *message ? message_describe(*message) : NULL;
	}
	return NULL;
}

static json_object *repeated_to_json(const ProtobufCFieldDescriptor *field, const char *values,
                                     size_t n)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		json_object_array_add(array,
		                      value_to_json(field, values + i * value_size(field->type)));
	return array;
}

static json_object *field_to_json(const ProtobufCMessage *message,
                                  const ProtobufCFieldDescriptor *field)
{
	const char *base = (const char *)message;
	const void *p = base + field->offset, *quantifier = base + field->quantifier_offset;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return repeated_to_json(field, *(char *const *)p, *(const size_t *)quantifier);
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const int *)quantifier != (int)field->id)
		return NULL;
	return value_to_json(field, p);
}

json_object *message_describe(const ProtobufCMessage *message)
{
	json_object *o = json_object_new_object();

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		json_object_object_add(o, field->name, field_to_json(message, field));
	}
	return o;
}

json_object *object_describe(const struct objects *objects, const struct object *object)
{
	if (object->kind->describe)
		return object->kind->describe(objects, object);
	return message_describe(object->message);
}

char *object_title(const struct objects *objects, const struct object *object)
{
	static const char *const members[] = { "path", "name" };
	json_object *o = object_describe(objects, object), *value;
	char *title = NULL;

	for (size_t i = 0; i < 2 && !title; i++)
		if (json_object_object_get_ex(o, members[i], &value) &&
		    json_object_get_string_len(value) > 0)
			title = xstrdup(json_object_get_string(value));
	json_object_put(o);
	return title ? title : xasprintf("%s %u", object->kind->name, object->id);
}
