/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is to be notified of the next message in a POSIX message queue, mq_notify(3). The kernel
 * shows who and by which signal, but nobody the value that goes with it. So we ask: a message
 * comes, the signal with it, which the process has queued while it is held; it takes it back, and
 * makes the call anew. The tracer has it do so even if the coordinator goes in between.
 */
#pragma once

#include <signal.h>

#include "ipc_ns.pb-c.h"
#include "kind/kind.h"
#include "task/tracer.h"

struct ipc_stream;

#define NOTIFY_PENDING_MAX 3 /* signals of that number that were pending before */
#define NOTIFY_CALLS       (3 + 2 * NOTIFY_PENDING_MAX)

/* how messages are taken from a queue and put back, and what is owed for it */
struct asking {
	struct checkpoint *c;
	int queue;                  /* -1: by its name */
	IpcMqState__Notify *notify; /* NULL: nobody is to be notified */
	struct task *task;          /* who makes the calls */
	bool kept;                  /* execve(2) would leave it the queue */
	siginfo_t pending[NOTIFY_PENDING_MAX];
	size_t n_pending, n_calls;
	struct injection calls[NOTIFY_CALLS];
	_Alignas(8) char buffer[INJECT_BUFFER_SIZE];
};

/*
 * For a queue with a notification: 1 if its messages are to be read now and @asking with them,
 * which fills in the value; 0 if not, or if it was refused.
 */
int notify_prepare(struct object *object, const char *name, struct asking *asking,
                   struct error *err);
/* ipc_mq_read() */
int notify_read(const IpcMqState *s, struct asking *asking, struct ipc_stream *ret,
                struct error *err);

/* ---- notify_calls.c: how it is asked ---- */
/* fills a->pending; *ret: why they cannot be put away for it. @own: some are of the task alone. */
int notify_see_pending(struct asking *a, bool own, const char **ret, struct error *err);
void notify_fill_calls(struct asking *a);
/* whether the task can make such calls, and the descriptor is one of the queue: it is busy */
int notify_try_calls(const struct asking *a, struct error *err);
/* struct ipc_mq_watch, for a struct asking */
int notify_begin(void *arg);
int notify_end(void *arg, struct error *err);

bool notify_valid(const IpcMqState__Notify *notify); /* NULL is valid */
/* in the task that refers to the queue itself */
int notify_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err);
