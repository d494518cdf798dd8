/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel does to threads, as far as the planner must know. See model.h. */
#include "plan/model.h"

#include <sched.h>
#include <signal.h>
#include <string.h>

const uint64_t flags_of[PLAN_N_SHARES] = { CLONE_VM,      CLONE_FILES, CLONE_FS,
	                                   CLONE_SIGHAND, CLONE_IO,    CLONE_SYSVSEM };

struct thread *get(struct model *m, pid_t tid)
{
	for (size_t i = m->n; i-- > 0;)
		if (m->t[i].tid == tid && m->t[i].state != GONE)
			return &m->t[i];
	return NULL;
}

/* dead or alive; NULL: outside */
struct thread *recall(struct model *m, pid_t tid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].tid == tid)
			return &m->t[i];
	return NULL;
}

/* the number that @tid has in a namespace; 0: it cannot be seen there */
int32_t number_in(struct model *m, pid_t tid, const struct plan_ns *ns)
{
	const struct thread *t = recall(m, tid);

	if (!t || !plan_ns_within(t->ns, ns))
		return 0;
	return ns->init == (uint32_t)tid ? 1 : tid + (int32_t)ns->level * 100000;
}

/* whether a process or group, by its leader, can be named in a namespace */
bool is_visible(struct model *m, pid_t tid, const struct plan_ns *ns)
{
	return ns ? number_in(m, tid, ns) != 0 : m->root != 1 || tid != m->out_pgid;
}

static bool group_exists(struct model *m, pid_t pgid, pid_t sid)
{
	if (pgid == m->out_pgid && (sid == 0 || sid == m->out_sid)) /* the coordinator's */
		return true;
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].state != GONE && m->t[i].pgid == pgid &&
		    (sid == 0 || m->t[i].sid == sid))
			return true;
	return false;
}

struct thread *add(struct model *m, pid_t tid)
{
	assert_true(m->n < THREADS_MAX);
	struct thread *t = &m->t[m->n++];
	*t = (struct thread){ .tid = tid, .tgid = tid, .exit_signal = SIGCHLD };
	for (int k = 0; k < PLAN_N_SHARES; k++)
		t->share[k] = ++m->next_share;
	return t;
}

struct thread *clone_model(struct model *m, struct thread *c, pid_t tid, uint64_t flags,
                           int exit_signal)
{
	assert_int_equal(c->state, RUNS);
	assert_null(get(m, tid));
	assert_false((flags & CLONE_SIGHAND) && !(flags & CLONE_VM));
	assert_false((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND));
	struct thread *t = add(m, tid);
	t->sid = c->sid;
	t->pgid = c->pgid;
	t->ns = c->ns;
	t->parent = c->tid;
	t->exit_signal = exit_signal;
	if (flags & CLONE_THREAD) {
		t->tgid = c->tgid;
		t->parent = 0;
	} else if (flags & CLONE_PARENT) {
		t->parent = get(m, c->tgid)->parent;
		t->exit_signal = get(m, c->tgid)->exit_signal;
	}
	for (int k = 0; k < PLAN_N_SHARES; k++)
		if (flags & flags_of[k])
			t->share[k] = c->share[k];
	return t;
}

static void set_process(struct model *m, pid_t tgid, pid_t sid, pid_t pgid)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->t[i].tgid != tgid || m->t[i].state == GONE)
			continue;
		m->t[i].sid = sid;
		m->t[i].pgid = pgid;
	}
}

bool setsid_model(struct model *m, struct thread *t)
{
	if (t->tgid == t->sid || group_exists(m, t->tgid, 0))
		return false;
	set_process(m, t->tgid, t->tgid, t->tgid);
	return true;
}

bool setpgid_model(struct model *m, struct thread *t, pid_t pgid)
{
	if (t->sid == t->tgid || !is_visible(m, pgid, t->ns) ||
	    (pgid != t->tgid && !group_exists(m, pgid, t->sid)))
		return false;
	set_process(m, t->tgid, t->sid, pgid);
	return true;
}

/* the parent does it for its child */
bool setpgid_child_model(struct model *m, struct thread *t, struct thread *child, pid_t pgid)
{
	const struct thread *parent = child->parent ? get(m, child->parent) : NULL;

	if (child->tid != child->tgid || !parent || parent->tgid != t->tgid ||
	    child->sid != t->sid || child->sid == child->tgid || !is_visible(m, pgid, t->ns) ||
	    (pgid != child->tgid && !group_exists(m, pgid, t->sid)))
		return false;
	set_process(m, child->tgid, child->sid, pgid);
	return true;
}

struct thread *living_thread(struct model *m, pid_t tgid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].tgid == tgid && m->t[i].state == RUNS)
			return &m->t[i];
	return NULL;
}

static struct thread *reaper_for(struct model *m, struct thread *dead)
{
	struct thread *t = living_thread(m, dead->tgid);
	pid_t up = get(m, dead->tgid) ? get(m, dead->tgid)->parent : dead->parent;

	while (!t && up) {
		struct thread *p = get(m, up);
		if (plan_ns_level(p->ns) != plan_ns_level(dead->ns))
			break;
		if (get(m, p->tgid)->subreaper)
			t = living_thread(m, p->tgid);
		up = get(m, p->tgid)->parent;
	}
	return t ? t : living_thread(m, dead->ns ? (pid_t)dead->ns->init : m->root);
}

bool is_init(const struct thread *t)
{
	return t->ns && t->ns->init == (uint32_t)t->tgid;
}

/* the init of a namespace has ended: so have all in it, and they have been waited for */
void end_space(struct model *m, const struct plan_ns *ns, pid_t init)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->t[i].tgid != init && plan_ns_within(m->t[i].ns, ns))
			m->t[i].state = GONE;
}

/* one thread ends; children go to another thread or the next subreaper; false: that is nobody */
void exit_model(struct model *m, struct thread *t, bool reaped)
{
	pid_t tid = t->tid;

	t->state = ZOMBIE;
	struct thread *reaper = reaper_for(m, t);
	for (size_t i = 0; i < m->n; i++) {
		if (m->t[i].state == GONE || m->t[i].parent != tid || m->t[i].tgid == t->tgid)
			continue;
		assert_non_null(reaper);
		m->t[i].parent = reaper->tid;
		if (reaper->tgid != t->tgid)
			m->t[i].exit_signal = SIGCHLD;
	}
	memset(t->share, 0, sizeof(t->share));
	if (t->tid != t->tgid || reaped || (!t->parent && !living_thread(m, t->tgid)))
		t->state = GONE; /* a parent outside has waited */
	/* the last thread of a process whose leader ended before */
	struct thread *leader = get(m, t->tgid);
	if (leader && leader != t && (reaped || !leader->parent) && !living_thread(m, t->tgid))
		leader->state = GONE;
}
