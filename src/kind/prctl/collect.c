/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: settings of threads and processes, those that /proc shows and those asked inside. */
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/prctl/parts.h"
#include "proc/read.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

/* include/linux/sched.h: what PR_SET_IO_FLUSHER sets; PR_GET_IO_FLUSHER needs CAP_SYS_RESOURCE */
#define PF_MEMALLOC_NOIO  0x00080000u
#define PF_LOCAL_THROTTLE 0x00100000u
#define PF_IO_FLUSHER     (PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE)

/* what the calls leave in their buffer */
struct answers {
	int32_t parent_death_signal, tsc, subreaper;
};

enum question {
	ASK_PDEATHSIG,
	ASK_TSC,
	ASK_CPUID,
	ASK_MCE_KILL,
	ASK_TIMER_SLACK,
	ASK_SPECULATION,
	ASK_SUBREAPER = ASK_SPECULATION + N_SPECULATIONS,
	ASK_RESTORE_IDS,
	ASK_DUMPABLE,
	ASK_THP,
	ASK_MDWE,
	ASK_MERGE,
	ASK_MEMBARRIER,
	ASK_FUTEX_HASH,
	N_QUESTIONS
};

/* what a task is asked; each call costs some ten microseconds, so only what cannot be known */
struct inquiry {
	struct injection calls[N_QUESTIONS];
	enum question what[N_QUESTIONS];
	size_t n;
	long results[N_QUESTIONS]; /* by question; negative where it was not asked */
};

static void add(struct inquiry *q, enum question what, struct injection call)
{
	q->what[q->n] = what;
	q->calls[q->n++] = call;
}

static void add_prctl(struct inquiry *q, enum question what, int option, unsigned arg)
{
	add(q, what, (struct injection){ .nr = __NR_prctl, .arg = { (unsigned)option, arg } });
}

/* the answer is written to the buffer, at @offset */
static void add_prctl_to(struct inquiry *q, enum question what, int option, size_t offset)
{
	add(q, what,
	    (struct injection){
		    .nr = __NR_prctl, .arg = { (unsigned)option, offset }, .buffer_args = 1 << 1 });
}

static void add_of_thread(struct inquiry *q, bool needs_slack)
{
	add_prctl_to(q, ASK_PDEATHSIG, PR_GET_PDEATHSIG,
	             offsetof(struct answers, parent_death_signal));
	add_prctl_to(q, ASK_TSC, PR_GET_TSC, offsetof(struct answers, tsc));
	add(q, ASK_CPUID, (struct injection){ .nr = __NR_arch_prctl, .arg = { ARCH_GET_CPUID } });
	add_prctl(q, ASK_MCE_KILL, PR_MCE_KILL_GET, 0);
	if (needs_slack)
		add_prctl(q, ASK_TIMER_SLACK, PR_GET_TIMERSLACK, 0);
	/* whether threads have a control of their own is the same for all on this host */
	for (size_t i = 0; i < N_SPECULATIONS; i++)
		if (prctl_own_speculation(i) > 0 && prctl_own_speculation(i) & PR_SPEC_PRCTL)
			add_prctl(q, ASK_SPECULATION + i, PR_GET_SPECULATION_CTRL,
			          prctl_speculations[i]);
}

static void add_of_process(struct inquiry *q)
{
	add_prctl_to(q, ASK_SUBREAPER, PR_GET_CHILD_SUBREAPER, offsetof(struct answers, subreaper));
	add_prctl(q, ASK_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET);
	add_prctl(q, ASK_DUMPABLE, PR_GET_DUMPABLE, 0);
	add_prctl(q, ASK_THP, PR_GET_THP_DISABLE, 0);
	add_prctl(q, ASK_MDWE, PR_GET_MDWE, 0);
	add_prctl(q, ASK_MERGE, PR_GET_MEMORY_MERGE, 0);
	add_prctl(q, ASK_FUTEX_HASH, PR_FUTEX_HASH, PR_FUTEX_HASH_GET_SLOTS);
	add(q, ASK_MEMBARRIER,
	    (struct injection){ .nr = __NR_membarrier, .arg = { MEMBARRIER_GET_REGISTRATIONS } });
}

/* an answer that older kernels refuse to give counts as "off" */
static uint32_t number(const struct inquiry *q, enum question what)
{
	return q->results[what] < 0 ? 0 : (uint32_t)q->results[what];
}

static void take_thread(PrctlState *s, const struct inquiry *q, const struct answers *a)
{
	s->parent_death_signal = (uint32_t)a->parent_death_signal;
	s->tsc_faults = a->tsc == PR_TSC_SIGSEGV;
	s->cpuid_faults = q->results[ASK_CPUID] == 0;
	if (q->results[ASK_TIMER_SLACK] >= 0)
		s->timer_slack_ns = (uint64_t)q->results[ASK_TIMER_SLACK];
	if (q->results[ASK_MCE_KILL] >= 0 && q->results[ASK_MCE_KILL] != PR_MCE_KILL_DEFAULT)
		s->machine_check = (uint32_t)q->results[ASK_MCE_KILL] + 1;
	for (size_t i = 0; i < N_SPECULATIONS; i++) {
		uint32_t value = number(q, ASK_SPECULATION + i);
		*prctl_speculation(s, i) = value & PR_SPEC_PRCTL ? value : 0;
	}
}

/* what is made of the answers about the process */
static int take_process(const struct task *task, PrctlState *s, const struct inquiry *q,
                        const struct answers *a, struct error *err)
{
	PrctlProcess *p = s->process = xmalloc(sizeof(*p));
	char text[32];

	prctl_process__init(p);
	p->subreaper = a->subreaper;
	p->timer_restore_ids = number(q, ASK_RESTORE_IDS);
	p->dumpable = number(q, ASK_DUMPABLE);
	p->thp_disable = number(q, ASK_THP);
	p->deny_write_execute = number(q, ASK_MDWE);
	p->memory_merge = number(q, ASK_MERGE);
	p->futex_hash = number(q, ASK_FUTEX_HASH);
	p->membarrier = feature(FEATURE_membarrier_registrations) ? number(q, ASK_MEMBARRIER)
	                                                          : MEMBARRIER_REGISTERS;
	if (proc_read(task->tid, "coredump_filter", text, sizeof(text)) > 0)
		p->coredump_filter = (uint32_t)strtoul(text, NULL, 16);
	if (p->deny_write_execute & ~MDWE_ALL || p->membarrier & ~MEMBARRIER_REGISTERS ||
	    p->thp_disable & ~(THP_DISABLE_ALL | PR_THP_DISABLE_EXCEPT_ADVISED))
		return error_refuse(err, CODE_unknown_state,
		                    "PR_GET_MDWE 0x%x, membarrier 0x%x, PR_GET_THP_DISABLE 0x%x",
		                    p->deny_write_execute, p->membarrier, p->thp_disable);
	return 0;
}

static int ask(struct checkpoint *c, const struct task *task, PrctlState *s, bool needs_slack,
               struct error *err)
{
	_Alignas(struct answers) char buffer[INJECT_BUFFER_SIZE] = { 0 };
	struct inquiry q = { .n = 0 };
	struct answers answers;

	add_of_thread(&q, needs_slack);
	if (task->speaks)
		add_of_process(&q);
	int r = tracer_inject(c->tracer, task->tid, q.calls, q.n, buffer, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < N_QUESTIONS; i++)
		q.results[i] = -ENOSYS;
	for (size_t i = 0; i < q.n; i++)
		q.results[q.what[i]] = q.calls[i].result;
	memcpy(&answers, buffer, sizeof(answers));
	take_thread(s, &q, &answers);
	return task->speaks ? take_process(task, s, &q, &answers, err) : 0;
}

/* *ret_slack: whether the timer slack was there; others' needs CAP_SYS_NICE */
static int read_outside(const struct task *task, PrctlState *s, bool *ret_slack, struct error *err)
{
	_cleanup_(free_p) char *personality = NULL;
	char slack[32];

	int r = task_read(task, "personality", &personality, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	s->personality = (uint32_t)strtoul(personality, NULL, 16);
	*ret_slack = proc_read(task->tid, "timerslack_ns", slack, sizeof(slack)) > 0;
	s->timer_slack_ns = strtoull(slack, NULL, 10);
	s->no_new_privs = task->status.no_new_privs;
	s->io_flusher = (task->stat.flags & PF_IO_FLUSHER) == PF_IO_FLUSHER;
	return 0;
}

/* a cookie is an identity of the kernel's own: tasks that share one could not be told so again */
static void judge_core(struct checkpoint *c, const struct task *task)
{
	struct error refusal;
	uint64_t cookie = 0;

	if (!feature(FEATURE_core_scheduling) ||
	    prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, task->tid, PR_SCHED_CORE_SCOPE_THREAD,
	          &cookie) < 0 ||
	    !cookie)
		return;
	error_refuse(&refusal, CODE_prctl_core_scheduling, "it has a core scheduling cookie");
	refuse(c, task, &refusal);
}

int prctl_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	PrctlState *s = xmalloc(sizeof(*s));
	bool has_slack = false;

	prctl_state__init(s);
	judge_core(c, task);
	int r = read_outside(task, s, &has_slack, err);
	if (r == 0 && c->tracer)
		r = ask(c, task, s, !has_slack, err);
	else
		check_unexamined(c, task, "settings of prctl(2) that /proc does not show",
		                 CODE_cpu_amx);
	if (r < 0) {
		prctl_state__free_unpacked(s, NULL);
		return error_trace(err, r);
	}
	task_refer(task, objects_get_equal(c->objects, &prctl_kind, &s->base));
	return 0;
}
