/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX message queues of an IPC namespace that goes along, and what stands behind descriptors of
 * them; kind/ipc_ns.c makes them.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "kind/ipc_ns/messages.h"
#include "kind/ipc_ns/notify.h"
#include "kind/pseudo.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

#define MQUEUE_TYPE      0x19800202
#define MESSAGES_MAX     65536    /* HARD_MSGMAX */
#define MESSAGE_SIZE_MAX 16777216 /* HARD_MSGSIZEMAX */
#define NAME_LENGTH_MAX  255
#define OPEN_FLAGS       (O_ACCMODE | O_NONBLOCK | O_CLOEXEC)
#define UNLINKED_MAX     65536   /* descriptions of one without a name */
#define LARGEFILE        0100000 /* the kernel's O_LARGEFILE; the C library says 0 */

/* object->live */
struct queue {
	struct ipc_stream stream; /* messages.h */
	int fd;                   /* without a name: for both; -1 */
	int *opened;              /* restart, without a name: as s->unlinked; -1: taken */
	size_t n_taken;           /* at their beginning */
};

static struct queue *live(struct object *object)
{
	if (!object->live) {
		struct queue *q = object->live = xcalloc(1, sizeof(*q));
		q->fd = -1;
	}
	return object->live;
}

int ipc_mq_reopen(const IpcMqState *s, int queue, struct error *err)
{
	char link[40];

	if (queue < 0)
		return ipc_mq_open(s, O_RDWR | O_NONBLOCK, err);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", queue);
	int fd = open(link, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open a message queue without a name") : fd;
}

static int read_queue(const ProtobufCMessage *state, void *context, struct ipc_stream *ret,
                      struct error *err)
{
	return notify_read((const IpcMqState *)state, context, ret, err);
}

static int write_queue(const ProtobufCMessage *state, void *context,
                       const struct ipc_stream *stream, struct error *err)
{
	const struct asking *asking = context;
	_cleanup_(close_p) int fd = ipc_mq_reopen((const IpcMqState *)state, asking->queue, err);
	int r = fd < 0 ? fd : ipc_mq_write(fd, stream, err);

	return r < 0 ? error_trace(err, r) : 0;
}

static struct messages messages_of(struct object *object, const char *name, struct asking *asking)
{
	const IpcMqState *s = object_state(object, IpcMqState);

	asking->queue = live(object)->fd;
	return (struct messages){ s->ns, s->stream_size, name, asking, read_queue, write_queue };
}

/* by a descriptor: who is in the namespace is asked by kind/ipc_ns.c */
static int judge_holders(struct checkpoint *c, const IpcMqState *s, const char *name,
                         struct error *err)
{
	const struct holder *holder;
	int r = holders_find_open(c, (dev_t)s->device, (ino_t)s->inode, &holder, err);

	if (r > 0) {
		_cleanup_(free_p) char *text = xasprintf("message queue %s", name);
		refuse_leak(c, NULL, text, NULL, holder);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	_cleanup_(free_p) char *name = ipc_mq_name(s);
	struct asking asking = { .c = c };
	const struct messages m = messages_of(object, name, &asking);

	int r = judge_holders(c, s, name, err);
	if (r == 0)
		r = messages_judge(&m, err);
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
	for (size_t i = 0; i < s->n_unlinked; i++)
		if (s->unlinked[i] & ~(uint32_t)OPEN_FLAGS || s->n_unlinked > UNLINKED_MAX)
			return error_raise(err, EBADMSG, "a message queue opened with flags %o",
			                   s->unlinked[i]);
	return 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	struct asking asking = { 0 };
	const struct messages m = messages_of(object, "a message queue", &asking);

	return messages_restore(r, object, &m, err);
}

/* ---- descriptors ---- */

static bool claims(const struct descriptor *d)
{
	return d->fd >= 0 && S_ISREG(d->st.st_mode) && d->magic == MQUEUE_TYPE;
}

static struct object *find_ns(const struct checkpoint *c, dev_t device)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, &ipc_ns_kind, &cursor));) {
		const IpcNsState *s = object_state(o, IpcNsState);
		if (s->queues && s->queues->device == device)
			return o;
	}
	return NULL;
}

static int look_at_unlinked(struct object *object, const struct descriptor *d, struct error *err)
{
	size_t size = strlen(d->link) - (path_ends_deleted(d->link) ? strlen(PATH_DELETED) : 0);
	const char *slash = memrchr(d->link, '/', size);
	IpcMqState *s = object_state(object, IpcMqState);

	if (!slash)
		return error_raise(err, EBADMSG, "%s is no message queue", d->link);
	s->name = bytes_copy(slash + 1, (size_t)(d->link + size - slash) - 1);
	live(object)->fd = ipc_mq_reopen(s, d->live, err);
	if (live(object)->fd < 0)
		return error_trace(err, live(object)->fd);
	return ipc_mq_look(live(object)->fd, s, err);
}

static int collect_unlinked(struct checkpoint *c, const struct object *ns,
                            const struct descriptor *d, const struct ipc_mq_key *key,
                            struct object **ret, struct error *err)
{
	bool is_new;
	int r = 0;

	*ret = objects_get(c->objects, &ipc_mq_kind, key, sizeof(*key), &is_new);
	if (is_new) {
		IpcMqState *s = xmalloc(sizeof(*s));
		ipc_mq_state__init(s);
		(*ret)->message = &s->base;
		s->ns = ns->id;
		r = look_at_unlinked(*ret, d, err);
	}
	IpcMqState *s = object_state(*ret, IpcMqState);
	*array_push(s->unlinked, s->n_unlinked) = d->flags & OPEN_FLAGS;
	return r < 0 ? error_trace(err, r) : 0;
}

/*
 * mq_open(3) needs no mount of the file system. open(2), which adds O_LARGEFILE, has the name in
 * one, as a file that the kernel shows: it reads how full the queue is.
 */
static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	const struct ipc_mq_key key = { d->st.st_dev, d->st.st_ino };
	struct object *ns = find_ns(c, d->st.st_dev);
	struct error refusal;
	int r = 0;

	*ret = objects_find(c->objects, &ipc_mq_kind, &key, sizeof(key));
	if (ns && d->flags & (O_PATH | LARGEFILE))
		return pseudo_collect_descriptor(c, d, ret, err);
	if (ns && d->st.st_nlink == 0 && d->live >= 0)
		r = collect_unlinked(c, ns, d, &key, ret, err);
	if (r < 0 || *ret)
		return r;
	error_refuse(&refusal, CODE_ipc_mq_descriptor, "it is not of an IPC namespace of the set");
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

int ipc_mq_made(struct object *object, struct error *err)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	struct queue *q = live(object);

	q->opened = xcalloc(s->n_unlinked, sizeof(*q->opened));
	q->fd = ipc_mq_open(s, O_RDWR | O_NONBLOCK, err);
	int r = q->fd;
	for (size_t i = 0; i < s->n_unlinked; i++)
		r = q->opened[i] = r < 0 ? -1 : ipc_mq_open(s, (int)s->unlinked[i], err);
	if (r >= 0)
		r = ipc_mq_unlink(s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int take_opened(struct object *object, uint32_t flags, struct error *err)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	struct queue *q = live(object);

	for (size_t i = q->n_taken; q->opened && i < s->n_unlinked; i++) {
		if (s->unlinked[i] != flags || q->opened[i] < 0)
			continue;
		int fd = take_fd(&q->opened[i]);
		while (q->n_taken < s->n_unlinked && q->opened[q->n_taken] < 0)
			q->n_taken++;
		return fd;
	}
	return error_raise(err, EBADMSG, "a message queue without a name opened with flags %o",
	                   flags);
}

static void release(struct object *object)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	struct queue *q = object->live;

	if (q)
		close_p(&q->fd);
	for (size_t i = 0; q && q->opened && i < s->n_unlinked; i++)
		close_p(&q->opened[i]);
	if (q)
		free(q->opened);
	messages_release(object);
}

static int open_mq(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                   struct error *err)
{
	struct opening o = { object_state(object, IpcMqState), (int)flags & OPEN_FLAGS };

	*ret_fd = o.s->n_unlinked ? take_opened(object, flags & OPEN_FLAGS, err)
	                          : ipc_ns_visit(r->objects, o.s->ns, open_inside, &o, err);
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
	.release = release,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.open = open_mq,
};
