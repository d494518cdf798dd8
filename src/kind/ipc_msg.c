/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System V message queues of an IPC namespace that goes along; kind/ipc_ns.c makes them. */
#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "image/image.h"
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "kind/ipc_ns/messages.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define MESSAGE_MAX INT32_MAX /* kernel.msgmax as high as it goes */

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(ipc_stream_free) struct ipc_stream stream = { 0 };
	_cleanup_(ipc_leave) struct ipc_visit visit;
	const IpcMsgState *s = object_state(object, IpcMsgState);
	int r = ipc_ns_visit(c->objects, s->ns, &visit, err);

	if (r == 0)
		r = ipc_msg_read(s->perm->id, s->n_messages, &stream, err);
	if (r == 0 && stream.size != s->stream_size)
		r = error_raise(err, EAGAIN, "queue %d changes", s->perm->id);
	if (r == 0)
		r = messages_save(c, object, &stream, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const IpcMsgState *s = object_state(object, IpcMsgState);

	if (s->stream_size > IPC_STREAM_MAX)
		return error_raise(err, EFBIG, "message queue %d holds %llu bytes", s->perm->id,
		                   (unsigned long long)s->stream_size);
	return 0;
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
	_cleanup_(ipc_leave) struct ipc_visit visit = IPC_VISIT_INIT;
	const IpcMsgState *s = object_state(object, IpcMsgState);
	struct ipc_stream *stream;
	int e = messages_take(r, object, s->stream_size, &stream, err);

	if (e == 0)
		e = ipc_ns_visit(r->objects, s->ns, &visit, err);
	if (e == 0)
		e = ipc_msg_write(s->perm->id, stream, err);
	if (e == 0)
		e = ipc_msg_limit(s, err);
	return e < 0 ? error_trace(err, e) : 0;
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
