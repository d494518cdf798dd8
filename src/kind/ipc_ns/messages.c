/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of a queue as page blocks. See messages.h. */
#include "kind/ipc_ns/messages.h"

#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "image/image.h"
#include "ipc/ipc.h"
#include "kind/mm/pages.h"
#include "util/alloc.h"

#define PAGE 4096ull

/* the last page is filled up with zeros */
static int fetch(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                 struct error *err)
{
	const struct ipc_stream *stream = context;
	char *at = buffer;

	for (uint32_t i = 0; i < n_runs; i++) {
		size_t start = runs[i].start * PAGE, size = runs[i].n_pages * PAGE;
		size_t there = stream->size - start < size ? stream->size - start : size;
		memcpy(at, stream->data + start, there);
		memset(at + there, 0, size - there);
		at += size;
	}
	return 0;
}

int messages_save(struct checkpoint *c, const struct object *object,
                  const struct ipc_stream *stream, struct error *err)
{
	struct page_range range = { .end = (stream->size + PAGE - 1) & ~(PAGE - 1) };

	if (!stream->size)
		return 0;
	int r = pages_save(c->image, object->id, 0, &range, 1, fetch, (void *)stream,
	                   c->options->progress, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int messages_take(struct restart *r, struct object *object, uint64_t size, struct ipc_stream **ret,
                  struct error *err)
{
	struct ipc_stream *stream = object->live = xcalloc(1, sizeof(*stream));
	uint64_t padded = (size + PAGE - 1) & ~(PAGE - 1);

	int e = size ? restart_take_blocks(r, object, err) : 0;
	if (e < 0)
		return error_trace(err, e);
	if (stream->size != padded)
		return error_raise(err, EBADMSG, "%zu bytes of messages instead of %llu",
		                   stream->size, (unsigned long long)size);
	stream->size = size;
	*ret = stream;
	return 0;
}

/* in order and without holes, or it is not what messages_save() wrote */
int messages_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                          struct error *err)
{
	struct ipc_stream *stream = object->live;
	const char *at = block->data;

	for (uint32_t i = 0; i < block->n_runs; i++) {
		size_t size = block->runs[i].n_pages * PAGE;

		if (!stream || block->page_set || block->runs[i].start * PAGE != stream->size ||
		    size > IPC_STREAM_MAX + PAGE - stream->size)
			return error_raise(err, EBADMSG, "messages out of order");
		stream->data = xrealloc(stream->data, 1, stream->size + size);
		if (block->runs[i].zero)
			memset(stream->data + stream->size, 0, size);
		else
			memcpy(stream->data + stream->size, at, size);
		at += block->runs[i].zero ? 0 : size;
		stream->size += size;
	}
	return 0;
}

void messages_release(struct object *object)
{
	if (object->live)
		ipc_stream_free(object->live);
	free(object->live);
	object->live = NULL;
}
