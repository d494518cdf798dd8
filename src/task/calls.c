/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of system calls, built and run. See calls.h.
 *
 * A list is in one of three states: being built, running (the stub's turn), finished with results
 * that can be read until the next call is added. The memory is shared with the stub at the same
 * address here and there, so buffers need no translation.
 */
#include "task/calls.h"

#include <linux/futex.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_64/stub_slot.h"
#include "util/alloc.h"

#define SPINS        400
#define WAIT_STEP_MS 20 /* how often a silent stub's health is asked for */

struct entry {
	uint64_t nr, arg[6];
	uint32_t flags;
	int32_t child;
};
struct slot {
	uint32_t turn, n, done, first, pad[12];
	struct entry entries[CALLS_MAX];
	int64_t results[CALLS_MAX];
	char room[STUB_DATA - STUB_RESULTS - 8 * CALLS_MAX];
	char data[CALLS_DATA_MAX];
};
static_assert(sizeof(struct entry) == STUB_ENTRY_SIZE, "as in stub.S");
static_assert(offsetof(struct entry, arg) == STUB_ENTRY_ARG, "as in stub.S");
static_assert(offsetof(struct entry, flags) == STUB_ENTRY_FLAGS, "as in stub.S");
static_assert(offsetof(struct entry, child) == STUB_ENTRY_CHILD, "as in stub.S");
static_assert(offsetof(struct slot, turn) == STUB_TURN, "as in stub.S");
static_assert(offsetof(struct slot, n) == STUB_N, "as in stub.S");
static_assert(offsetof(struct slot, done) == STUB_DONE, "as in stub.S");
static_assert(offsetof(struct slot, first) == STUB_FIRST, "as in stub.S");
static_assert(STUB_ENTRY_SIZE == 1 << 6, "as in stub.S");
static_assert(offsetof(struct slot, entries) == STUB_CALLS, "as in stub.S");
static_assert(offsetof(struct slot, results) == STUB_RESULTS, "as in stub.S");
static_assert(offsetof(struct slot, data) == STUB_DATA, "as in stub.S");
static_assert(sizeof(struct slot) == STUB_SLOT_SIZE, "as in stub.S");

enum state { BUILDING, RUNNING, FINISHED };

struct calls {
	struct slot *slot;
	const struct watch *watch;
	pid_t tid;
	char comm[20];
	enum state state;
	bool left;
	unsigned n;
	size_t used;    /* bytes of data */
	unsigned guard; /* the call of calls_add_guard() that is to fail; CALLS_MAX: none */
	const char *what[CALLS_MAX];
	struct error failure; /* the first one; sticks */
};

struct calls *calls_new(uint64_t slot, const struct watch *watch, pid_t tid)
{
	struct calls *calls = xcalloc(1, sizeof(*calls));

	calls->slot = (struct slot *)slot;
	calls->watch = watch;
	calls->tid = tid;
	return calls;
}

void calls_free(struct calls *calls)
{
	free(calls);
}

void calls_set_comm(struct calls *calls, const char *comm)
{
	snprintf(calls->comm, sizeof(calls->comm), "%s", comm);
}

bool calls_left(const struct calls *calls)
{
	return calls->left;
}

static void fail(struct calls *calls, int errnum, const char *what)
{
	if (calls->failure.errnum)
		return;
	error_raise(&calls->failure, errnum, "%s, in the new task", what);
	error_task(&calls->failure, calls->tid, calls->comm);
}

/* after a list has been read or run: the next one begins */
static void begin(struct calls *calls)
{
	struct error ignored;

	if (calls->state == RUNNING)
		calls_finish(calls, &ignored); /* a failure sticks */
	if (calls->state != FINISHED)
		return;
	calls->state = BUILDING;
	calls->n = 0;
	calls->used = 0;
	calls->guard = CALLS_MAX;
}

void calls_reserve(struct calls *calls, unsigned n, size_t size)
{
	struct error ignored;

	begin(calls);
	if (calls->n + n <= CALLS_MAX && calls->used + size + 16 <= CALLS_DATA_MAX)
		return;
	assert(n <= CALLS_MAX && size + 16 <= CALLS_DATA_MAX);
	calls_run(calls, &ignored);
	begin(calls);
}

unsigned calls_add(struct calls *calls, const struct call *call)
{
	begin(calls);
	if (calls->n == CALLS_MAX) {
		assert(call->result_args == 0); /* what belongs together is reserved together */
		calls_reserve(calls, 1, 0);
	}
	struct entry *e = &calls->slot->entries[calls->n];
	e->nr = call->nr;
	memcpy(e->arg, call->arg, sizeof(e->arg));
	for (unsigned i = 0; i < 6; i++)
		assert(!(call->result_args >> i & 1) || call->arg[i] < calls->n);
	e->flags = (call->result_args & 0x3f) | (call->may_fail ? 1u << STUB_MAY_FAIL : 0);
	e->child = 0;
	calls->what[calls->n] = call->what;
	return calls->n++;
}

unsigned calls_add_clone(struct calls *calls, const void *args, size_t args_size, uint64_t slot)
{
	uint64_t addr = calls_copy(calls, args, args_size);
	unsigned index = CALL(calls, clone3, addr, args_size);

	calls->slot->entries[index].child =
		(int32_t)(((int64_t)slot - (int64_t)(uintptr_t)calls->slot) >> 12);
	return index;
}

/* a list goes on only after success: here at the end of the stream, where otherwise it is EAGAIN */
void calls_add_guard(struct calls *calls, int socket)
{
	uint64_t byte;

	calls_data(calls, 1, &byte);
	calls->guard = CALL(calls, recvfrom, socket, byte, 1, MSG_DONTWAIT);
	CALL(calls, exit_group, 1);
}

void *calls_data(struct calls *calls, size_t size, uint64_t *ret_addr)
{
	char *p;

	begin(calls);
	/* the calls that will use the data must come into the same list */
	if (calls->used + size + 16 > CALLS_DATA_MAX || calls->n + 16 > CALLS_MAX)
		calls_reserve(calls, 16, size);
	p = calls->slot->data + calls->used;
	calls->used += (size + 15) & ~15ul;
	memset(p, 0, size);
	*ret_addr = (uintptr_t)p;
	return p;
}

uint64_t calls_copy(struct calls *calls, const void *data, size_t size)
{
	uint64_t addr;
	void *p = calls_data(calls, size, &addr);

	memcpy(p, data, size);
	return addr;
}

static void give_turn(struct calls *calls, unsigned first)
{
	struct slot *slot = calls->slot;

	slot->n = calls->n;
	slot->first = first;
	slot->done = 0;
	__atomic_store_n(&slot->turn, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &slot->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	calls->state = RUNNING;
}

void calls_start(struct calls *calls)
{
	if (calls->state == BUILDING && calls->n > 0 && !calls->failure.errnum)
		give_turn(calls, 0);
}

void calls_leave(struct calls *calls)
{
	calls->left = true;
	calls_start(calls);
}

void calls_renew(struct calls *calls)
{
	__atomic_store_n(&calls->slot->turn, 0, __ATOMIC_SEQ_CST);
	calls->left = false;
	calls->state = FINISHED;
}

static void note_casualty(struct calls *calls)
{
	const struct watch *watch = calls->watch;
	int status = 0;
	pid_t pid = watch && watch->casualty ? watch->casualty(watch->arg, &status) : 0;

	if (pid == 0)
		return;
	if (calls->failure.errnum)
		return;
	if (WIFSIGNALED(status))
		error_raise(&calls->failure, ECHILD, "new task %d died by signal %d", pid,
		            WTERMSIG(status));
	else
		error_raise(&calls->failure, ECHILD, "new task %d ended with wait status 0x%x", pid,
		            status);
	error_task(&calls->failure, calls->tid, calls->comm);
	if (calls->slot->done < CALLS_MAX && calls->what[0])
		error_hint(&calls->failure, "while running a list that starts with %s",
		           calls->what[0]);
}

/* until the turn is ours again; false when a stub has died */
static bool wait_turn(struct calls *calls)
{
	static const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000L };
	uint32_t *turn = &calls->slot->turn;

	for (unsigned i = 0; i < SPINS; i++) {
		if (__atomic_load_n(turn, __ATOMIC_ACQUIRE) == 0)
			return true;
		__builtin_ia32_pause();
	}
	while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != 0) {
		if (syscall(SYS_futex, turn, FUTEX_WAIT, 1, &step, NULL, 0) == 0 ||
		    errno != ETIMEDOUT)
			continue;
		if (__atomic_load_n(turn, __ATOMIC_ACQUIRE) == 0)
			return true;
		note_casualty(calls);
		if (calls->failure.errnum)
			return false;
	}
	return true;
}

static void note_result(struct calls *calls)
{
	unsigned last = calls->slot->done ? calls->slot->done - 1 : 0;
	int64_t result = calls->slot->results[last];
	char text[32];

	if (last == calls->guard && result == -EAGAIN)
		return;
	if (calls->slot->done == calls->n &&
	    !(result < 0 && result > -4096 &&
	      !(calls->slot->entries[last].flags >> STUB_MAY_FAIL & 1)))
		return;
	snprintf(text, sizeof(text), "system call %d", (int)calls->slot->entries[last].nr);
	fail(calls, result < 0 && result > -4096 ? (int)-result : EPROTO,
	     calls->what[last] ? calls->what[last] : text);
}

/*
 * A clone that fails because its pid is taken, which nobody has: the kernel is about to let go of
 * it (it does so after the dead task has gone from everybody's view since 6.15). False: it stays
 * taken.
 */
static bool clone_again(struct calls *calls)
{
	const struct slot *slot = calls->slot;
	const struct watch *watch = calls->watch;
	unsigned last = slot->done ? slot->done - 1 : 0;
	const struct entry *e = &slot->entries[last];

	if (!slot->done || !e->child || slot->results[last] != -EEXIST || !watch || !watch->lingers)
		return false;
	/* struct clone_args lies in the slot, as do the pids that it points to, ours the last */
	const struct clone_args *args = (const void *)(uintptr_t)e->arg[0];
	const pid_t *pids = (const void *)(uintptr_t)args->set_tid;
	if (!args->set_tid_size || !watch->lingers(watch->arg, pids[args->set_tid_size - 1]))
		return false;
	give_turn(calls, last);
	return true;
}

int calls_came_back(struct calls *calls, struct error *err)
{
	if (!calls->left || __atomic_load_n(&calls->slot->turn, __ATOMIC_ACQUIRE) != 0)
		return 0;
	note_result(calls); /* none: it is ended from outside */
	if (!calls->failure.errnum)
		return 0;
	*err = calls->failure;
	return error_trace(err, -calls->failure.errnum);
}

int calls_finish(struct calls *calls, struct error *err)
{
	if (calls->state == RUNNING) {
		bool back = wait_turn(calls);
		while (back && clone_again(calls))
			back = wait_turn(calls);
		if (back)
			note_result(calls);
		calls->state = FINISHED;
	}
	if (calls->failure.errnum) {
		*err = calls->failure;
		return error_trace(err, -calls->failure.errnum);
	}
	return 0;
}

int calls_run(struct calls *calls, struct error *err)
{
	calls_start(calls);
	return calls_finish(calls, err);
}

int64_t calls_result(const struct calls *calls, unsigned index)
{
	assert(calls->state == FINISHED && index < calls->n);
	return calls->slot->results[index];
}
