/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random histories of processes. See model.h. */
#include <sched.h>
#include <signal.h>

#include "plan/model.h"
#include "util/alloc.h"

static uint64_t seed;

unsigned any(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static struct thread *any_running(struct model *m)
{
	struct thread *t;

	do
		t = &m->t[any((unsigned)m->n)];
	while (t->state != RUNS);
	return t;
}

static uint64_t any_flags(bool sharing)
{
	uint64_t flags = 0;

	if (!sharing)
		return 0;
	for (int k = 0; k < PLAN_N_SHARES; k++)
		if (any(4) == 0)
			flags |= flags_of[k];
	if (flags & CLONE_SIGHAND)
		flags |= CLONE_VM;
	return flags;
}

static void unshare_model(struct model *m, struct thread *t)
{
	static const int can[] = { PLAN_FILES, PLAN_FS, PLAN_SYSVSEM };

	t->share[can[any(3)]] = ++m->next_share;
}

/* a child that begins a pid namespace, enters one, or is put into a group by its parent */
static void one_nested_event(struct model *m, pid_t *next, bool sharing)
{
	struct thread *t = any_running(m), *child;
	struct plan_ns *ns;
	uint64_t flags;

	switch (any(4)) {
	case 0:
		if (plan_ns_level(t->ns) == PLAN_LEVELS_MAX || m->n_spaces == THREADS_MAX)
			break;
		ns = &m->spaces[m->n_spaces++];
		/* one in four belongs to a user namespace of its own, the others to that above */
		*ns = (struct plan_ns){ .parent = t->ns,
			                .level = plan_ns_level(t->ns) + 1,
			                .id = (uint32_t)m->n_spaces,
			                .init = (uint32_t)*next };
		ns->owner = m->n_spaces % 4 == 0 ? ns->id : t->ns ? t->ns->owner : 0;
		flags = any_flags(sharing);
		if (ns->owner != (t->ns ? t->ns->owner : 0))
			flags &= ~(uint64_t)CLONE_FS; /* EINVAL, clone(2) */
		clone_model(m, t, (*next)++, flags, SIGCHLD)->ns = ns;
		break;
	case 1:
		ns = m->n_spaces ? &m->spaces[any((unsigned)m->n_spaces)] : NULL;
		if (ns && plan_ns_within(ns, t->ns) && living_thread(m, (pid_t)ns->init))
			clone_model(m, t, (*next)++, any_flags(sharing), SIGCHLD)->ns = ns;
		break;
	default:
		child = any_running(m);
		setpgid_child_model(m, t, child, any(2) ? child->tid : any_running(m)->pgid);
		break;
	}
}

/* a process ends as a whole, or one thread; the last thread takes the leader along */
static void end_model(struct model *m, struct thread *t)
{
	pid_t tgid = t->tgid;

	if (any(2) == 0) {
		if (!is_init(t))
			exit_model(m, t, t->tid != tgid || (any(2) && !living_thread(m, tgid)));
		return;
	}
	bool reaped = any(3) > 0;
	if (is_init(t))
		end_space(m, t->ns, tgid);
	while ((t = living_thread(m, tgid)))
		exit_model(m, t, false);
	if (reaped && get(m, tgid))
		get(m, tgid)->state = GONE;
}

/* clone(2): not for an init */
static uint64_t any_parent(struct model *m, const struct thread *t)
{
	return m->mode & WILD && get(m, t->tgid)->parent && !is_init(t) && any(4) == 0
	               ? CLONE_PARENT
	               : 0;
}

static void one_event(struct model *m, pid_t *next, bool sharing)
{
	const uint64_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
	struct thread *t = any_running(m), *other;
	/* the session outside would seem to be one whose leader died, if the root left it */
	bool is_root = t->tgid == m->root;

	switch (any(12)) {
	case 0:
	case 1:
	case 2:
		clone_model(m, t, (*next)++, any_flags(sharing) | any_parent(m, t), SIGCHLD);
		break;
	case 3:
		clone_model(m, t, (*next)++,
		            thread | CLONE_FILES | CLONE_FS | CLONE_IO | CLONE_SYSVSEM, 0);
		break;
	case 4:
		if (sharing)
			clone_model(m, t, (*next)++, thread | any_flags(true), 0);
		break;
	case 5:
		if (!is_root || m->mode & WILD)
			setsid_model(m, t);
		break;
	case 6:
		setpgid_model(m, t, t->tgid);
		break;
	case 7:
		other = any_running(m);
		if (!is_root)
			setpgid_model(m, t, other->pgid);
		break;
	case 8:
		if (sharing)
			unshare_model(m, t);
		break;
	case 9:
		get(m, t->tgid)->subreaper |= any(3) == 0;
		if (m->mode & WILD && !is_root && any(2))
			get(m, t->tgid)->subreaper = false;
		break;
	default:
		if (!is_root)
			end_model(m, t);
		break;
	}
}

/* from outside, setns(2), as nsenter(1) does: the root's pid namespace, or one below it */
static void enter_model(struct model *m, pid_t tid)
{
	const struct plan_ns *ns = m->n_spaces && any(3) == 0
	                                   ? &m->spaces[any((unsigned)m->n_spaces)]
	                                   : NULL;
	struct thread *t = add(m, tid);

	t->sid = m->out_sid;
	t->pgid = m->out_pgid;
	if (ns && living_thread(m, (pid_t)ns->init))
		t->ns = ns;
}

/* a process whose last thread is gone is a zombie; nothing to do, but threads that lead none */
struct model *history(uint64_t s, unsigned events, unsigned mode)
{
	struct model *m = xcalloc(1, sizeof(*m));
	pid_t next = 1001;

	m->mode = mode;
	m->root = mode & CONTAINER ? 1 : 1000;
	seed = s * 977 + 12345;
	m->out_sid = OUT_SID;
	m->out_pgid = OUT_PGID;
	struct thread *root = add(m, m->root);
	root->sid = OUT_SID;
	root->pgid = OUT_PGID;
	root->subreaper = true;
	if (mode & LEADS)
		setsid_model(m, root);
	while (events-- && m->n < THREADS_MAX - 2) {
		if (mode & CONTAINER && any(10) == 0)
			enter_model(m, next++);
		else if (mode & NESTED && any(5) == 0)
			one_nested_event(m, &next, mode & SHARING);
		else
			one_event(m, &next, mode & SHARING);
	}
	return m;
}
