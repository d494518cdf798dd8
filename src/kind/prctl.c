/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settings of threads and processes that have their own system calls. What /proc shows is read
 * there, the rest is asked from inside.
 *
 * Not seen by anybody, hence not kept: the timer slack that PR_SET_TIMERSLACK 0 goes back to (the
 * parent's at the time of the fork), PR_SET_PTRACER (Yama).
 */
#include "kind/prctl.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "core/restart.h"
#include "host/features.h"
#include "kind/cred.h"
#include "kind/prctl/parts.h"
#include "proc/read.h"
#include "task.pb-c.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/uapi.h"

const unsigned prctl_speculations[N_SPECULATIONS] = { PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH,
	                                              PR_SPEC_L1D_FLUSH };

uint32_t *prctl_speculation(PrctlState *s, size_t i)
{
	uint32_t *const fields[N_SPECULATIONS] = { &s->store_bypass, &s->indirect_branch,
		                                   &s->l1d_flush };

	return fields[i];
}

int prctl_own_speculation(size_t i)
{
	return prctl(PR_GET_SPECULATION_CTRL, prctl_speculations[i], 0, 0, 0);
}

/* ---- restart: checks ---- */

static int validate_process(const PrctlProcess *p, struct error *err)
{
	if (p->dumpable > DUMPABLE_BY_ROOT || p->deny_write_execute & ~MDWE_ALL ||
	    p->deny_write_execute == PR_MDWE_NO_INHERIT)
		return error_raise(err, EBADMSG, "dumpable %u, MDWE 0x%x", p->dumpable,
		                   p->deny_write_execute);
	if (p->thp_disable & ~(THP_DISABLE_ALL | PR_THP_DISABLE_EXCEPT_ADVISED) ||
	    p->thp_disable == PR_THP_DISABLE_EXCEPT_ADVISED)
		return error_raise(err, EBADMSG, "THP disable 0x%x", p->thp_disable);
	if (p->futex_hash == 1 || p->futex_hash & (p->futex_hash - 1))
		return error_raise(err, EBADMSG, "%u futex slots", p->futex_hash);
	if (p->membarrier & ~MEMBARRIER_REGISTERS || p->coredump_filter & ~COREDUMP_FILTER)
		return error_raise(err, EBADMSG, "membarrier 0x%x, core dump filter 0x%x",
		                   p->membarrier, p->coredump_filter);
	return 0;
}

static int prctl_validate(const struct objects *objects, const struct object *object,
                          struct error *err)
{
	PrctlState *s = object_state(object, PrctlState);

	if (s->parent_death_signal > 64)
		return error_raise(err, EBADMSG, "signal %u", s->parent_death_signal);
	if (s->machine_check > PR_MCE_KILL_EARLY + 1)
		return error_raise(err, EBADMSG, "machine check policy %u", s->machine_check);
	if (s->personality == UINT32_MAX) /* personality(2) would only ask */
		return error_raise(err, EBADMSG, "personality 0x%x", s->personality);
	for (size_t i = 0; i < N_SPECULATIONS; i++) {
		uint32_t value = *prctl_speculation(s, i);
		if (value && (!(value & PR_SPEC_PRCTL) || value > PR_SPEC_DISABLE_NOEXEC * 2))
			return error_raise(err, EBADMSG, "speculation control 0x%x", value);
	}
	return s->process ? validate_process(s->process, err) : 0;
}

static void refuse_kernel(struct restart *r, const char *what)
{
	struct error refusal;

	error_refuse(&refusal, CODE_prctl_kernel, "a task uses %s, which this host lacks", what);
	restart_refuse(r, &refusal);
}

static void refuse_inherited(struct restart *r, const char *what)
{
	struct error refusal;

	error_refuse(&refusal, CODE_prctl_inherited,
	             "this restart has %s, which the tasks would inherit for good", what);
	restart_refuse(r, &refusal);
}

static unsigned suid_dumpable(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/sys/fs/suid_dumpable", "re");
	unsigned value = 0;

	return f && fscanf(f, "%u", &value) == 1 ? value : 0;
}

static void check_process(struct restart *r, const PrctlProcess *p)
{
	struct error refusal;

	if (p->deny_write_execute && !feature(FEATURE_mdwe))
		refuse_kernel(r, "PR_SET_MDWE");
	if (p->memory_merge && !feature(FEATURE_memory_merge))
		refuse_kernel(r, "PR_SET_MEMORY_MERGE");
	if (p->thp_disable & PR_THP_DISABLE_EXCEPT_ADVISED && !feature(FEATURE_thp_except_advised))
		refuse_kernel(r, "PR_THP_DISABLE_EXCEPT_ADVISED");
	if (!p->deny_write_execute && prctl(PR_GET_MDWE, 0, 0, 0, 0) > 0)
		refuse_inherited(r, "memory-deny-write-execute");
	if (p->dumpable != DUMPABLE_BY_ROOT ||
	    (suid_dumpable() == DUMPABLE_BY_ROOT && features_capability(CAP_SETUID)))
		return;
	error_refuse(&refusal, CODE_prctl_dumpable,
	             "a process dumps core for root only (dumpable 2), which needs CAP_SETUID and "
	             "fs.suid_dumpable = 2");
	error_hint(&refusal, "sysctl fs.suid_dumpable=2");
	restart_refuse(r, &refusal);
}

/* @value was recorded; host: what the kernel says of us. Mitigated more than asked for is fine. */
static bool speculation_possible(uint32_t value, int host)
{
	bool enabled = value & PR_SPEC_ENABLE;

	if (!value || enabled)
		return true;
	return host >= 0 && (host & PR_SPEC_PRCTL || !(host & PR_SPEC_ENABLE));
}

static void check_thread(struct restart *r, PrctlState *s)
{
	struct error refusal;

	if (!s->no_new_privs && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) > 0)
		refuse_inherited(r, "no_new_privs");
	if (s->cpuid_faults && syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1) < 0)
		refuse_kernel(r, "CPUID faulting (ARCH_SET_CPUID)");
	for (size_t i = 0; i < N_SPECULATIONS; i++)
		if (!speculation_possible(*prctl_speculation(s, i), prctl_own_speculation(i)))
			refuse_kernel(r, "speculation control (PR_SET_SPECULATION_CTRL)");
	if (s->io_flusher && !features_capability(CAP_SYS_RESOURCE)) {
		error_refuse(&refusal, CODE_prctl_privilege,
		             "a task has PR_SET_IO_FLUSHER, which needs CAP_SYS_RESOURCE");
		restart_refuse(r, &refusal);
	}
}

static void check_top(struct restart *r, const TaskState *t, const struct object *object)
{
	struct error refusal;

	for (size_t i = 0; i < t->n_objects; i++) {
		if (t->objects[i] != object->id)
			continue;
		error_refuse(&refusal, CODE_prctl_parent_death,
		             "task %u gets a signal when its parent ends, and --detach would "
		             "end it at once",
		             t->tid);
		error_hint(&refusal, "restart in the foreground");
		restart_refuse(r, &refusal);
	}
}

/* the parent of those that have none would be this restart, which ends at once with --detach */
static void check_parent_death(struct restart *r, const struct object *object)
{
	if (!r->options->detach || !object_state(object, PrctlState)->parent_death_signal)
		return;
	for (size_t i = 0; i < r->n_tasks; i++) {
		const TaskState *t = object_state(r->tasks[i], TaskState);
		if (!t->parent)
			check_top(r, t, object);
	}
}

static int prctl_preflight(struct restart *r, struct object *object, struct error *err)
{
	PrctlState *s = object_state(object, PrctlState);

	check_thread(r, s);
	check_parent_death(r, object);
	if (s->process)
		check_process(r, s->process);
	return 0;
}

/* ---- restart: putting back ---- */

#define SET(stub, ...) CALL((stub)->calls, prctl, __VA_ARGS__)

/* as long as the credentials are the stub's */
static int prctl_install(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	const PrctlProcess *p = object_state(object, PrctlState)->process;

	if (!p)
		return 0;
	if (p->dumpable == DUMPABLE_BY_ROOT) {
		/* a change of the fs uid sets it from fs.suid_dumpable; later ones do the same */
		uint32_t have[2];
		cred_of_stub(stub, have);
		uint32_t own = cred_name(r, stub, have[1]);
		uint32_t other = cred_other_name(r, stub, have[1]);
		if (own == UINT32_MAX || other == UINT32_MAX)
			return error_refuse(err, CODE_prctl_dumpable,
			                    "it dumps core for root only, and its user namespace "
			                    "has one id");
		CALL(stub->calls, setfsuid, other);
		CALL(stub->calls, setfsuid, own);
	}
	return 0;
}

static void set_speculation(struct stub *stub, PrctlState *s)
{
	for (size_t i = 0; i < N_SPECULATIONS; i++) {
		uint32_t value = *prctl_speculation(s, i);
		int own = prctl_own_speculation(i);
		if (value && own >= 0 && own & PR_SPEC_PRCTL && (uint32_t)own != value)
			SET(stub, PR_SET_SPECULATION_CTRL, prctl_speculations[i],
			    value & ~(uint32_t)PR_SPEC_PRCTL, 0, 0);
	}
}

/* the stubs have inherited what is ours */
static void set_thread(struct stub *stub, PrctlState *s)
{
	int tsc = PR_TSC_ENABLE;

	prctl(PR_GET_TSC, &tsc);
	if (s->personality != (uint32_t)personality(UINT32_MAX))
		CALL(stub->calls, personality, s->personality);
	if (s->timer_slack_ns && s->timer_slack_ns != (uint64_t)prctl(PR_GET_TIMERSLACK))
		SET(stub, PR_SET_TIMERSLACK, s->timer_slack_ns);
	if (s->machine_check)
		SET(stub, PR_MCE_KILL, PR_MCE_KILL_SET, s->machine_check - 1, 0, 0);
	else if (prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) != PR_MCE_KILL_DEFAULT)
		SET(stub, PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
	if (s->io_flusher)
		SET(stub, PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	set_speculation(stub, s);
	if (s->cpuid_faults)
		CALL(stub->calls, arch_prctl, ARCH_SET_CPUID, 0);
	if (s->tsc_faults != (tsc == PR_TSC_SIGSEGV))
		SET(stub, PR_SET_TSC, s->tsc_faults ? PR_TSC_SIGSEGV : PR_TSC_ENABLE);
	if (s->no_new_privs)
		SET(stub, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* after the credentials, which clear it */
	if (s->parent_death_signal)
		SET(stub, PR_SET_PDEATHSIG, s->parent_death_signal);
}

static int set_coredump_filter(const PrctlProcess *p, pid_t tid, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/coredump_filter", tid);
	char text[32];

	if (proc_read(tid, "coredump_filter", text, sizeof(text)) <= 0 ||
	    strtoul(text, NULL, 16) == p->coredump_filter)
		return 0;
	int e = file_write(path, err, "0x%x", p->coredump_filter);
	return e < 0 ? error_trace(err, e) : 0;
}

static int set_process(struct stub *stub, const PrctlProcess *p, struct error *err)
{
	/* kind mm fills memory without */
	SET(stub, PR_SET_THP_DISABLE, p->thp_disable & THP_DISABLE_ALL,
	    p->thp_disable & PR_THP_DISABLE_EXCEPT_ADVISED, 0, 0);
	if (p->subreaper)
		SET(stub, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (p->timer_restore_ids)
		SET(stub, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0);
	for (unsigned i = 0; i < 32; i++)
		if (p->membarrier >> i & 1)
			CALL(stub->calls, membarrier, 1u << i, 0, 0);
	if (p->deny_write_execute)
		SET(stub, PR_SET_MDWE, p->deny_write_execute, 0, 0, 0);
	if (p->memory_merge || prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) > 0)
		SET(stub, PR_SET_MEMORY_MERGE, p->memory_merge, 0, 0, 0);
	return set_coredump_filter(p, stub->host_tid, err);
}

static int prctl_commit(struct restart *r, struct object *object, struct stub *stub,
                        struct error *err)
{
	PrctlState *s = object_state(object, PrctlState);
	int e = 0;

	if (s->process)
		e = set_process(stub, s->process, err);
	set_thread(stub, s);
	return e < 0 ? error_trace(err, e) : 0;
}

/*
 * The size of the futex hash, if the threads, which all exist by now, have not got it by
 * themselves: what is set does not grow any more. A kernel that has no such thing is only slower.
 */
static int finish_stub(struct stub *stub, const PrctlProcess *p, struct error *err)
{
	const struct call ask = { .nr = __NR_prctl,
		                  .arg = { PR_FUTEX_HASH, PR_FUTEX_HASH_GET_SLOTS },
		                  .may_fail = true };

	/* when all threads of the address space have their credentials: each change clears it */
	if (p->dumpable != DUMPABLE_BY_ROOT)
		SET(stub, PR_SET_DUMPABLE, p->dumpable, 0, 0, 0);
	unsigned slots = calls_add(stub->calls, &ask);
	int e = calls_run(stub->calls, err);
	int64_t have = e < 0 ? -1 : calls_result(stub->calls, slots);
	if (have >= 0 && have != p->futex_hash) {
		SET(stub, PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS, p->futex_hash, 0, 0);
		e = calls_run(stub->calls, err);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

static int prctl_finish(struct restart *r, struct object *object, struct error *err)
{
	const PrctlProcess *p = object_state(object, PrctlState)->process;

	for (size_t i = 0; p && i < r->n_stubs; i++) {
		if (stub_object(r->stubs[i], &prctl_kind) != object)
			continue;
		int e = finish_stub(r->stubs[i], p, err);
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}

const struct kind prctl_kind = {
	.name = "prctl",
	.number = 34,
	.message = &prctl_state__descriptor,
	.collect = prctl_collect,
	.validate = prctl_validate,
	.preflight = prctl_preflight,
	.install = prctl_install,
	.commit = prctl_commit,
	.finish = prctl_finish,
};
