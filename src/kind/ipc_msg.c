/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System V message queues of an IPC namespace that goes along; kind/ipc_ns.c makes them. */
#include <stdio.h>

#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "kind/ipc_ns/messages.h"

#define MESSAGE_MAX INT32_MAX /* kernel.msgmax as high as it goes */

static int read_queue(const ProtobufCMessage *state, void *context, struct ipc_stream *ret,
                      struct error *err)
{
	const IpcMsgState *s = (const IpcMsgState *)state;

	return ipc_msg_read(s->perm->id, s->n_messages, ret, err);
}

static int write_queue(const ProtobufCMessage *state, void *context,
                       const struct ipc_stream *stream, struct error *err)
{
	const IpcMsgState *s = (const IpcMsgState *)state;
	int r = ipc_msg_write(s->perm->id, stream, err);

	if (r == 0)
		r = ipc_msg_limit(s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* @name is for messages */
static struct messages messages_of(const struct object *object, char name[40])
{
	const IpcMsgState *s = object_state(object, IpcMsgState);

	snprintf(name, 40, "message queue %d", s->perm->id);
	return (struct messages){ s->ns, s->stream_size, name, NULL, read_queue, write_queue };
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	char name[40];
	const struct messages m = messages_of(object, name);

	return messages_judge(&m, err);
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	char name[40];
	const struct messages m = messages_of(object, name);

	return messages_save(c, object, &m, err);
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const IpcMsgState *s = object_state(object, IpcMsgState);
	int r = ipc_ns_validate(objects, s->ns, s->perm, 0777, err);

	if (r < 0)
		return error_trace(err, r);
	if (!ipc_stream_valid(s->stream_size, s->n_messages, MESSAGE_MAX))
		return error_raise(err, EBADMSG, "%llu messages in %llu bytes",
		                   (unsigned long long)s->n_messages,
		                   (unsigned long long)s->stream_size);
	return 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	char name[40];
	const struct messages m = messages_of(object, name);

	return messages_restore(r, object, &m, err);
}

const struct kind ipc_msg_kind = {
	.name = "ipc_msg",
	.number = 83,
	.message = &ipc_msg_state__descriptor,
	.judge = judge,
	.save_bulk = save_bulk,
	.validate = validate,
	.restore = restore,
	.restore_bulk = messages_restore_bulk,
	.release = messages_release,
};
