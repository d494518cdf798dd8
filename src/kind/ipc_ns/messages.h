/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of a queue as page blocks: what ipc_msg and ipc_mq have in common. */
#pragma once

#include "kind/kind.h"

struct ipc_stream;

int messages_save(struct checkpoint *c, const struct object *object,
                  const struct ipc_stream *stream, struct error *err);
/* takes the blocks that come next; the stream is object->live, messages_release() frees it */
int messages_take(struct restart *r, struct object *object, uint64_t size, struct ipc_stream **ret,
                  struct error *err);
int messages_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                          struct error *err);
void messages_release(struct object *object);
