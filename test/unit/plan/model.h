/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A model of the kernel's threads for the test of the tree planner, and random histories in it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "task/plan.h"

#define THREADS_MAX 1600
#define OUT_SID     7 /* the session and group in which the coordinator was, and is */
#define OUT_PGID    8

struct thread {
	pid_t tid, tgid, parent, sid, pgid;
	int exit_signal;
	enum { RUNS, ZOMBIE, GONE } state;
	bool subreaper;
	uint32_t share[PLAN_N_SHARES];
	const struct plan_ns *ns;
};

/* kinds of histories */
enum {
	SHARING = 1,
	NESTED = 2,     /* pid namespaces */
	WILD = 4,       /* CLONE_PARENT, subreapers no more, and a root that may do as it likes */
	LEADS = 8,      /* the root leads its session */
	CONTAINER = 16, /* it is the init of its pid namespace, which others enter from outside */
};

struct model {
	struct thread t[THREADS_MAX];
	size_t n;
	uint32_t next_share;
	pid_t out_sid, out_pgid, root;
	unsigned mode;
	struct plan_ns spaces[THREADS_MAX]; /* below the root's; init is a tid here */
	size_t n_spaces;
};

extern const uint64_t flags_of[PLAN_N_SHARES]; /* CLONE_VM..., independent of the planner */

/* ---- the kernel. What returns bool returns whether the call succeeds ---- */

/* the thread with that tid, unless it has ended and been waited for: NULL */
struct thread *get(struct model *m, pid_t tid);
/* dead or alive; NULL: outside */
struct thread *recall(struct model *m, pid_t tid);
/* the number that @tid has in a namespace; 0: it cannot be seen there */
int32_t number_in(struct model *m, pid_t tid, const struct plan_ns *ns);
/* whether a process or group, by its leader, can be named in a namespace */
bool is_visible(struct model *m, pid_t tid, const struct plan_ns *ns);
/* one that runs, shares nothing, and has no parent */
struct thread *add(struct model *m, pid_t tid);
/* clone(2) by @c; contradicting flags fail the test */
struct thread *clone_model(struct model *m, struct thread *c, pid_t tid, uint64_t flags,
                           int exit_signal);
bool setsid_model(struct model *m, struct thread *t);
bool setpgid_model(struct model *m, struct thread *t, pid_t pgid);
/* the parent does it for its child */
bool setpgid_child_model(struct model *m, struct thread *t, struct thread *child, pid_t pgid);
/* one of a process that runs; NULL: none does */
struct thread *living_thread(struct model *m, pid_t tgid);
/* whether it is of the first process of a pid namespace below the root's */
bool is_init(const struct thread *t);
/* the init of a namespace has ended: so have all in it, and they have been waited for */
void end_space(struct model *m, const struct plan_ns *ns, pid_t init);
/* one thread ends; children go to another thread or the next subreaper */
void exit_model(struct model *m, struct thread *t, bool reaped);

/* ---- histories ---- */

/* the next random number, below @n; history() begins it anew */
unsigned any(unsigned n);
/* what has become of a root after so many events; to be freed */
struct model *history(uint64_t s, unsigned events, unsigned mode);
