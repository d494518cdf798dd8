/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System V message queues. MSG_COPY (3.8, CONFIG_CHECKPOINT_RESTORE) reads and leaves in place. */
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>

#include "ipc/ipc.h"
#include "ipc/perm.h"
#include "ipc/stream.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13 /* 4.17 */
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

int ipc_msg_list(IpcMsgState ***ret, size_t *ret_n, struct error *err)
{
	struct msginfo info;
	int last = msgctl(0, MSG_INFO, (void *)&info);

	if (last < 0)
		return error_raise(err, errno, "msgctl MSG_INFO");
	for (int i = 0; i <= last; i++) {
		struct msqid_ds ds;
		int id = msgctl(i, MSG_STAT_ANY, &ds);
		if (id < 0 && errno == EINVAL)
			continue;
		if (id < 0)
			return error_raise(err, errno, "msgctl MSG_STAT_ANY");
		IpcMsgState *s = xmalloc(sizeof(*s));
		ipc_msg_state__init(s);
		s->perm = ipc_perm_new(id, &ds.msg_perm);
		s->max_bytes = ds.msg_qbytes;
		s->n_messages = ds.msg_qnum;
		s->stream_size = ds.msg_qnum * IPC_STREAM_HEADER + ds.__msg_cbytes;
		*array_push(*ret, *ret_n) = s;
	}
	return 0;
}

static const char limit[] = "kernel/msgmax";

/* a buffer for messages, and how the limit was before it was raised for them */
struct reading {
	struct msgbuf *buffer;
	size_t room;
	char before[IPC_SETTING_MAX];
};

/*
 * One message, whose size only reading tells: the buffer grows until it fits, and the limit with
 * it, since the kernel copies no more than that.
 */
static ssize_t read_one(struct reading *r, int id, uint64_t index, struct error *err)
{
	for (;;) {
		ssize_t n = msgrcv(id, r->buffer, r->room, (long)index, MSG_COPY | IPC_NOWAIT);
		if (n >= 0)
			return n;
		if (errno == E2BIG) {
			r->room *= 2;
			r->buffer = xrealloc(r->buffer, 1, sizeof(long) + r->room);
		} else if (errno == EINVAL && !r->before[0]) {
			int e = ipc_setting_raise(limit, r->before, err);
			if (e < 0)
				return error_trace(err, e);
		} else {
			return error_raise(err, errno, "copy message %llu of queue %d",
			                   (unsigned long long)index, id);
		}
	}
}

int ipc_msg_read(int id, uint64_t n, struct ipc_stream *ret, struct error *err)
{
	struct reading reading = { .room = 8192 };
	ssize_t size = 0;

	reading.buffer = xmalloc(sizeof(long) + reading.room);
	for (uint64_t i = 0; i < n && size >= 0; i++) {
		size = read_one(&reading, id, i, err);
		if (size >= 0)
			ipc_stream_add(ret, (uint64_t)reading.buffer->mtype, reading.buffer->mtext,
			               (size_t)size);
	}
	free(reading.buffer);
	struct error failed;
	int r = ipc_setting_restore(limit, reading.before, &failed);
	if (size < 0)
		return error_trace(err, (int)size);
	if (r < 0)
		*err = failed;
	return r;
}

int ipc_msg_write(int id, const struct ipc_stream *stream, struct error *err)
{
	struct ipc_message message;
	size_t at = 0;

	for (int r; (r = ipc_stream_next(stream, &at, &message, err));) {
		if (r < 0)
			return error_trace(err, r);
		_cleanup_(free_p) struct msgbuf *buffer = xmalloc(sizeof(long) + message.size + 1);
		buffer->mtype = (long)message.type;
		memcpy(buffer->mtext, message.data, message.size);
		if (msgsnd(id, buffer, message.size, IPC_NOWAIT) < 0)
			return error_raise(err, errno, "send %zu bytes to queue %d", message.size,
			                   id);
	}
	return 0;
}

static int set(const IpcMsgState *s, uint64_t max_bytes, struct error *err)
{
	struct msqid_ds ds = { .msg_qbytes = max_bytes };

	ipc_perm_set(&ds.msg_perm, s->perm);
	if (msgctl(s->perm->id, IPC_SET, &ds) < 0)
		return error_raise(err, errno, "set the owner and the limit of queue %d",
		                   s->perm->id);
	return 0;
}

int ipc_msg_make(const IpcMsgState *s, struct error *err)
{
	int flags = IPC_CREAT | IPC_EXCL | (int)(s->perm->mode & 0777);
	uint64_t bytes = s->stream_size - s->n_messages * IPC_STREAM_HEADER;
	/* a message of no bytes counts, too, against the same limit */
	uint64_t needed = bytes > s->n_messages ? bytes : s->n_messages;
	int r = ipc_perm_make("msg", s->perm, err);

	if (r == 0)
		r = ipc_perm_made("msg", s->perm, msgget((key_t)s->perm->key, flags), err);
	if (r == 0)
		r = set(s, needed > s->max_bytes ? needed : s->max_bytes, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int ipc_msg_limit(const IpcMsgState *s, struct error *err)
{
	int r = set(s, s->max_bytes, err);

	return r < 0 ? error_trace(err, r) : 0;
}
