/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator's side of the tracer: requests over a socketpair. See tracer.h. */
#include "task/tracer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "task/tracer_protocol.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct tracer {
	pthread_mutex_t lock;
	int socket;
	pid_t pid;
	pid_t *held; /* what tracer_hold() has got, for a kill without the tracer */
	size_t n_held;
};

int message_write(int fd, struct iovec *parts, size_t n)
{
	while (n) {
		struct msghdr m = { .msg_iov = parts, .msg_iovlen = n };
		ssize_t sent = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		for (; n && (size_t)sent >= parts->iov_len; parts++, n--)
			sent -= (ssize_t)parts->iov_len;
		if (n) {
			parts->iov_base = (char *)parts->iov_base + sent;
			parts->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

int message_read(int fd, void *data, size_t size)
{
	while (size) {
		ssize_t n = recv(fd, data, size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		data = (char *)data + n;
		size -= (size_t)n;
	}
	return 0;
}

int tracer_start(struct tracer **ret, struct error *err)
{
	int pair[2];
	pid_t self = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_raise(err, errno, "socketpair for the tracer");
	pid_t pid = fork();
	if (pid == 0)
		tracer_process(pair[1], self);
	close(pair[1]);
	if (pid < 0) {
		int r = error_raise(err, errno, "fork of the tracer");
		close(pair[0]);
		return r;
	}
	struct tracer *t = xcalloc(1, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	t->socket = pair[0];
	t->pid = pid;
	*ret = t;
	return 0;
}

pid_t tracer_pid(const struct tracer *t)
{
	return t->pid;
}

void tracer_stop(struct tracer *t)
{
	struct message stop = { .request = REQUEST_STOP };

	if (!t)
		return;
	message_write(t->socket, &(struct iovec){ &stop, sizeof(stop) }, 1);
	/* one that waits for the rest of a request that failed sees the end of the stream */
	shutdown(t->socket, SHUT_RDWR);
	/* it has put all back, or ended all, when it ends */
	while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(t->socket);
	pthread_mutex_destroy(&t->lock);
	free(t->held);
	free(t);
}

/* what a message consists of, at most: its head and three parts */
#define PARTS_MAX 4

static int lost(struct error *err, int r)
{
	return error_raise(err, -r, "the tracer process has gone");
}

/*
 * One request and its reply. @parts: the body; @reply: room for @reply_size bytes at most; *out is
 * the reply's head.
 */
static int request(struct tracer *t, struct message *in, const struct iovec *parts, size_t n_parts,
                   void *reply, size_t reply_size, struct message *out, struct error *err)
{
	struct iovec all[PARTS_MAX] = { { in, sizeof(*in) } };
	int r;

	*out = (struct message){ 0 };
	in->size = 0;
	for (size_t i = 0; i < n_parts; i++) {
		all[i + 1] = parts[i];
		in->size += parts[i].iov_len;
	}
	pthread_mutex_lock(&t->lock);
	r = message_write(t->socket, all, n_parts + 1);
	if (r == 0)
		r = message_read(t->socket, out, sizeof(*out));
	if (r == 0 && out->result < 0)
		r = out->size == sizeof(*err) ? message_read(t->socket, err, sizeof(*err))
		                              : -EPROTO;
	else if (r == 0)
		r = out->size <= reply_size ? message_read(t->socket, reply, out->size) : -EPROTO;
	if (r < 0) /* the two are out of step: it is to put all back */
		shutdown(t->socket, SHUT_RDWR);
	pthread_mutex_unlock(&t->lock);
	if (r < 0)
		return lost(err, r);
	return out->result < 0 ? error_trace(err, (int)out->result) : 0;
}

int tracer_hold(struct tracer *t, struct hold *holds, size_t n, unsigned timeout_ms,
                struct error *err)
{
	struct message in = { .request = REQUEST_HOLD, .arg = { timeout_ms } }, out;
	struct iovec part = { holds, n * sizeof(*holds) };

	int r = request(t, &in, &part, 1, holds, part.iov_len, &out, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (holds[i].state == HOLD_HELD || holds[i].state == HOLD_STOPPED)
			*array_push(t->held, t->n_held) = holds[i].tid;
	return 0;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* the bytes of each follow one another in the reply */
static int take_readings(struct peek *peeks, size_t n, const char *reply, size_t size)
{
	const struct reading *readings = (const void *)reply;
	size_t at = n * sizeof(*readings);

	if (size < at)
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		const struct reading *from = &readings[i];
		if (from->size > peeks[i].size || from->size > size - at)
			return -EPROTO;
		peeks[i].errnum = (int)from->errnum;
		peeks[i].value = (long)from->value;
		peeks[i].size = from->size;
		memcpy(peeks[i].buffer, reply + at, from->size);
		at += from->size;
	}
	return 0;
}

int tracer_read_many(struct tracer *t, pid_t tid, struct peek *peeks, size_t n, struct error *err)
{
	struct message in = { .request = REQUEST_READ, .tid = tid }, out;
	struct reading readings[PEEKS_MAX] = { 0 };
	struct iovec part = { readings, n * sizeof(readings[0]) };
	size_t size = part.iov_len;

	assert(n <= PEEKS_MAX);
	for (size_t i = 0; i < n; i++) {
		readings[i] = (struct reading){ .request = (uint64_t)peeks[i].request,
			                        .addr = peeks[i].addr,
			                        .size = min_size(peeks[i].size, READ_MAX) };
		size += readings[i].size;
	}
	_cleanup_(free_p) char *reply = xmalloc(size);
	int r = request(t, &in, &part, 1, reply, size, &out, err);
	if (r < 0)
		return r;
	r = take_readings(peeks, n, reply, out.size);
	return r < 0 ? lost(err, r) : 0;
}

int tracer_read(struct tracer *t, pid_t tid, int what, uint64_t addr, void *buffer, size_t *size,
                long *ret_value, struct error *err)
{
	struct peek peek = { .request = what, .addr = addr, .buffer = buffer, .size = *size };
	int r = tracer_read_many(t, tid, &peek, 1, err);

	if (r < 0)
		return r;
	if (peek.errnum)
		return error_raise(err, peek.errnum, "ptrace request %x, %lx", what, addr);
	*size = peek.size;
	if (ret_value)
		*ret_value = peek.value;
	return 0;
}

int tracer_registers(struct tracer *t, pid_t tid, struct user_regs_struct *ret,
                     struct interrupted_call *ret_call, struct error *err)
{
	struct message in = { .request = REQUEST_REGISTERS, .tid = tid }, out;
	struct held_registers held;
	int r = request(t, &in, NULL, 0, &held, sizeof(held), &out, err);

	if (r < 0)
		return r;
	*ret = held.regs;
	*ret_call = held.call;
	return 0;
}

int tracer_inject(struct tracer *t, pid_t tid, struct injection *calls, size_t n, void *buffer,
                  struct error *err)
{
	struct message in = { .request = REQUEST_INJECT, .tid = tid, .arg = { n, buffer != NULL } },
		       out;
	struct iovec parts[] = { { calls, n * sizeof(*calls) }, { buffer, INJECT_BUFFER_SIZE } };
	size_t size = parts[0].iov_len + (buffer ? INJECT_BUFFER_SIZE : 0);
	_cleanup_(free_p) char *reply = xmalloc(size + 1);

	int r = request(t, &in, parts, buffer ? 2 : 1, reply, size, &out, err);
	if (r < 0)
		return r;
	memcpy(calls, reply, parts[0].iov_len);
	if (buffer)
		memcpy(buffer, reply + parts[0].iov_len, INJECT_BUFFER_SIZE);
	return 0;
}

int tracer_owe(struct tracer *t, pid_t after, pid_t tid, const struct injection *calls, size_t n,
               const void *buffer, struct error *err)
{
	struct message in = { .request = REQUEST_OWE, .tid = tid, .arg = { n, (uint64_t)after } },
		       out;
	const struct iovec parts[] = { { (void *)calls, n * sizeof(*calls) },
		                       { (void *)buffer, INJECT_BUFFER_SIZE } };

	return request(t, &in, parts, n ? 2 : 0, NULL, 0, &out, err);
}

int tracer_pay(struct tracer *t, struct injection *calls, size_t n, void *buffer, struct error *err)
{
	struct message in = { .request = REQUEST_PAY }, out;
	size_t size = n * sizeof(*calls) + INJECT_BUFFER_SIZE;
	_cleanup_(free_p) char *reply = xmalloc(size);

	int r = request(t, &in, NULL, 0, reply, size, &out, err);
	if (r < 0 || n == 0)
		return r;
	if (out.size != size)
		return error_raise(err, EPROTO, "nothing is owed");
	memcpy(calls, reply, n * sizeof(*calls));
	memcpy(buffer, reply + n * sizeof(*calls), INJECT_BUFFER_SIZE);
	return 0;
}

int tracer_release(struct tracer *t, const pid_t *tids, size_t n, struct error *err)
{
	struct message in = { .request = REQUEST_RELEASE }, out;
	struct iovec part = { (void *)tids, n * sizeof(*tids) };

	return request(t, &in, &part, 1, NULL, 0, &out, err);
}

int tracer_rest(struct tracer *t, struct error *err)
{
	struct message in = { .request = REQUEST_REST }, out;

	return request(t, &in, NULL, 0, NULL, 0, &out, err);
}

int tracer_check(struct tracer *t, struct error *err)
{
	struct message in = { .request = REQUEST_CHECK }, out;

	return request(t, &in, NULL, 0, NULL, 0, &out, err);
}

int tracer_thaw(struct tracer *t, bool stop, struct error *err)
{
	struct message in = { .request = REQUEST_THAW, .arg = { stop } }, out;

	return request(t, &in, NULL, 0, NULL, 0, &out, err);
}

int tracer_kill(struct tracer *t, struct error *err)
{
	struct message in = { .request = REQUEST_KILL }, out;
	struct error lost_err;

	int r = tracer_check(t, err);
	if (r < 0)
		return error_trace(err, r);
	r = request(t, &in, NULL, 0, NULL, 0, &out, &lost_err);
	if (r == 0)
		return 0;
	/* all or nothing: it may have begun, and without it the others are running again */
	for (size_t i = 0; i < t->n_held; i++)
		kill(t->held[i], SIGKILL);
	return 0;
}

int tracer_adopt(struct tracer *t, pid_t root, struct error *err)
{
	struct message in = { .request = REQUEST_ADOPT, .tid = root }, out;

	return request(t, &in, NULL, 0, NULL, 0, &out, err);
}

pid_t tracer_casualty(struct tracer *t, int *ret_status)
{
	struct message in = { .request = REQUEST_CASUALTY }, out;
	struct error ignored;

	if (request(t, &in, NULL, 0, NULL, 0, &out, &ignored) < 0)
		return 0;
	*ret_status = (int)out.arg[0];
	return out.tid;
}

int tracer_launch(struct tracer *t, const struct launch *launch, struct error *err)
{
	struct message in = { .request = REQUEST_LAUNCH, .tid = launch->tid }, out;
	struct iovec parts[] = { { (void *)launch, sizeof(*launch) },
		                 { (void *)launch->regs, sizeof(struct user_regs_struct) },
		                 { (void *)launch->xstate, launch->xstate_size } };

	return request(t, &in, parts, 3, NULL, 0, &out, err);
}

int tracer_launch_all(struct tracer *t, bool leave_stopped, struct error *err)
{
	struct message in = { .request = REQUEST_LAUNCH_ALL, .arg = { leave_stopped } }, out;

	return request(t, &in, NULL, 0, NULL, 0, &out, err);
}
