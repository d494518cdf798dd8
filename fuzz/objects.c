/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any messages as the objects of an image: each kind's validate(), references, and the planner. */
#include "objects.h"

#include <string.h>

#include "core/contents.h"
#include "image/image.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "util/alloc.h"

static void add(struct contents *c, const struct fuzz_message *m, const uint8_t *body)
{
	const struct kind *kind = kind_by_number(m->kind);
	const struct record record = {
		.type = m->kind, .object = m->object, .body = body, .size = m->size
	};
	ProtobufCMessage *message = NULL;
	struct error err;

	if (!kind || !kind->message ||
	    image_message_decode(&record, kind->message, &message, &err) < 0)
		return;
	struct object *object = objects_insert(c->objects, m->object, kind, message);
	if (!object)
		protobuf_c_message_free_unpacked(message, NULL);
	else if (kind == &task_kind)
		*array_push(c->tasks, c->n_tasks) = object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct contents c = { .objects = objects_new() };
	struct fuzz_message m;
	struct error err = ERROR_INIT;

	while (size >= sizeof(m)) {
		memcpy(&m, data, sizeof(m));
		data += sizeof(m);
		size -= sizeof(m);
		if (m.size > size)
			m.size = (uint32_t)size;
		add(&c, &m, data);
		data += m.size;
		size -= m.size;
	}
	contents_check(&c, &err);
	contents_close(&c);
	return 0;
}
