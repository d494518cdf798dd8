/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the tree planner (plan.h) know of the tree, and what they do for one another:
 * plan.c reads the input, with plan_ns.c; then come plan_sessions.c, plan_sharing.c and
 * plan_steps.c, in this order, the latter with plan_orphans.c, plan_groups.c and plan_stand_ins.c.
 */
#pragma once

#include "task/plan.h"

struct map;

#define OUTSIDE ((pid_t)-1) /* the session or group of the restart itself */
#define FREE    ((pid_t)0)  /* any session will do */

struct member {                               /* what the planner knows of a node */
	uint32_t leader, parent;              /* nodes */
	uint32_t first_child, next_child;     /* of a process: processes; by leader's node */
	uint32_t first_thread, next_thread;   /* of a process: its threads but the leader */
	uint32_t oldest_thread;               /* of those */
	uint32_t first_product, last_product; /* of a task: what it makes, in order */
	uint32_t next_product;
	uint32_t enter, leave; /* interval of the depth-first walk, for descent */
	pid_t sid, pgid;       /* OUTSIDE where that is so */
	pid_t birth;           /* leaders of sessions: the session to be born into */
	bool foreign;          /* made by a placeholder, then handed to its parent */
	bool entered;          /* made by the coordinator, like the root; foreign, too */
	bool orphan;           /* the same, by a placeholder of the one that is to make it */
	bool sibling;          /* made by its sibling that leads its session (CLONE_PARENT) */
	bool led;              /* made by a placeholder that leads its session, or comes from it */
	bool made, built;      /* it is there; it has made what must be born before its setsid(2) */
	pid_t group, birth_group; /* where it is while steps are played */
	pid_t birth_session;
	pid_t birth_in; /* the group it must be in at birth, since it cannot name it; 0: any */
	bool wish;      /* of its heirs, which it may have got from others */
	uint32_t birth_owner; /* the user namespace that it is born in, as plan_ns.owner */
	uint32_t n_heirs;     /* of a process: products to come that must be born into its group */
};

/* the numbers of a process, as the kernel's struct pid */
struct plan_pid {
	pid_t tid; /* 0: any that is free */
	const struct plan_ns *ns;
	const int32_t *inner; /* as plan_task.inner */
};

struct group {
	pid_t pgid, session;
	struct plan_pid leader; /* its namespace, also while it lives */
	uint32_t member;        /* the first task in it, of those on the highest level */
	bool founded, held;     /* it is there; by a placeholder that keeps it until the end */
	bool settled;           /* a member leads no group itself, so it comes first and stays */
};

/* a placeholder of a number in plan_task.stand_ins that is the dead leader of a session */
struct lead {
	pid_t sid;
	uint32_t reaper; /* who gets what it leaves behind */
	bool early;      /* it has children that are not of its session */
	bool made;
};

struct foreign { /* a process that comes to its parent as an orphan */
	uint32_t node;
	pid_t sid;
};

/* what is tried when the tree cannot be made without */
struct ways {
	bool adopt; /* an init got what it may also have made itself, plan_sessions.c */
	bool keep;  /* a placeholder stays in the session and group outside, plan_orphans.c */
};

struct planner {
	const struct plan_task *tasks;
	size_t n;
	struct member *members; /* per node, placeholders included */
	struct map *by_tid;     /* -> node + 1 */
	uint32_t *order;        /* processes, parents first */
	size_t n_order;
	struct foreign *foreign;
	size_t n_foreign;
	struct map *inits;        /* struct plan_ns * -> node + 1 */
	struct map *dead_leaders; /* number -> struct plan_pid, of leaders of sessions and groups */
	struct map *groups;       /* pgid -> struct group */
	uint32_t *ending;         /* placeholders that end when all groups are complete */
	struct map *places; /* sid of a dead leader -> node + 1 of the process it was made below */
	struct map *leads;  /* number in plan_task.stand_ins -> struct lead */
	size_t n_ending;
	struct ways ways;
	uint32_t keeper; /* a placeholder that stays in the session outside, PLAN_NONE: none */
	struct plan *plan;
	struct error *err;
};

/* ---- plan.c: errors and looking up ---- */

int plan_invalid(struct planner *p, uint32_t node, const char *why);   /* -EBADMSG */
int plan_bad_shape(struct planner *p, uint32_t node, const char *why); /* -EOPNOTSUPP */
uint32_t plan_find(const struct planner *p, pid_t tid);                /* PLAN_NONE: no such task */

static inline bool is_leader(const struct planner *p, uint32_t node)
{
	return p->tasks[node].tid == p->tasks[node].tgid;
}

static inline bool leads_session(const struct planner *p, uint32_t node)
{
	return p->members[node].sid == p->tasks[node].tid;
}

/* whether the coordinator makes it */
static inline bool is_top(const struct planner *p, uint32_t node)
{
	return node == p->plan->root || p->members[node].entered;
}

static inline const struct plan_ns *ns_of(const struct planner *p, uint32_t node)
{
	return p->plan->nodes[node].ns;
}

/* ---- plan_ns.c ---- */

/* that numbers, parents and inits agree on every level; fills p->inits and p->dead_leaders */
int plan_read_namespaces(struct planner *p);
bool plan_is_init(const struct planner *p, uint32_t node); /* of a namespace below the root's */
/* the init of a namespace, the root of its own */
uint32_t plan_init_of(const struct planner *p, const struct plan_ns *ns);
/* what it is in has an init, or gets it by this one */
bool plan_ns_ready(const struct planner *p, uint32_t node);
/* whether the init of a pid namespace has been made */
bool plan_ns_begun(const struct planner *p, const struct plan_ns *ns);
/* the pid namespace of a leader of a session or group, living or dead */
const struct plan_pid *plan_dead_leader(const struct planner *p, pid_t tid);

/* ---- plan_sessions.c ---- */

/* member.birth, and which processes are foreign */
int plan_settle_sessions(struct planner *p);
/* the session into which a process must be born; FREE for a leader whose children do not care */
pid_t plan_birth(const struct planner *p, uint32_t node);
/* whether a process can have been in @session before its own setsid(2); and whether it has been */
bool plan_can_begin_in(const struct planner *p, uint32_t process, pid_t session);
bool plan_has_been_in(const struct planner *p, uint32_t process, pid_t session);
bool plan_descends(const struct planner *p, uint32_t node, uint32_t ancestor);
/* the process below which the dead leader of a session that left orphans is made */
uint32_t plan_place(const struct planner *p, pid_t sid);
/* whether it can have come to its parent when who made it ended, in the namespace @ns */
bool plan_was_orphan(const struct planner *p, uint32_t node, const struct plan_ns *ns);

/* ---- plan_sharing.c ---- */

/*
 * The process that is to make a child of another one for the sake of pages, in whose session it is
 * to be born; the child's parent if none is, or if something is in the way.
 */
uint32_t plan_maker(const struct planner *p, uint32_t child);
/* who makes whom, with which flags: the products of each task, and its node */
int plan_settle_sharing(struct planner *p);

/* ---- plan_orphans.c ---- */

/* behind the last in p->foreign of the session of the one at @start; those are sorted by it */
size_t plan_session_end(const struct planner *p, size_t start);

/* ---- plan_steps.c ---- */

/* the steps themselves, when everything else is settled */
int plan_make_steps(struct planner *p);
/* appends one; lent until the next is appended */
struct plan_step *plan_add_step(struct planner *p, enum plan_action action, uint32_t actor,
                                uint32_t node);
/* its node, cloned by @creator into process group @group */
uint32_t plan_add_placeholder(struct planner *p, uint32_t creator, struct plan_pid who,
                              pid_t group);

/* ---- plan_groups.c ---- */

/* which there are */
int plan_read_groups(struct planner *p);
/* whether a process in @ns has a number for the group */
bool plan_group_visible(const struct planner *p, pid_t pgid, const struct plan_ns *ns);
/* the session in which a process is while steps are played */
pid_t plan_session_now(const struct planner *p, uint32_t process);
/* those that only @process, about to call setsid(2), can put their leaders back from */
void plan_begin_childrens_groups(struct planner *p, uint32_t process);
/* in which a group is */
pid_t plan_session_of(const struct planner *p, pid_t pgid);
/* it is born into any group: whether that was only a wish; @creator was to make it */
bool plan_drop_wish(struct planner *p, uint32_t creator, uint32_t node);
/* whether @creator, in process group @group, can have it born into its group when that is there */
bool plan_can_put(const struct planner *p, uint32_t creator, uint32_t node, pid_t group);
/* who is there and can have a child in namespace @ns and process group @pgid; PLAN_NONE: nobody */
uint32_t plan_helper(const struct planner *p, pid_t pgid, const struct plan_ns *ns);
/* whether the group that it is to be born into is there, or can be made now */
bool plan_group_ready(const struct planner *p, uint32_t node);
/* member.birth_in, when it is known who makes whom */
void plan_settle_births_in_groups(struct planner *p);
/* the parent of @maker puts it into a group that it cannot name, for what it is to make there */
bool plan_bring(struct planner *p, uint32_t maker, pid_t pgid);
/* @creator has just made @node, which its parent puts into that group before it goes on */
int plan_put_into(struct planner *p, uint32_t creator, uint32_t node, pid_t pgid);
/*
 * All processes down to @level are there: each into its process group. Those that are deeper and
 * cannot name their group are then born into it.
 */
void plan_finish_groups(struct planner *p, unsigned level);
/* that all are where they belong */
int plan_check_groups(struct planner *p);
