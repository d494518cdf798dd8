/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracer: a small process that holds the tasks for the coordinator. It does what it is asked
 * over its socket, one request at a time. When the coordinator goes away, it lets all tasks go on
 * as they were (checkpoint) or ends all stubs (restart), and ends. It is in a session of its own
 * with all signals blocked, so that what ends the coordinator's group does not end it first.
 */
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

#define READ_MAX          (64u << 10)
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

static int do_read(struct trace *t, struct exchange *x, struct error *err)
{
	int request = (int)x->in.arg[0];
	uint64_t address = x->in.arg[1];
	size_t room = x->in.arg[2] < READ_MAX ? x->in.arg[2] : READ_MAX;
	struct iovec iov;
	const struct traced *task = find_held(t, x->in.tid, err);

	if (!task)
		return -ESRCH;
	x->reply = xcalloc(1, room + 1);
	x->out.size = room;
	long r;
	errno = 0;
	switch (request) {
	case PTRACE_GETREGSET:
		iov = (struct iovec){ x->reply, room };
		r = ptrace(PTRACE_GETREGSET, x->in.tid, address, &iov);
		x->out.size = r < 0 ? 0 : iov.iov_len;
		break;
	case PTRACE_PEEKUSER:
		r = syscall(SYS_ptrace, PTRACE_PEEKUSER, x->in.tid, address, x->reply);
		x->out.size = sizeof(long);
		break;
	case PTRACE_PEEKSIGINFO: {
		struct __ptrace_peeksiginfo_args args = {
			.off = address & 0xffffffff,
			.flags = address & PEEK_SHARED ? PTRACE_PEEKSIGINFO_SHARED : 0,
			.nr = (int)(room / sizeof(siginfo_t)),
		};
		r = ptrace(PTRACE_PEEKSIGINFO, x->in.tid, &args, x->reply);
		x->out.size = r < 0 ? 0 : (size_t)r * sizeof(siginfo_t);
		break;
	}
	case PTRACE_GETSIGMASK: /* as found */
		if (room != sizeof(task->sigmask))
			return error_raise(err, EINVAL, "a signal mask has %zu bytes",
			                   sizeof(task->sigmask));
		memcpy(x->reply, &task->sigmask, sizeof(task->sigmask));
		r = 0;
		break;
	case 0x420f: /* PTRACE_GET_RSEQ_CONFIGURATION, 5.13 */
	case 0x4211: /* PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, 6.4 */
	case PTRACE_SECCOMP_GET_METADATA:
		/* the request's second argument is the size; for metadata the index is in the data
		 */
		if (request == PTRACE_SECCOMP_GET_METADATA && room >= sizeof(address))
			memcpy(x->reply, &address, sizeof(address));
		r = ptrace(request, x->in.tid, room, x->reply);
		break;
	case PTRACE_SECCOMP_GET_FILTER: {
		r = ptrace(PTRACE_SECCOMP_GET_FILTER, x->in.tid, address, NULL);
		if (r >= 0 && (size_t)r * 8 > room)
			return error_raise(err, E2BIG, "a filter of %ld instructions", r);
		if (r >= 0)
			r = ptrace(PTRACE_SECCOMP_GET_FILTER, x->in.tid, address, x->reply);
		x->out.size = r < 0 ? 0 : (size_t)r * 8;
		break;
	}
	default:
		return error_raise(err, EINVAL, "ptrace request %x is not one that reads", request);
	}
	if (r < 0)
		return error_raise(err, errno, "ptrace request %x, %lx", request, address);
	x->out.arg[0] = (uint64_t)r;
	return 0;
}

static int do_registers(struct trace *t, struct exchange *x, struct error *err)
{
	struct traced *task = find_held(t, x->in.tid, err);

	if (!task)
		return -ESRCH;
	if (x->in.request == REQUEST_REGISTERS) {
		x->reply = xmemdup(&task->regs, sizeof(task->regs));
		x->out.size = sizeof(task->regs);
	} else {
		x->reply = xmemdup(&task->call, sizeof(task->call));
		x->out.size = sizeof(task->call);
	}
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

/* whether a request can be answered while an injection is open: it shows nothing that this changes
 */
static bool may_stay_open(const struct trace *t, const struct message *in)
{
	uint64_t request = in->arg[0], address = in->arg[1];

	if (in->request == REQUEST_READ)
		return in->tid != t->open->tid ||
		       !((request == PTRACE_GETREGSET && address == NT_PRSTATUS) ||
		         (request == PTRACE_PEEKUSER &&
		          address < offsetof(struct user, u_debugreg)));
	/* trace_inject() knows which task it is */
	return in->request == REQUEST_INJECT || in->request == REQUEST_REGISTERS ||
	       in->request == REQUEST_INTERRUPTED;
}

static int dispatch(struct trace *t, struct exchange *x, struct error *err)
{
	if (t->open && !may_stay_open(t, &x->in)) {
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
	case REQUEST_INTERRUPTED:
		return do_registers(t, x, err);
	case REQUEST_INJECT:
		return do_inject(t, x, err);
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
	struct trace t = { .socket = socket, .coordinator = -1, .by_tid = map_new() };
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
		trace_rest(&t, &(struct error){ 0 });
		trace_thaw(&t, false);
	}
	_exit(0);
}
