/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracer: a small process that holds the tasks for the coordinator. It does what it is asked
 * over its socket, one request at a time. When the coordinator goes away, it lets all tasks go on
 * as they were (checkpoint) or ends all stubs (restart), and ends. It is in a session of its own
 * with all signals blocked, so that what ends the coordinator's group does not end it first.
 */
#include <asm/ldt.h>
#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/features.h"
#include "task/tracer_private.h"
#include "task/tracer_protocol.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION /* 5.13 */
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG /* 6.4 */
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif
#define LAUNCHING_POLL_MS 20 /* how often other stubs are looked at, when nothing else is asked */

/* what a request got and gives */
struct exchange {
	struct message in, out;
	void *body;  /* of the request, in.size bytes */
	void *reply; /* of the reply, out.size bytes */
};

static struct traced *find_held(struct trace *t, pid_t tid, struct error *err)
{
	struct traced *task = trace_find(t, tid);

	if (!task || task->gone || !task->stopped) {
		error_raise(err, ESRCH, "task %d is not held", tid);
		return NULL;
	}
	return task;
}

static int do_hold(struct trace *t, struct exchange *x, struct error *err)
{
	x->reply = xmemdup(x->body, x->in.size);
	x->out.size = x->in.size;
	return trace_hold(t, x->reply, x->in.size / sizeof(struct hold), (unsigned)x->in.arg[0],
	                  err);
}

/* ptrace(PTRACE_PEEKUSER) of the C library returns the word instead */
static long peek_user(pid_t tid, uint64_t address, void *buffer)
{
	return syscall(SYS_ptrace, PTRACE_PEEKUSER, tid, address, buffer);
}

static long peek_siginfo(pid_t tid, uint64_t address, void *buffer, uint64_t *size)
{
	struct __ptrace_peeksiginfo_args args = {
		.off = address & 0xffffffff,
		.flags = address & PEEK_SHARED ? PTRACE_PEEKSIGINFO_SHARED : 0,
		.nr = (int)(*size / sizeof(siginfo_t)),
	};
	long r = ptrace(PTRACE_PEEKSIGINFO, tid, &args, buffer);

	*size = r < 0 ? 0 : (uint64_t)r * sizeof(siginfo_t);
	return r;
}

static long read_filter(pid_t tid, uint64_t index, void *buffer, uint64_t *size)
{
	long r = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, index, NULL);

	if (r >= 0 && (uint64_t)r * 8 > *size) {
		errno = E2BIG;
		return -1;
	}
	if (r >= 0)
		r = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, index, buffer);
	*size = r < 0 ? 0 : (uint64_t)r * 8;
	return r;
}

/* @size: room, then bytes; -1 with errno */
static long read_one(const struct traced *task, uint64_t request, uint64_t address, char *buffer,
                     uint64_t *size)
{
	struct iovec iov = { buffer, *size };
	long r;

	switch (request) {
	case PTRACE_GETREGSET:
		r = ptrace(PTRACE_GETREGSET, task->tid, address, &iov);
		*size = r < 0 ? 0 : iov.iov_len;
		return r;
	case PTRACE_PEEKUSER:
		return *size == sizeof(long) ? peek_user(task->tid, address, buffer) : -1;
	case PTRACE_PEEKSIGINFO:
		return peek_siginfo(task->tid, address, buffer, size);
	case PTRACE_GETSIGMASK: /* as found */
		if (*size == sizeof(task->sigmask))
			memcpy(buffer, &task->sigmask, sizeof(task->sigmask));
		return *size == sizeof(task->sigmask) ? 0 : -1;
	case PTRACE_GET_THREAD_AREA:
		return *size == sizeof(struct user_desc)
		               ? ptrace(PTRACE_GET_THREAD_AREA, task->tid, address, buffer)
		               : -1;
	case PTRACE_GET_RSEQ_CONFIGURATION:
	case PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG:
	case PTRACE_SECCOMP_GET_METADATA:
		/* the second argument is the size; for metadata the index is in the data */
		if (request == PTRACE_SECCOMP_GET_METADATA && *size >= sizeof(address))
			memcpy(buffer, &address, sizeof(address));
		return ptrace((enum __ptrace_request)request, task->tid, *size, buffer);
	case PTRACE_SECCOMP_GET_FILTER:
		return read_filter(task->tid, address, buffer, size);
	default:
		return -1;
	}
}

/* whether it would show what an injection changes */
static bool shows_registers(const struct reading *reading)
{
	return (reading->request == PTRACE_GETREGSET && reading->addr == NT_PRSTATUS) ||
	       (reading->request == PTRACE_PEEKUSER &&
	        reading->addr < offsetof(struct user, u_debugreg));
}

static int do_read(struct trace *t, struct exchange *x, struct error *err)
{
	struct reading *readings = x->body;
	size_t n = x->in.size / sizeof(*readings), size = n * sizeof(*readings), at = size;
	const struct traced *task = find_held(t, x->in.tid, err);

	if (!task)
		return -ESRCH;
	for (size_t i = 0; i < n; i++)
		size += readings[i].size < READ_MAX ? readings[i].size : READ_MAX;
	x->reply = xcalloc(1, size + 1);
	for (size_t i = 0; i < n; i++) {
		struct reading *one = &readings[i];
		int r = t->open == task && shows_registers(one) ? trace_rest(t, err) : 0;
		if (r < 0)
			return error_trace(err, r);
		one->size = one->size < READ_MAX ? one->size : READ_MAX;
		errno = EINVAL;
		one->value = read_one(task, one->request, one->addr, (char *)x->reply + at,
		                      &one->size);
		one->errnum = one->value < 0 ? errno : 0;
		one->size = one->value < 0 ? 0 : one->size;
		at += one->size;
	}
	memcpy(x->reply, readings, n * sizeof(*readings));
	x->out.size = at;
	return 0;
}

static int do_registers(struct trace *t, struct exchange *x, struct error *err)
{
	const struct traced *task = find_held(t, x->in.tid, err);

	if (!task)
		return -ESRCH;
	struct held_registers held = { task->regs, task->call };
	x->reply = xmemdup(&held, sizeof(held));
	x->out.size = sizeof(held);
	return 0;
}

static int do_inject(struct trace *t, struct exchange *x, struct error *err)
{
	struct traced *task = find_held(t, x->in.tid, err);
	size_t n = x->in.arg[0], calls = n * sizeof(struct injection);

	if (!task)
		return -ESRCH;
	if (x->in.size != calls + (x->in.arg[1] ? INJECT_BUFFER_SIZE : 0))
		return error_raise(err, EINVAL, "inject: bad request");
	void *buffer = x->in.arg[1] ? (char *)x->body + calls : NULL;
	int r = trace_inject(t, task, x->body, n, buffer, err);
	x->out.size = x->in.size;
	x->reply = take_ptr(x->body);
	return r;
}

static int do_owe(struct trace *t, struct exchange *x, struct error *err)
{
	struct owed owed = { .tid = x->in.tid, .n = x->in.arg[0], .body = x->body };

	if (owed.n && (!find_held(t, owed.tid, err) ||
	               x->in.size != owed.n * sizeof(struct injection) + INJECT_BUFFER_SIZE))
		return error_raise(err, EINVAL, "owe: bad request");
	int r = trace_owe(t, &owed, (pid_t)x->in.arg[1], err);
	if (r == 0)
		x->body = NULL;
	return r;
}

static int do_pay(struct trace *t, struct exchange *x, struct error *err)
{
	x->out.size = t->owed.n ? t->owed.n * sizeof(struct injection) + INJECT_BUFFER_SIZE : 0;
	return trace_pay(t, &x->reply, err);
}

static int do_release(struct trace *t, struct exchange *x)
{
	const pid_t *tids = x->body;

	for (size_t i = 0; i < x->in.size / sizeof(*tids); i++) {
		struct traced *task = trace_find(t, tids[i]);
		if (task)
			trace_release(t, task);
	}
	return 0;
}

static int do_casualty(struct trace *t, struct exchange *x)
{
	trace_events(t);
	if (t->next_death == t->n_deaths)
		return 0;
	x->out.tid = t->deaths[t->next_death].tid;
	x->out.arg[0] = (uint64_t)t->deaths[t->next_death].status;
	t->next_death++;
	return 0;
}

static int do_launch(struct trace *t, struct exchange *x, struct error *err)
{
	const size_t regs_at = sizeof(struct launch);
	const size_t xstate_at = regs_at + sizeof(struct user_regs_struct);
	struct launch l;

	if (x->in.size < xstate_at)
		return error_raise(err, EINVAL, "launch: bad request");
	memcpy(&l, x->body, sizeof(l));
	l.regs = (char *)x->body + regs_at;
	l.xstate = (char *)x->body + xstate_at;
	l.xstate_size = x->in.size - xstate_at;
	/* not at each: every look at all stubs would make it quadratic in them */
	if (!t->launching)
		trace_events(t);
	t->launching = true;
	return trace_launch(t, &l, err);
}

/*
 * whether a request can be answered while an injection is open; these look themselves whose it is
 */
static bool may_stay_open(uint32_t request)
{
	return request == REQUEST_READ || request == REQUEST_REGISTERS || request == REQUEST_INJECT;
}

static int dispatch(struct trace *t, struct exchange *x, struct error *err)
{
	if (t->open && !may_stay_open(x->in.request)) {
		int r = trace_rest(t, err);
		if (r < 0)
			return error_trace(err, r);
	}
	switch ((enum request)x->in.request) {
	case REQUEST_HOLD:
		return do_hold(t, x, err);
	case REQUEST_READ:
		return do_read(t, x, err);
	case REQUEST_REGISTERS:
		return do_registers(t, x, err);
	case REQUEST_INJECT:
		return do_inject(t, x, err);
	case REQUEST_OWE:
		return do_owe(t, x, err);
	case REQUEST_PAY:
		return do_pay(t, x, err);
	case REQUEST_RELEASE:
		return do_release(t, x);
	case REQUEST_THAW:
		trace_thaw(t, x->in.arg[0]);
		return 0;
	case REQUEST_KILL:
		trace_kill(t);
		return 0;
	case REQUEST_ADOPT:
		return trace_adopt(t, x->in.tid, err);
	case REQUEST_CASUALTY:
		return do_casualty(t, x);
	case REQUEST_LAUNCH:
		return do_launch(t, x, err);
	case REQUEST_LAUNCH_ALL:
		return trace_launch_all(t, x->in.arg[0], err);
	case REQUEST_REST:
	case REQUEST_CHECK:
	case REQUEST_STOP:
		return 0;
	}
	return error_raise(err, EINVAL, "unknown request %u", x->in.request);
}

/* takes one request and answers it; false when the coordinator has gone or is done */
static bool serve(struct trace *t)
{
	struct exchange x = { 0 };
	struct error err = ERROR_INIT;
	bool go_on;

	if (message_read(t->socket, &x.in, sizeof(x.in)) < 0 || x.in.size > MESSAGE_BODY_MAX)
		return false;
	x.body = xmalloc(x.in.size + 1);
	go_on = message_read(t->socket, x.body, x.in.size) == 0;
	if (go_on) {
		int r = dispatch(t, &x, &err);
		x.out.result = r;
		if (r < 0)
			x.out.size = sizeof(err);
		struct iovec parts[] = { { &x.out, sizeof(x.out) },
			                 { r < 0 ? (void *)&err : x.reply, x.out.size } };
		go_on = x.in.request != REQUEST_STOP && message_write(t->socket, parts, 2) == 0;
	}
	free(x.body);
	free(x.reply);
	return go_on;
}

/* whether PTRACE_O_SUSPEND_SECCOMP can work: CAP_SYS_ADMIN, and no filter of our own */
static bool may_suspend(void)
{
	char line[256];
	unsigned long caps = 0;
	int mode = 1;

	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "CapEff: %lx", &caps);
		sscanf(line, "Seccomp: %d", &mode);
	}
	if (f)
		fclose(f);
	return (caps & 1ul << 21) && mode == 0 &&
	       !feature_forced_off(FEATURE_ptrace_suspend_seccomp);
}

/* our own session, no signals, no descriptors but the socket */
static void detach_from_coordinator(int socket)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_DFL);
	setsid();
	prctl(PR_SET_NAME, "stasis-tracer");
	if (chdir("/") < 0)
		_exit(125);
	if (socket > 0)
		syscall(SYS_close_range, 0, socket - 1, 0);
	syscall(SYS_close_range, socket + 1, ~0u, 0);
}

void tracer_process(int socket, pid_t coordinator)
{
	struct trace t = {
		.socket = socket, .coordinator = -1, .by_tid = map_new(), .owed = OWED_NONE
	};
	sigset_t children;
	bool go_on = true;

	detach_from_coordinator(socket);
	t.may_suspend = may_suspend();
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	int signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	/* a stub in the making may hold a copy of the socket's other end for a moment */
	int pidfd = (int)syscall(SYS_pidfd_open, coordinator, 0);
	if (getppid() != coordinator || signals < 0 || pidfd < 0)
		_exit(125);
	t.coordinator = pidfd;
	while (go_on) {
		struct pollfd p[] = { { .fd = socket, .events = POLLIN },
			              { .fd = pidfd, .events = POLLIN },
			              { .fd = t.restart && !t.launching ? signals : -1,
			                .events = POLLIN } };
		int n = poll(p, 3, t.launching ? LAUNCHING_POLL_MS : -1);
		if (n < 0)
			continue;
		if (n == 0)
			trace_events(&t);
		if (p[2].revents) {
			struct signalfd_siginfo info;
			while (read(signals, &info, sizeof(info)) > 0)
				;
			trace_events(&t);
		}
		if (p[0].revents & POLLIN)
			go_on = serve(&t);
		else if (p[0].revents || p[1].revents)
			go_on = false;
	}
	if (t.restart) {
		trace_kill_stubs(&t);
	} else {
		trace_thaw(&t, false);
	}
	_exit(0);
}
