/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Notification of messages. See notify.h. */
#include "kind/ipc_ns/notify.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/kept.h"
#include "file.pb-c.h"
#include "files.pb-c.h"
#include "ipc/ipc.h"
#include "kind/files.h"
#include "kind/ipc_ns.h"
#include "task/calls.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/cleanup.h"
#include "util/map.h"

#define N_SIGNALS 64

static uint64_t bit(uint32_t signal)
{
	return signal ? 1ull << (signal - 1) : 0;
}

static int refuse_notify(struct checkpoint *c, const struct task *task, const char *name,
                         const char *what, const char *hint)
{
	struct error refusal;

	error_refuse(&refusal, CODE_ipc_mq_notify, "%s", what);
	error_object(&refusal, "message queue %s", name);
	error_hint(&refusal, "%s", hint);
	refuse(c, task, &refusal);
	return 0;
}

/* ---- who, and whether it can be asked ---- */

struct queue_key {
	uint32_t files, queue; /* ids of objects */
};

/* what is known of a queue in a table: its first number + 1, and whether execve(2) leaves it one */
static uintptr_t describe(uint32_t number, bool kept)
{
	return ((uintptr_t)number + 1) << 1 | kept;
}

static void index_table(const struct checkpoint *c, struct map *index, const struct object *files)
{
	const FilesState *s = object_state(files, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++) {
		const struct object *o = objects_by_id(c->objects, s->descriptors[i]->file);
		const FileState *file = o ? object_state(o, FileState) : NULL;
		if (!file || file->flags & O_PATH)
			continue;
		const struct queue_key key = { files->id, file->object };
		uintptr_t known = (uintptr_t)map_get(index, &key, sizeof(key));
		known = (known ? known : describe(s->descriptors[i]->number, false)) |
		        !s->descriptors[i]->close_on_exec;
		map_put(index, &key, sizeof(key), (void *)known);
	}
}

static const struct kept_type index_type = { .done = kept_free_map };

static struct map *index_tables(struct checkpoint *c)
{
	struct map *index = kept_add(&c->kept, &index_type, map_new());
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, &files_kind, &cursor));)
		if (o->message)
			index_table(c, index, o);
	return index;
}

/* the number of a descriptor of the queue; -1: it has none. *ret_kept: execve(2) leaves one. */
static int find_descriptor(struct checkpoint *c, const struct task *task, uint32_t queue,
                           bool *ret_kept)
{
	const struct object *files = task_object(task, &files_kind);
	const struct queue_key key = { files ? files->id : 0, queue };

	struct map *index = kept_find(c->kept, &index_type);
	uintptr_t known = (uintptr_t)map_get(index ? index : index_tables(c), &key, sizeof(key));

	*ret_kept |= known & 1;
	return (int)(known >> 1) - 1;
}

/*
 * A thread of the process that has one. The process has: to close any of a queue's descriptors
 * cancels what it asked for.
 */
static void find_owner(struct asking *a, const struct object *object)
{
	const IpcMqState *s = object_state(object, IpcMqState);
	int fd = -1;

	struct task *task = checkpoint_process(a->c, (pid_t)s->notify_pid);
	for (; task && fd < 0; task = task->next_thread) {
		fd = find_descriptor(a->c, task, object->id, &a->kept);
		a->task = fd < 0 ? NULL : task;
	}
	s->notify->fd = (uint32_t)fd;
}

/* by default or by its own wish; which counts only where nobody traces the first thread */
static bool is_ignored(const struct proc_status *status, uint32_t signal)
{
	const uint64_t by_default = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH);

	return bit(signal) & (status->sig_ignored | (by_default & ~status->sig_caught));
}

/* what would be lost of those pending: to stop and to continue undo one another when sent */
static uint64_t lost_by(uint32_t signal)
{
	const uint64_t stops = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

	return signal == SIGCONT ? stops : bit(signal) & stops ? bit(SIGCONT) : 0;
}

static bool would_undo(const struct task *owner, uint32_t signal)
{
	uint64_t pending = owner->status.shared_pending;

	for (const struct task *task = owner->leader; task; task = task->next_thread)
		pending |= task->status.sig_pending;
	return pending & lost_by(signal) || (signal == SIGCONT && owner->state == TASK_STOPPED);
}

/* why a signal cannot be had from this task and be put away again; NULL: it can */
static int see_signal(struct asking *a, const char **ret, struct error *err)
{
	uint32_t signal = a->notify->signal;
	const struct task *task = a->task;
	unsigned long queued, limit;
	_cleanup_(free_p) char *text = NULL;
	struct proc_status status;
	int r = task_read_status(task, &status, &text, err);

	if (r < 0)
		return error_trace(err, r);
	const char *line = strstr(text, "\nSigQ:");
	if (!line || sscanf(line, "\nSigQ: %lu/%lu", &queued, &limit) != 2)
		return error_raise(err, EBADMSG, "/proc/%d/status has no SigQ", task->tid);
	*ret = NULL;
	if (signal == SIGKILL || signal == SIGSTOP)
		*ret = "it is to be killed or stopped by its next message";
	else if (would_undo(task, signal))
		*ret = "the signal that is to notify it of the next message would undo that it "
		       "stops or goes on";
	else if (task->leader->state == TASK_DEAD_LEADER && is_ignored(&status, signal))
		*ret = "it ignores the signal that is to notify it of the next message, and its "
		       "first thread has ended";
	else if (queued >= limit)
		*ret = "the signal that is to notify it of the next message could not be queued "
		       "(RLIMIT_SIGPENDING)";
	else if (a->c->tracer && (status.sig_pending | status.shared_pending) & bit(signal))
		return notify_see_pending(a, status.sig_pending & bit(signal), ret, err);
	return 0;
}

/* refuses what cannot be asked for; *ret: it can */
static int may_ask(struct asking *a, const char *name, bool *ret, struct error *err)
{
	uint32_t signal = a->notify->signal;
	struct checkpoint *c = a->c;
	const char *why;

	*ret = false;
	if (a->notify->how == SIGEV_THREAD)
		return refuse_notify(c, a->task, name,
		                     "a thread is to be made for its next message (SIGEV_THREAD), "
		                     "by a netlink socket",
		                     "let it cancel that, or be notified by a signal");
	if (!a->task)
		return refuse_notify(c, NULL, name,
		                     "who is to be notified of its next message is not in the "
		                     "tree, or has no descriptor of it",
		                     "let it cancel that");
	int r = signal ? see_signal(a, &why, err) : 0;
	if (r < 0)
		return error_trace(err, r);
	if (signal && why)
		return refuse_notify(c, a->task, name, why,
		                     "try again when it has taken signals, or let it cancel that");
	*ret = true;
	return 0;
}

/* ---- checkpoint ---- */

int notify_prepare(struct object *object, const char *name, struct asking *asking,
                   struct error *err)
{
	IpcMqState *s = object_state(object, IpcMqState);
	struct checkpoint *c = asking->c;
	bool may;

	asking->notify = s->notify;
	find_owner(asking, object);
	int r = may_ask(asking, name, &may, err);
	if (r < 0 || !may)
		return r;
	if (!c->tracer) {
		check_unexamined(c, asking->task, "the value of a notification (mq_notify)",
		                 CODE_ipc_mq_notify);
		return 0;
	}
	task_refer(asking->task, object);
	s->notify_pid = (uint32_t)asking->task->recorded.tgid;
	if (!s->notify->signal && !s->n_messages)
		return 0;
	notify_fill_calls(asking);
	r = notify_try_calls(asking, err);
	return r < 0 ? error_trace(err, r) : 1;
}

int notify_read(const IpcMqState *s, struct asking *asking, struct ipc_stream *ret,
                struct error *err)
{
	const struct ipc_mq_watch watch = { notify_begin, notify_end, asking };
	_cleanup_(close_p) int fd = ipc_mq_reopen(s, asking->queue, err);
	int r = fd < 0 ? fd : ipc_mq_read(s, fd, &watch, ret, err);

	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

bool notify_valid(const IpcMqState__Notify *notify)
{
	return !notify || (notify->fd <= INT32_MAX && notify->signal <= N_SIGNALS &&
	                   (notify->how == SIGEV_SIGNAL || notify->how == SIGEV_NONE));
}

/* its descriptors are in place: to close one of them would cancel it */
int notify_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const IpcMqState__Notify *notify = object_state(object, IpcMqState)->notify;

	if (!notify)
		return error_raise(err, EBADMSG, "object %u is not to notify anybody", object->id);
	struct sigevent event = { .sigev_notify = (int)notify->how,
		                  .sigev_signo = (int)notify->signal };
	event.sigev_value.sival_ptr = (void *)notify->value; /* NOLINT: an address in the task */
	calls_reserve(stub->calls, 1, sizeof(event) + 16);
	CALL(stub->calls, mq_notify, notify->fd, calls_copy(stub->calls, &event, sizeof(event)));
	return 0;
}
