/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What plan_steps.c, plan_orphans.c and plan_stand_ins.c share: what waits while the steps are
 * made, in order. */
#pragma once

#include "task/plan_private.h"

struct orphans { /* of one session, reaper, namespace and group of birth */
	uint32_t maker;
	enum {
		BY_CHILD,  /* of the maker, which ends at once */
		BY_LEADER, /* by the maker itself: it ends and leaves them behind when all is made
		            */
		BY_KEEPER  /* the same, but it ends at once */
	} how;
	const struct foreign *list; /* lent */
	size_t n;
};

/* what is made when all above this level of pid namespaces is there */
struct level {
	uint32_t *queue; /* processes made but not yet built */
	size_t n_queue, next;
	uint32_t *due; /* products of tasks of higher levels */
	size_t n_due;
	struct orphans *orphans;
	size_t n_orphans;
	size_t *dead; /* first foreigns of sessions whose leaders were in a namespace to come */
	size_t n_dead;
	uint32_t *blocked; /* processes with early products in namespaces that have no init yet */
	size_t n_blocked;
};

struct building {
	struct level levels[PLAN_LEVELS_MAX + 1];
	unsigned level, deepest; /* where we are; the last one */
	uint32_t *leaders;       /* placeholders that lead sessions, each followed by its reaper */
	size_t n_leaders;
	struct map *dead_sessions; /* reaper -> index + 1 of the first foreign of the session */
	uint32_t *next_dead;       /* per foreign index: another session at the same reaper, + 1 */
	struct foreign **left;     /* owned: what plan_leave_behind() has added */
	size_t n_left;
	size_t n_made; /* nodes, so far */
};

/* how many pid namespaces below the root's a node is */
unsigned plan_level(const struct planner *p, uint32_t node);
/* a clone, and in which session and group the child finds itself; -EOPNOTSUPP: it cannot be */
int plan_make_node(struct planner *p, struct building *b, uint32_t creator, uint32_t node,
                   pid_t session, pid_t group);
/* a placeholder, just made, leads the session of a dead one until groups are set */
void plan_lead_session(struct planner *p, struct building *b, uint32_t leader, pid_t sid,
                       uint32_t reaper);

/* ---- plan_orphans.c ---- */

/* where the placeholders for dead leaders of sessions are made; sorts p->foreign */
void plan_place_dead_sessions(struct planner *p, struct building *b);
/* those of the session that a process, which has just been made, leads; and of dead leaders */
int plan_build_orphans(struct planner *p, struct building *b, uint32_t process);
/* the same for the session outside, which the root is about to leave */
int plan_keep_outside(struct planner *p, struct building *b);
/*
 * @node, which its parent is to make in the session and group where it is now, but cannot make yet:
 * a child of the parent stays there, makes it when it can be made, and ends. Returns whether it can
 * have been so; then it is done.
 */
bool plan_leave_behind(struct planner *p, struct building *b, uint32_t node);
/* those that wait, as far as all that they need is there by now; sets *ret if there were some */
int plan_make_late_orphans(struct planner *p, struct building *b, struct level *level, bool *ret);

/* ---- plan_stand_ins.c ---- */

/* those that are there, the outermost first */
struct stand_ins {
	uint32_t maker; /* of the outermost */
	size_t n;
	struct {
		uint32_t node, number;
		uint32_t reaper; /* who gets the children that it leaves behind; PLAN_NONE */
		pid_t session;   /* of a dead leader, which it is or comes from; 0: the maker's */
		bool leads;      /* it leads that, and ends when groups are set */
	} all[PLAN_STAND_INS_MAX + 1];
};

/* they can make @x for its parent, by CLONE_PARENT or by dying: it shares nothing with anybody */
bool plan_has_stand_ins(const struct planner *p, uint32_t x);
/* all but the first @n end */
void plan_end_stand_ins(struct planner *p, struct stand_ins *s, size_t n);
/*
 * The placeholders that @x wants, and no others, in a session and group of the maker's; it becomes
 * the last one's product.
 */
void plan_go_to_stand_ins(struct planner *p, struct building *b, struct stand_ins *s, uint32_t x,
                          pid_t group);
