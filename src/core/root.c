/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root stub. See root.h. Its first list lies in its slot before it is cloned, so that no
 * moment is without protection: the list asks for death with the coordinator, and then ends itself
 * if that has gone before.
 */
#include "core/root.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/pidns.h"
#include "core/spawn.h"
#include "host/helper.h"
#include "kind/cred.h"
#include "kind/pid_ns.h"
#include "kind/user_ns.h"
#include "task/area.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/cleanup.h"

#define ADDRESS_END    0x7ffffffff000ull
#define RSEQ_SIZE_MIN  32 /* what glibc 2.35 to 2.39 registers; __rseq_size may be less later */
#define RSEQ_SIGNATURE 0x53053053u

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#endif

/* the kernel's struct sigaction (rt_sigaction(2)) of a default disposition */
static const struct {
	uint64_t handler, flags, restorer, mask;
} default_action;

/* glibc's rseq area would be written to, and lies in memory that is about to go */
static void add_forget(struct calls *calls)
{
	stack_t none = { .ss_flags = SS_DISABLE };
	uint64_t size = __rseq_size < RSEQ_SIZE_MIN ? RSEQ_SIZE_MIN : __rseq_size;
	uint64_t rseq = (uint64_t)__builtin_thread_pointer() + (uint64_t)__rseq_offset;

	if (__rseq_size)
		calls_add(calls, &(struct call){ .nr = __NR_rseq,
		                                 .arg = { rseq, size, 1, RSEQ_SIGNATURE },
		                                 .what = "unregister rseq" });
	CALL(calls, sigaltstack, calls_copy(calls, &none, sizeof(none)), 0);
	CALL(calls, set_robust_list, 0, 24);
	CALL(calls, set_tid_address, 0);
}

static void add_close(struct restart *r, struct calls *calls)
{
	if (r->stub_socket_here != r->stub_socket)
		CALL(calls, dup3, r->stub_socket_here, r->stub_socket, O_CLOEXEC);
	if (r->stub_socket > 0)
		CALL(calls, close_range, 0, r->stub_socket - 1, 0);
	CALL(calls, close_range, r->stub_socket + 1, UINT32_MAX, 0);
}

/* everything goes but the stub area, what kinds have mapped, and the vDSO with its data, which the
 * mm kind moves */
static int add_unmap(struct restart *r, struct calls *calls, struct error *err)
{
	static const char *const names[] = { "[vdso]", "[vvar", NULL };
	struct ranges keep = { 0 };
	uint64_t at = 0;
	int e = ranges_add_own(&keep, names, err);

	if (e < 0)
		return e;
	ranges_add(&keep, r->area->start, r->area->start + r->area->size);
	if (r->inherited.start < r->inherited.end)
		ranges_add(&keep, r->inherited.start, r->inherited.end);
	ranges_sort(&keep);
	for (size_t i = 0; i < keep.n; i++) {
		if (keep.items[i].start > at)
			CALL(calls, munmap, at, keep.items[i].start - at);
		at = keep.items[i].end;
	}
	CALL(calls, munmap, at, ADDRESS_END - at);
	ranges_done(&keep);
	return 0;
}

static void add_protect(struct restart *r, struct calls *calls)
{
	uint64_t action = calls_copy(calls, &default_action, sizeof(default_action));

	/* ignored, it would let zombies vanish */
	CALL(calls, rt_sigaction, SIGCHLD, action, 0, 8);
	/* Yama would not let the tracer near, which is no ancestor; prctl(2) */
	calls_add(calls, &(struct call){ .nr = __NR_prctl,
	                                 .arg = { PR_SET_PTRACER, (uint64_t)-1 },
	                                 .may_fail = true });
	CALL(calls, prctl, PR_SET_PDEATHSIG, SIGKILL);
	calls_add_guard(calls, r->stub_socket);
}

/* clone3, whose child jumps into the stub area: no C code runs in it */
static long clone_into(const struct clone_args *args, uint64_t code, uint64_t slot)
{
	long ret;

	__asm__ volatile("mov %[slot], %%rbx\n\t"
	                 "syscall\n\t"
	                 "test %%rax, %%rax\n\t"
	                 "jnz 1f\n\t"
	                 "jmp *%[code]\n"
	                 "1:"
	                 : "=a"(ret)
	                 : "a"(SYS_clone3), "D"(args),
	                   "S"(sizeof(*args)), [code] "r"(code), [slot] "r"(slot)
	                 : "rbx", "rcx", "r11", "memory", "cc");
	return ret;
}

/* what a helper has to know to clone in our stead */
struct birth {
	struct restart *r;
	struct stub *stub;
	pid_t inside; /* a process in the pid namespace to be entered; 0: none, we are there */
	int owner;    /* the user namespace that is to own the pid namespace; -1: ours */
};

/* returns its pid, as we see it */
static int clone_here(const struct birth *b, struct error *err)
{
	struct restart *r = b->r;
	const struct stub *stub = b->stub;
	size_t levels = plan_ns_level(stub->ns);
	bool is_init = !stub->ns && stub->tid == 1 && r->new_pidns;
	bool by_helper = b->inside || b->owner >= 0;
	pid_t numbers[PLAN_LEVELS_MAX + 1];
	struct clone_args args = { .flags = CLONE_CLEAR_SIGHAND | (is_init ? CLONE_NEWPID : 0) |
		                            (by_helper ? CLONE_PARENT : 0),
		                   .exit_signal = by_helper ? 0 : SIGCHLD,
		                   .set_tid = (uintptr_t)numbers,
		                   .set_tid_size = levels + 1 };
	uint64_t block = ~0ull, saved;
	long pid;

	for (size_t i = 0; i < levels; i++)
		numbers[i] = stub->inner[levels - 1 - i];
	numbers[levels] = stub->tid;
	/* no handler of ours may run in the child; glibc would leave its internal signals open */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &block, &saved, 8);
	do
		pid = clone_into(&args, r->area->start, area_slot(r->area, stub->node));
	while (pid == -EEXIST && !b->inside && spawn_pid_lingers(r, stub->tid));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved, NULL, 8);
	if (pid < 0) {
		int e = error_raise(err, (int)-pid, "clone pid %d", stub->tid);
		if (pid == -EEXIST)
			err->code = CODE_pid_in_use;
		return e;
	}
	return (int)pid;
}

/* from inside of the user namespace there is no way to them */
static int enter_outside(struct restart *r, const struct stub *root, struct error *err)
{
	for (size_t i = 0; i < n_kinds; i++) {
		const struct object *o = kinds[i]->enter_outside ? stub_object(root, kinds[i])
		                                                 : NULL;
		int e = o ? kinds[i]->enter_outside(r, o, err) : 0;
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}

static int enter_pid_ns(pid_t inside, struct error *err)
{
	_cleanup_(close_p) int pidfd = pidfd_open(inside, 0);

	if (pidfd < 0 || setns(pidfd, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter the pid namespace of %d", inside);
	return 0;
}

/* it will be our child, not the helper's; and in the user namespace, with ids of its own */
static int clone_by_helper(void *arg, struct error *err)
{
	const struct birth *b = arg;
	int e = b->inside ? enter_pid_ns(b->inside, err) : 0;

	if (e == 0 && b->owner >= 0)
		e = enter_outside(b->r, b->stub, err);
	if (e == 0 && b->owner >= 0)
		e = cred_become(b->stub, err);
	if (e < 0)
		return error_trace(err, e);
	if (b->owner >= 0 && setns(b->owner, CLONE_NEWUSER) < 0)
		return error_raise(err, errno, "enter the user namespace of the root");
	return clone_here(b, err);
}

/* the root, or one that has entered its pid namespace, or one below that */
static int clone_stub(struct restart *r, struct stub *stub, struct error *err)
{
	const struct plan_ns *ns = stub->ns;
	uint32_t owner = r->root == 0 ? pid_ns_root_owner(r) : 0;
	struct birth b = { r, stub, 0, owner ? user_ns_fd(r, owner) : -1 };

	if (r->root)
		b.inside = ns ? r->stubs[ns->init]->host_tid : r->root;
	int pid = b.inside || owner ? helper_run(clone_by_helper, &b, sizeof(b), err)
	                            : clone_here(&b, err);
	if (pid < 0)
		return error_trace(err, pid);
	stub->host_tid = (pid_t)pid;
	if (!r->root)
		r->root = stub->host_tid;
	if (owner) {
		stub->user_ns = objects_by_id(r->objects, owner);
		stub->assumed = stub_object(stub, &cred_kind);
	}
	return 0;
}

static int adopt(struct restart *r, struct stub *root, struct error *err)
{
	int e;

	if (!r->tracer)
		return 0;
	e = tracer_adopt(r->tracer, root->host_tid, err);
	if (e < 0)
		return error_trace(err, e);
	/* from here on the tracer sees to it; after the launch nobody may */
	CALL(root->calls, prctl, PR_SET_PDEATHSIG, 0);
	calls_add(
		root->calls,
		&(struct call){ .nr = __NR_prctl, .arg = { PR_SET_PTRACER, 0 }, .may_fail = true });
	return calls_run(root->calls, err);
}

int root_clone(struct restart *r, struct stub *stub, struct error *err)
{
	bool new_pidns = r->new_pidns && !r->root;
	int e;

	add_forget(stub->calls);
	add_close(r, stub->calls);
	e = add_unmap(r, stub->calls, err);
	if (e < 0)
		return error_trace(err, e);
	add_protect(r, stub->calls);
	calls_start(stub->calls);
	e = new_pidns ? pidns_enter(r, err) : 0;
	if (e == 0)
		e = clone_stub(r, stub, err);
	if (e == 0 && new_pidns)
		e = pidns_leave(r, err);
	if (e < 0)
		return error_trace(err, e);
	e = calls_run(stub->calls, err);
	if (e < 0)
		return error_trace(err, e);
	e = adopt(r, stub, err);
	return e < 0 ? error_trace(err, e) : 0;
}
