/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Notification of messages. See notify.h. */
#include "kind/ipc_ns/notify.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "file.pb-c.h"
#include "files.pb-c.h"
#include "ipc/ipc.h"
#include "kind/files.h"
#include "task/calls.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/cleanup.h"

#define N_SIGNALS    64
#define SIGSET_BYTES 8

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

/* the number of a descriptor of the queue; -1: it has none */
static int find_descriptor(const struct checkpoint *c, const struct task *task, uint32_t queue)
{
	const struct object *files = task_object(task, &files_kind);
	const FilesState *s = files ? object_state(files, FilesState) : NULL;

	for (size_t i = 0; s && i < s->n_descriptors; i++) {
		const struct object *o = objects_by_id(c->objects, s->descriptors[i]->file);
		const FileState *file = o ? object_state(o, FileState) : NULL;
		if (file && file->object == queue && !(file->flags & O_PATH))
			return (int)s->descriptors[i]->number;
	}
	return -1;
}

/*
 * A thread of the process that has one. The process has: to close any of a queue's descriptors
 * cancels what it asked for.
 */
static struct task *find_owner(const struct checkpoint *c, const struct object *object,
                               uint32_t *ret_fd)
{
	const IpcMqState *s = object_state(object, IpcMqState);

	for (size_t i = 0; i < c->n_tasks; i++) {
		struct task *task = c->tasks[i];
		int fd = task->tgid == (pid_t)s->notify_pid ? find_descriptor(c, task, object->id)
		                                            : -1;
		if (fd < 0)
			continue;
		*ret_fd = (uint32_t)fd;
		return task;
	}
	return NULL;
}

/* they do something by being sent */
static bool is_job_control(uint32_t signal)
{
	return bit(signal) & (bit(SIGKILL) | bit(SIGSTOP) | bit(SIGCONT) | bit(SIGTSTP) |
	                      bit(SIGTTIN) | bit(SIGTTOU));
}

/* whether one more of this signal is queued, and is the only one; *ret: why not; NULL: it is */
static int see_room(const struct task *task, uint32_t signal, const char **ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	unsigned long queued, limit;
	struct proc_status status;
	int r = task_read_status(task, &status, &text, err);

	if (r < 0)
		return error_trace(err, r);
	const char *line = strstr(text, "\nSigQ:");
	if (!line || sscanf(line, "\nSigQ: %lu/%lu", &queued, &limit) != 2)
		return error_raise(err, EBADMSG, "/proc/%d/status has no SigQ", task->tid);
	*ret = NULL;
	if ((status.sig_pending | status.shared_pending) & bit(signal))
		*ret = "the signal that is to notify it of the next message is pending already";
	else if (queued >= limit)
		*ret = "the signal that is to notify it of the next message could not be queued "
		       "(RLIMIT_SIGPENDING)";
	return 0;
}

/* refuses what cannot be asked for; *ret: it can */
static int may_ask(const struct asking *a, const char *name, bool *ret, struct error *err)
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
	if (is_job_control(signal))
		return refuse_notify(c, a->task, name,
		                     "it is to be killed, stopped or continued by its next message",
		                     "let it cancel that, or be notified by another signal");
	if (signal && a->task->leader->state == TASK_DEAD_LEADER)
		return refuse_notify(c, a->task, name,
		                     "it is to be notified of its next message, and its first "
		                     "thread has ended",
		                     "let it cancel that");
	int r = signal ? see_room(a->task, signal, &why, err) : 0;
	if (r < 0)
		return error_trace(err, r);
	if (signal && why)
		return refuse_notify(c, a->task, name, why, "try again when it has taken signals");
	*ret = true;
	return 0;
}

/* ---- the calls that are owed ---- */

struct data {
	uint64_t signals;
	struct timespec at_once;
	union {
		siginfo_t info;
		struct {
			char head[offsetof(siginfo_t, si_value)];
			struct sigevent event; /* begins with the value */
		};
	};
};
_Static_assert(sizeof(struct data) <= INJECT_BUFFER_SIZE, "room for arguments");

/*
 * If a message has come, the signal is taken: that fills in value and SIGEV_SIGNAL. If not, the
 * last call finds that all is as it was (EBUSY). If a message has come and no signal, what is made
 * anew never notifies, as before (SIGEV_NONE): the process has called execve(2) since. Between, a
 * futex operation is the one call that stores a number of our choice.
 */
static void fill_calls(struct asking *a)
{
	uint32_t signal = a->notify->signal;
	struct data data = { .signals = bit(signal) };
	const size_t number = offsetof(struct data, event.sigev_signo);

	data.event.sigev_notify = signal ? SIGEV_NONE : (int)a->notify->how;
	memcpy(a->buffer, &data, sizeof(data));
	a->calls[0] = (struct injection){ .nr = __NR_rt_sigtimedwait,
		                          .arg = { offsetof(struct data, signals),
		                                   offsetof(struct data, info),
		                                   offsetof(struct data, at_once), SIGSET_BYTES },
		                          .buffer_args = 1 << 0 | 1 << 1 | 1 << 2 };
	a->calls[1] = (struct injection){
		.nr = __NR_futex,
		.arg = { number, FUTEX_WAKE_OP_PRIVATE, 0, 0, number,
		         FUTEX_OP(FUTEX_OP_SET, signal, FUTEX_OP_CMP_EQ, 0) },
		.buffer_args = 1 << 0 | 1 << 4,
	};
	a->calls[2] = (struct injection){ .nr = __NR_mq_notify,
		                          .arg = { a->notify->fd, offsetof(struct data, event) },
		                          .buffer_args = 1 << 1 };
}

/* whether the task can make such calls, and the descriptor is one of the queue: it is busy */
static int try_calls(struct asking *a, struct error *err)
{
	struct injection call = a->calls[2];
	char buffer[INJECT_BUFFER_SIZE];

	memcpy(buffer, a->buffer, sizeof(buffer));
	int r = tracer_inject(a->c->tracer, a->task->tid, &call, 1, buffer, err);
	if (r == 0 && call.result != -EBUSY)
		r = error_raise(err, EAGAIN, "mq_notify says %ld", call.result);
	return r < 0 ? error_trace(err, r) : 0;
}

int notify_prepare(struct object *object, const char *name, struct asking *asking,
                   struct error *err)
{
	IpcMqState *s = object_state(object, IpcMqState);
	struct checkpoint *c = asking->c;
	bool may;

	asking->notify = s->notify;
	struct task *owner = find_owner(c, object, &s->notify->fd);
	asking->task = owner;
	int r = may_ask(asking, name, &may, err);
	if (r < 0 || !may)
		return r;
	if (!c->tracer) {
		check_unexamined(c, owner, "the value of a notification (mq_notify)",
		                 CODE_ipc_mq_notify);
		return 0;
	}
	task_refer(owner, object);
	s->notify_pid = (uint32_t)owner->recorded.tgid;
	if (!s->notify->signal && !s->n_messages)
		return 0;
	fill_calls(asking);
	r = try_calls(asking, err);
	return r < 0 ? error_trace(err, r) : 1;
}

static int begin(void *arg)
{
	const struct asking *a = arg;
	struct error ignored;

	return tracer_owe(a->c->tracer, getpid(), a->task ? a->task->tid : 0, a->calls,
	                  a->notify ? NOTIFY_CALLS : 0, a->buffer, &ignored);
}

/* what was owed has been done: the value */
static int take_value(struct asking *a, struct error *err)
{
	const struct data *data = (const void *)a->buffer;
	uint32_t signal = a->notify->signal;

	if (a->calls[2].result < 0)
		return error_raise(err, (int)-a->calls[2].result, "call mq_notify anew");
	if (!signal)
		return 0;
	if (a->calls[0].result == -EAGAIN) {
		error_refuse(err, CODE_ipc_mq_notify,
		             "it is not notified of a message as it was to be: it executes another "
		             "program since");
		error_hint(err, "let it cancel that");
		return -EOPNOTSUPP;
	}
	if (a->calls[0].result != (long)signal || data->info.si_code != SI_MESGQ)
		return error_raise(err, EAGAIN, "signal %u came from elsewhere just then", signal);
	a->notify->value = (uintptr_t)data->info.si_value.sival_ptr;
	return 0;
}

static int end(void *arg, struct error *err)
{
	struct asking *a = arg;
	int r = tracer_pay(a->c->tracer, a->calls, a->notify ? NOTIFY_CALLS : 0, a->buffer, err);

	if (r == 0 && a->notify)
		r = take_value(a, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int notify_read(const IpcMqState *s, struct asking *asking, struct ipc_stream *ret,
                struct error *err)
{
	const struct ipc_mq_watch watch = { begin, end, asking };
	int r = ipc_mq_read(s, &watch, ret, err);

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
