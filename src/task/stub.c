/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kinds do with stubs. See stub.h. */
#include "task/stub.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "core/restart.h"
#include "kind/object.h"
#include "task/plan.h"
#include "util/fds.h"

struct object *stub_object(const struct stub *stub, const struct kind *kind)
{
	for (size_t i = 0; i < stub->n_objects; i++)
		if (stub->objects[i]->kind == kind)
			return stub->objects[i];
	return NULL;
}

pid_t stub_number(const struct stub *of, const struct stub *viewer)
{
	if (!plan_ns_within(of->ns, viewer->ns))
		return 0;
	return viewer->ns ? of->inner[viewer->ns->level - 1] : of->tid;
}

pid_t stub_number_of(const struct restart *r, pid_t pid, const struct stub *viewer)
{
	const struct stub *of = restart_stub_any(r, pid);

	return of ? stub_number(of, viewer) : viewer->ns ? 0 : pid;
}

/* what the stub's recvmsg(2) needs; the answer's header is read back from its memory */
struct receipt {
	struct msghdr message;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
};

static struct receipt *add_receive(struct calls *calls, int socket)
{
	struct receipt *receipt;
	uint64_t addr;

	calls_reserve(calls, 1, sizeof(*receipt));
	receipt = calls_data(calls, sizeof(*receipt), &addr);
	receipt->iov = (struct iovec){ .iov_base = &receipt->byte, .iov_len = 1 };
	receipt->message = (struct msghdr){ .msg_iov = &receipt->iov,
		                            .msg_iovlen = 1,
		                            .msg_control = &receipt->control,
		                            .msg_controllen = sizeof(receipt->control) };
	CALL(calls, recvmsg, socket, addr, MSG_CMSG_CLOEXEC);
	return receipt;
}

static int hand_over(struct restart *r, struct stub *stub, const int *fds, size_t n,
                     struct error *err)
{
	struct receipt *receipt;
	if (fds_send(r->socket, fds, n) < 0)
		return error_raise(err, errno, "send %zu descriptors to a new task", n);
	receipt = add_receive(stub->calls, r->stub_socket);
	int e = calls_run(stub->calls, err);
	if (e < 0)
		return e;
	if (receipt->control.header.cmsg_len != CMSG_LEN(n * sizeof(int)))
		return error_raise(err, EMFILE, "hand %zu descriptors to new task %d", n,
		                   stub->tid);
	return 0;
}

int stub_send_fds(struct restart *r, struct stub *stub, const int *fds, size_t n, struct error *err)
{
	int e = calls_run(stub->calls, err); /* a failure must not leave the message behind */

	/* one socket for all: only one stub at a time may be receiving */
	pthread_mutex_lock(&r->socket_lock);
	for (size_t i = 0; e == 0 && i < n; i += FDS_MAX)
		e = hand_over(r, stub, fds + i, n - i < FDS_MAX ? n - i : FDS_MAX, err);
	pthread_mutex_unlock(&r->socket_lock);
	return e < 0 ? error_trace(err, e) : 0;
}
