/* SPDX-License-Identifier: GPL-2.0-or-later */
/* STASIS_DROP: forgetting one field, for the mutation tests. See drop.h. */
#include "core/drop.h"

#ifdef STASIS_TEST_HOOKS

#include <stdlib.h>
#include <string.h>

#include "kind/describe.h"
#include "kind/kind.h"

static void *member(ProtobufCMessage *message, unsigned offset)
{
	return (char *)message + offset;
}

/* The old value leaks: a test build for one restart. Freeing by type would be code to get wrong. */
static void clear(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		*(size_t *)member(message, field->quantifier_offset) = 0;
		*(void **)member(message, field->offset) = NULL;
		return;
	}
	memset(member(message, field->offset), 0, value_size(field->type));
	if (field->type == PROTOBUF_C_TYPE_STRING)
		*(const char **)member(message, field->offset) = protobuf_c_empty_string;
	if (field->quantifier_offset)
		memset(member(message, field->quantifier_offset), 0, 4);
}

static void drop(ProtobufCMessage *message, const char *path)
{
	size_t length = strcspn(path, ".");

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		if (strlen(field->name) != length || strncmp(field->name, path, length) != 0)
			continue;
		if (!path[length]) {
			clear(message, field);
		} else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
			void *p = member(message, field->offset);
			if (field->label == PROTOBUF_C_LABEL_REPEATED) {
				size_t n = *(size_t *)member(message, field->quantifier_offset);
				ProtobufCMessage **all = *(ProtobufCMessage ***)p;
				for (size_t k = 0; k < n; k++)
					drop(all[k], path + length + 1);
			} else if (*(ProtobufCMessage **)p) {
				drop(*(ProtobufCMessage **)p, path + length + 1);
			}
		}
	}
}

void drop_fields(const struct kind *kind, ProtobufCMessage *message)
{
	const char *what = getenv("STASIS_DROP");
	size_t length = strlen(kind->name);

	if (what && !strncmp(what, kind->name, length) && what[length] == '.')
		drop(message, what + length + 1);
}
#endif
