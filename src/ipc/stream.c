/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages in a row. See stream.h. */
#include "ipc/stream.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

void ipc_stream_add(struct ipc_stream *stream, uint64_t type, const void *data, size_t size)
{
	uint32_t size32 = (uint32_t)size;

	while (stream->room - stream->size < IPC_STREAM_HEADER + size) {
		stream->room = stream->room ? stream->room * 2 : 4096;
		stream->data = xrealloc(stream->data, 1, stream->room);
	}
	unsigned char *at = stream->data + stream->size;
	memcpy(at, &type, sizeof(type));
	memcpy(at + sizeof(type), &size32, sizeof(size32));
	memcpy(at + IPC_STREAM_HEADER, data, size);
	stream->size += IPC_STREAM_HEADER + size;
	stream->n++;
}

int ipc_stream_next(const struct ipc_stream *stream, size_t *at, struct ipc_message *ret,
                    struct error *err)
{
	uint32_t size;

	if (*at == stream->size)
		return 0;
	if (stream->size - *at < IPC_STREAM_HEADER)
		return error_raise(err, EBADMSG, "a message without its beginning");
	memcpy(&ret->type, stream->data + *at, sizeof(ret->type));
	memcpy(&size, stream->data + *at + sizeof(ret->type), sizeof(size));
	*at += IPC_STREAM_HEADER;
	if (size > stream->size - *at)
		return error_raise(err, EBADMSG, "a message of %u bytes, of which %zu are there",
		                   size, stream->size - *at);
	ret->data = stream->data + *at;
	ret->size = size;
	*at += size;
	return 1;
}

void ipc_stream_free(struct ipc_stream *stream)
{
	free(stream->data);
	*stream = (struct ipc_stream){ 0 };
}

bool ipc_stream_valid(uint64_t size, uint64_t n, uint64_t max_message)
{
	if (size > IPC_STREAM_MAX || n > size / IPC_STREAM_HEADER)
		return false;
	uint64_t bytes = size - n * IPC_STREAM_HEADER;
	return n ? bytes / n <= max_message : bytes == 0;
}
