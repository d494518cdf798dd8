/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What coordinator and tracer say to each other over their socketpair: a struct message and its
 * body, one request, one reply. A reply that failed (result < 0) has a struct error as its body.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "task/tracer.h"

enum request {
	REQUEST_HOLD = 1,  /* arg[0] = timeout in ms; body: struct hold[] both ways */
	REQUEST_READ,      /* body: struct reading[], in the reply followed by what was read */
	REQUEST_REGISTERS, /* body of the reply: struct held_registers */
	REQUEST_INJECT,    /* arg[0] = calls, arg[1] = with buffer; body: injections, buffer */
	REQUEST_OWE,     /* arg[0] = calls, arg[1] = pid; body: injections, buffer; may be empty */
	REQUEST_PAY,     /* body of the reply: what that was, with results */
	REQUEST_RELEASE, /* body: tids */
	REQUEST_REST,
	REQUEST_CHECK,
	REQUEST_THAW, /* arg[0] = stop */
	REQUEST_KILL,
	REQUEST_ADOPT,
	REQUEST_CASUALTY,
	REQUEST_LAUNCH,     /* body: struct launch, registers, xstate */
	REQUEST_LAUNCH_ALL, /* arg[0] = leave stopped */
	REQUEST_STOP,
};

struct message {
	uint32_t request;
	pid_t tid;
	int64_t result; /* replies: 0 or more, or a negative errno */
	uint64_t arg[3];
	uint64_t size; /* of the body */
};
#define MESSAGE_BODY_MAX (64u << 20)

struct reading { /* struct peek on the wire */
	uint64_t request, addr;
	uint64_t size; /* room; in the reply: bytes */
	int64_t value;
	int64_t errnum;
};
#define READ_MAX (64u << 10) /* bytes of one */

struct held_registers {
	struct user_regs_struct regs;
	struct interrupted_call call;
};

/*
 * Write or read it all, whatever signals do; -EPIPE at the end of the stream. A message is written
 * in one go, which wakes the other side once; @parts is used up.
 */
struct iovec;
int message_write(int fd, struct iovec *parts, size_t n);
int message_read(int fd, void *data, size_t size);
