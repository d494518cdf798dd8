/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages in a row, see IpcMsgState; for src/ipc/ alone. What is read may be hostile. */
#pragma once

#include "ipc/ipc.h"

#define IPC_STREAM_HEADER 12 /* type, size */

struct ipc_message {
	uint64_t type; /* or priority */
	const void *data;
	size_t size;
};

/* appends one message */
void ipc_stream_add(struct ipc_stream *stream, uint64_t type, const void *data, size_t size);
/* the message at *at, which goes on to the next: 1; 0 at the end; -EBADMSG */
int ipc_stream_next(const struct ipc_stream *stream, size_t *at, struct ipc_message *ret,
                    struct error *err);
