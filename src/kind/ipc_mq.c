/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX message queues of an IPC namespace that goes along, and what stands behind descriptors of
 * them; kind/ipc_ns.c makes them.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "kind/ipc_ns/messages.h"
#include "kind/ipc_ns/notify.h"
#include "kind/pseudo.h"
#include "task/task.h"
#include "util/cleanup.h"

#define MQUEUE_TYPE      0x19800202
#define MESSAGES_MAX     65536    /* HARD_MSGMAX */
#define MESSAGE_SIZE_MAX 16777216 /* HARD_MSGSIZEMAX */
#define NAME_LENGTH_MAX  255
#define LARGEFILE        0100000 /* the kernel's O_LARGEFILE; the C library says 0 */

static int read_queue(const ProtobufCMessage *state, void *context, struct ipc_stream *ret,
                      struct error *err)
{
	return notify_read((const IpcMqState *)state, context, ret, err);
}

static int write_queue(const ProtobufCMessage *state, const struct ipc_stream *stream,
                       struct error *err)
{
	return ipc_mq_write((const IpcMqState *)state, stream, err);
}

static struct messages messages_of(const struct object *object, const char *name,
                                   struct asking *asking)
{
	const IpcMqState *s = object_state(object, IpcMqState);

	return (struct messages){ s->ns, s->stream_size, name, asking, read_queue, write_queue };
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	_cleanup_(free_p) char *name = ipc_mq_name(s);
	struct asking asking = { .c = c };
	const struct messages m = messages_of(object, name, &asking);

	int r = messages_judge(&m, err);
	if (r < 0 || !s->notify)
		return r;
	r = notify_prepare(object, name, &asking, err);
	if (r > 0)
		r = messages_read(c, object, &m, err);
	if (r == 0)
		return 0;
	if (asking.task)
		error_task(err, asking.task->tid, asking.task->comm);
	error_object(err, "message queue %s", name);
	return error_trace(err, r);
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	struct asking asking = { .c = c };
	const struct messages m = messages_of(object, "a message queue", &asking);

	return messages_save(c, object, &m, err);
}

static bool name_valid(const ProtobufCBinaryData *name)
{
	return name->len > 0 && name->len <= NAME_LENGTH_MAX && !bytes_have_nul(name) &&
	       !memchr(name->data, '/', name->len) &&
	       !(name->len <= 2 && !memcmp(name->data, "..", name->len));
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	const struct object *ns = objects_by_id(objects, s->ns);

	if (!ns || ns->kind != &ipc_ns_kind)
		return error_raise(err, EBADMSG, "object %u is no IPC namespace", s->ns);
	if (!name_valid(&s->name) || s->mode & ~07777u || !notify_valid(s->notify))
		return error_raise(err, EBADMSG,
		                   "a message queue's name, mode or notification is none");
	if (s->max_messages == 0 || s->max_messages > MESSAGES_MAX || s->message_size == 0 ||
	    s->message_size > MESSAGE_SIZE_MAX || s->n_messages > s->max_messages ||
	    !ipc_stream_valid(s->stream_size, s->n_messages, s->message_size))
		return error_raise(err, EBADMSG, "a message queue of sizes that cannot be");
	return 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	const struct messages m = messages_of(object, "a message queue", NULL);

	return messages_restore(r, object, &m, err);
}

/* ---- descriptors ---- */

static bool claims(const struct descriptor *d)
{
	return d->fd >= 0 && S_ISREG(d->st.st_mode) && d->magic == MQUEUE_TYPE;
}

/*
 * mq_open(3) needs no mount of the file system. open(2), which adds O_LARGEFILE, has the name in
 * one, as a file that the kernel shows: it reads how full the queue is.
 */
static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	const struct ipc_mq_key key = { d->st.st_dev, d->st.st_ino };
	struct error refusal;

	*ret = objects_find(c->objects, &ipc_mq_kind, &key, sizeof(key));
	if (*ret)
		return d->flags & (O_PATH | LARGEFILE) ? pseudo_collect_descriptor(c, d, ret, err)
		                                       : 0;
	error_refuse(&refusal, CODE_ipc_mq_descriptor,
	             "it has no name any more, or is not of an IPC namespace of the set");
	error_object(&refusal, "message queue %s", d->link);
	error_hint(&refusal, "close the descriptor");
	refuse(c, d->task, &refusal);
	return 0;
}

struct opening {
	const IpcMqState *s;
	int flags;
};

static int open_inside(void *arg, struct error *err)
{
	const struct opening *o = arg;
	int fd = ipc_mq_open(o->s, o->flags, err);

	return fd < 0 ? error_trace(err, fd) : fd;
}

static int open_mq(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                   struct error *err)
{
	struct opening o = { object_state(object, IpcMqState),
		             (int)flags & (O_ACCMODE | O_NONBLOCK | O_CLOEXEC) };

	*ret_fd = ipc_ns_visit(r->objects, o.s->ns, open_inside, &o, err);
	return *ret_fd < 0 ? error_trace(err, *ret_fd) : 0;
}

const struct kind ipc_mq_kind = {
	.name = "ipc_mq",
	.number = 84,
	.message = &ipc_mq_state__descriptor,
	.judge = judge,
	.save_bulk = save_bulk,
	.validate = validate,
	.restore = restore,
	.commit = notify_commit,
	.restore_bulk = messages_restore_bulk,
	.release = messages_release,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.open = open_mq,
};
