/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of a queue as page blocks. See messages.h. */
#include "kind/ipc_ns/messages.h"

#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "image/image.h"
#include "ipc/ipc.h"
#include "kind/bulk.h"
#include "kind/ipc_ns.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE 4096ull

int messages_judge(const struct messages *m, struct error *err)
{
	if (m->size <= IPC_STREAM_MAX)
		return 0;
	return error_raise(err, EFBIG, "%s holds %llu bytes", m->what, (unsigned long long)m->size);
}

/* object->live begins with it */
static struct ipc_stream *stream_of(struct object *object)
{
	if (!object->live)
		object->live = xcalloc(1, sizeof(struct ipc_stream));
	return object->live;
}

struct visit {
	const struct messages *m;
	const ProtobufCMessage *message;
	struct ipc_stream *stream;
};

static int read_inside(void *arg, struct error *err)
{
	const struct visit *v = arg;
	int r = v->m->read(v->message, v->m->context, v->stream, err);

	return r < 0 ? error_trace(err, r) : 0;
}

int messages_read(struct checkpoint *c, struct object *object, const struct messages *m,
                  struct error *err)
{
	struct ipc_stream *stream = stream_of(object);
	struct visit v = { m, object->message, stream };
	int r = ipc_ns_visit(c->objects, m->ns, read_inside, &v, err);

	if (r == 0 && stream->size != m->size)
		r = error_raise(err, EAGAIN, "%s changes", m->what);
	return r < 0 ? error_trace(err, r) : 0;
}

int messages_save(struct checkpoint *c, struct object *object, const struct messages *m,
                  struct error *err)
{
	struct ipc_stream *stream = stream_of(object);
	int r = stream->data ? 0 : messages_read(c, object, m, err);

	if (r == 0)
		r = bulk_save_bytes(c, object, stream->data, stream->size, err);
	ipc_stream_free(stream);
	return r < 0 ? error_trace(err, r) : 0;
}

static int take(struct restart *r, struct object *object, uint64_t size, struct error *err)
{
	struct ipc_stream *stream = stream_of(object);
	uint64_t padded = (size + PAGE - 1) & ~(PAGE - 1);

	int e = size ? restart_take_blocks(r, object, err) : 0;
	if (e < 0)
		return error_trace(err, e);
	if (stream->size != padded)
		return error_raise(err, EBADMSG, "%zu bytes of messages instead of %llu",
		                   stream->size, (unsigned long long)size);
	stream->size = size;
	return 0;
}

static int write_inside(void *arg, struct error *err)
{
	const struct visit *v = arg;
	int e = v->m->write(v->message, v->m->context, v->stream, err);

	return e < 0 ? error_trace(err, e) : 0;
}

int messages_restore(struct restart *r, struct object *object, const struct messages *m,
                     struct error *err)
{
	int e = take(r, object, m->size, err);
	struct visit v = { m, object->message, object->live };

	if (e == 0)
		e = ipc_ns_visit(r->objects, m->ns, write_inside, &v, err);
	ipc_stream_free(object->live); /* there may be many */
	return e < 0 ? error_trace(err, e) : 0;
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
