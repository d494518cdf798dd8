/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seccomp. The filters of a thread are read one by one with ptrace(2), which needs CAP_SYS_ADMIN
 * and a tracer without filters; they are installed while they are suspended (tracer_adopt()), or
 * they would judge the calls that finish the task.
 *
 * Whether two threads with equal filters have one chain or two cannot be seen: they get one. Not
 * seen either, and not kept: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (of listeners, which are
 * refused), SECCOMP_FILTER_FLAG_SPEC_ALLOW (what it spares is the speculation control, prctl).
 */
#include "kind/seccomp.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "kind/seccomp/chains.h"
#include "proc/status.h"
#include "seccomp.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c /* 4.4 */
#endif
#ifndef PTRACE_SECCOMP_GET_METADATA
#define PTRACE_SECCOMP_GET_METADATA 0x420d /* 4.16 */
#endif
#define INSN         sizeof(struct sock_filter)
#define CHAIN_MAX    32768 /* MAX_INSNS_PER_PATH of the kernel */
#define CHAIN_EXTRA  4     /* what it counts for each filter besides */
#define MODE_STRICT  1u
#define MODE_FILTERS 2u

/* ---- checkpoint ---- */

/* returns that may hand a call to a listener (seccomp_unotify(2)); of a computed value who knows */
static bool may_notify(const struct sock_filter *program, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (BPF_CLASS(program[i].code) != BPF_RET)
			continue;
		if (BPF_RVAL(program[i].code) != BPF_K ||
		    (program[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	}
	return false;
}

/* the flags of a filter: only SECCOMP_FILTER_FLAG_LOG is ever shown */
static int read_flags(struct checkpoint *c, const struct task *task, size_t index, bool *ret_log,
                      struct error *err)
{
	struct {
		uint64_t index, flags;
	} metadata = { 0 };
	size_t size = sizeof(metadata);

	int r = tracer_read(c->tracer, task->tid, PTRACE_SECCOMP_GET_METADATA, index, &metadata,
	                    &size, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	if (metadata.flags & ~(uint64_t)SECCOMP_FILTER_FLAG_LOG)
		return error_refuse(err, CODE_unknown_state, "a seccomp filter has flags 0x%llx",
		                    (unsigned long long)metadata.flags);
	*ret_log = metadata.flags & SECCOMP_FILTER_FLAG_LOG;
	return 0;
}

static int read_filter(struct checkpoint *c, const struct task *task, size_t index, SeccompState *s,
                       struct error *err)
{
	_cleanup_(free_p) struct sock_filter *program = xmalloc(BPF_MAXINSNS * INSN);
	size_t size = BPF_MAXINSNS * INSN;
	long n = 0;
	bool is_logged = false;

	int r = tracer_read(c->tracer, task->tid, PTRACE_SECCOMP_GET_FILTER, index, program, &size,
	                    &n, err);
	if (r == 0)
		r = read_flags(c, task, index, &is_logged, err);
	if (r < 0)
		return error_trace(err, r);
	if (may_notify(program, (size_t)n))
		return error_refuse(err, CODE_seccomp_notify,
		                    "a seccomp filter may hand calls to a supervisor "
		                    "(SECCOMP_RET_USER_NOTIF)");
	SeccompFilter *f = *array_push(s->filters, s->n_filters) = xmalloc(sizeof(*f));
	seccomp_filter__init(f);
	f->log = is_logged;
	f->program.len = (size_t)n * INSN;
	f->program.data = xmemdup(program, f->program.len);
	return 0;
}

static int read_filters(struct checkpoint *c, const struct task *task, SeccompState *s,
                        struct error *err)
{
	if (!c->tracer) {
		check_unexamined(c, task, "seccomp filters", CODE_seccomp_notify,
		                 CODE_seccomp_unreadable);
		return 0;
	}
	if (!feature(FEATURE_ptrace_seccomp_filter)) {
		error_refuse(err, CODE_seccomp_unreadable, "its seccomp filters cannot be read");
		error_hint(err, "run as root of the initial user namespace (CAP_SYS_ADMIN), "
		                "without a filter of one's own; or start it without one: podman "
		                "and docker with "
		                "--security-opt seccomp=unconfined");
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < task->status.seccomp_filters; i++) {
		int r = read_filter(c, task, i, s, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

static int seccomp_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	SeccompState *s = xmalloc(sizeof(*s));
	int r = 0;

	seccomp_state__init(s);
	if (task->status.seccomp == MODE_STRICT)
		s->strict = true;
	else if (task->status.seccomp == MODE_FILTERS)
		r = read_filters(c, task, s, err);
	else if (task->status.seccomp)
		r = error_refuse(err, CODE_unknown_state, "seccomp mode %u", task->status.seccomp);
	if (r < 0) {
		seccomp_state__free_unpacked(s, NULL);
		return error_trace(err, r);
	}
	task_refer(task, objects_get_equal(c->objects, &seccomp_kind, &s->base));
	return 0;
}

/* ---- restart ---- */

static int seccomp_validate(const struct objects *objects, const struct object *object,
                            struct error *err)
{
	const SeccompState *s = object_state(object, SeccompState);
	size_t total = 0;

	if (s->strict && s->n_filters)
		return error_raise(err, EBADMSG, "strict mode, and filters");
	for (size_t i = 0; i < s->n_filters; i++) {
		const ProtobufCBinaryData *p = &s->filters[i]->program;
		if (p->len == 0 || p->len % INSN || p->len / INSN > BPF_MAXINSNS)
			return error_raise(err, EBADMSG, "a filter of %zu bytes", p->len);
		total += p->len / INSN + CHAIN_EXTRA;
		if (total > CHAIN_MAX + CHAIN_EXTRA)
			return error_raise(err, EBADMSG, "filters of too many instructions");
	}
	return 0;
}

static unsigned own_mode(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/thread-self/status", "re");
	char line[256];
	unsigned mode = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Seccomp: %u", &mode) == 1)
			break;
	return mode;
}

static int seccomp_preflight(struct restart *r, struct object *object, struct error *err)
{
	const SeccompState *s = object_state(object, SeccompState);
	struct error refusal;

	if (own_mode()) {
		error_refuse(
			&refusal, CODE_seccomp_own,
			"this restart runs under a seccomp filter, which all tasks would inherit");
		error_hint(&refusal, "run it outside of the container or service that has it");
		restart_refuse(r, &refusal);
	}
	if ((s->strict || s->n_filters) &&
	    (r->new_pidns ? !features_capability(CAP_SYS_ADMIN)
	                  : !feature(FEATURE_ptrace_suspend_seccomp))) {
		error_refuse(&refusal, CODE_seccomp_privilege,
		             "a task has seccomp filters, which needs CAP_SYS_ADMIN");
		error_hint(&refusal, "restart as root of the initial user namespace");
		restart_refuse(r, &refusal);
	}
	return 0;
}

/* one for the whole restart: the first object of the kind has it */
static const struct chains *chains_of(const struct restart *r)
{
	size_t cursor = 0;
	struct object *first = objects_next(r->objects, &seccomp_kind, &cursor);

	if (first && !first->live)
		first->live = chains_new(r);
	return first ? first->live : NULL;
}

/* the C library's struct sock_fprog has this layout too */
struct filter_program {
	uint64_t n; /* 16 bits, and padding */
	uint64_t address;
};

static void install_filter(struct stub *stub, const SeccompFilter *f)
{
	struct filter_program program = { .n = f->program.len / INSN };
	unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW | (f->log ? SECCOMP_FILTER_FLAG_LOG : 0);

	calls_reserve(stub->calls, 1, f->program.len + sizeof(program) + 32);
	program.address = calls_copy(stub->calls, f->program.data, f->program.len);
	CALL(stub->calls, seccomp, SECCOMP_SET_MODE_FILTER, flags,
	     calls_copy(stub->calls, &program, sizeof(program)));
}

static int seccomp_before_clone(struct restart *r, struct stub *parent, struct stub *child,
                                struct error *err)
{
	const struct chains *chains = chains_of(r);

	if (!chains)
		return 0;
	struct chain_part part = chains_before_clone(chains, child);
	for (size_t i = part.from; i < part.to; i++)
		install_filter(parent, part.state->filters[i]);
	return 0;
}

static int seccomp_commit(struct restart *r, struct object *object, struct stub *stub,
                          struct error *err)
{
	const SeccompState *s = object_state(object, SeccompState);

	for (size_t i = chains_installed(chains_of(r), stub); i < s->n_filters; i++)
		install_filter(stub, s->filters[i]);
	if (s->strict)
		CALL(stub->calls, prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
	return 0;
}

static void seccomp_release(struct object *object)
{
	chains_free(object->live);
	object->live = NULL;
}

const struct kind seccomp_kind = {
	.name = "seccomp",
	.number = 31,
	.message = &seccomp_state__descriptor,
	.collect = seccomp_collect,
	.validate = seccomp_validate,
	.preflight = seccomp_preflight,
	.before_clone = seccomp_before_clone,
	.commit = seccomp_commit,
	.release = seccomp_release,
};
