/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of a queue as page blocks: what ipc_msg and ipc_mq have in common. */
#pragma once

#include "kind/kind.h"

struct ipc_stream;

/* a queue of an IPC namespace, and how its messages are read and written by who is in that */
struct messages {
	uint32_t ns;
	uint64_t size; /* of the stream */
	const char *what;
	void *context; /* of read and write */
	int (*read)(const ProtobufCMessage *state, void *context, struct ipc_stream *ret,
	            struct error *err);
	int (*write)(const ProtobufCMessage *state, void *context, const struct ipc_stream *stream,
	             struct error *err);
};

/* object->live is a struct ipc_stream, or begins with one */

/* whether they are not too many */
int messages_judge(const struct messages *m, struct error *err);
/* reads them before they are saved */
int messages_read(struct checkpoint *c, struct object *object, const struct messages *m,
                  struct error *err);
int messages_save(struct checkpoint *c, struct object *object, const struct messages *m,
                  struct error *err);
/* takes the blocks that come next, and writes them */
int messages_restore(struct restart *r, struct object *object, const struct messages *m,
                     struct error *err);
int messages_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                          struct error *err);
void messages_release(struct object *object);
