/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints every field of every kind's message, nested ones by path, for tools/mutation. */
#include <stdio.h>

#include "kind/kind.h"

static void print(const char *path, const ProtobufCMessageDescriptor *message)
{
	char deeper[512];

	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];
		snprintf(deeper, sizeof(deeper), "%s.%s", path, field->name);
		puts(deeper);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->descriptor != message)
			print(deeper, field->descriptor);
	}
}

int main(void)
{
	for (size_t i = 0; i < n_kinds; i++)
		if (kinds[i]->message)
			print(kinds[i]->name, kinds[i]->message);
	return 0;
}
