/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: from plain data about tasks to plain steps that build them again, computed
 * before anything is made and testable without root. The technique is MakeForest's (Laadan and
 * Nieh, "Transparent Checkpoint-Restart of Multiple Processes on Commodity Operating Systems",
 * USENIX 2007): what died long ago but left a session, a process group or orphans behind is played
 * by placeholders that end when they have done their part.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

/* what clone(2) can share */
enum plan_share {
	PLAN_VM,
	PLAN_FILES,
	PLAN_FS,
	PLAN_SIGHAND,
	PLAN_IO,
	PLAN_SYSVSEM,
	PLAN_N_SHARES
};
uint64_t plan_share_flag(enum plan_share share); /* CLONE_VM... */

enum plan_state { PLAN_LIVE, PLAN_ZOMBIE, PLAN_DEAD_LEADER };

#define PLAN_COORDINATOR UINT32_MAX /* as creator: of those that have no parent in the set */
#define PLAN_NONE        UINT32_MAX

/* a pid namespace below the root's own */
struct plan_ns {
	const struct plan_ns *parent; /* NULL: the root's own */
	unsigned level;               /* 1: right below the root's own */
	uint32_t id;                  /* the object's */
	uint32_t init;  /* index of its init among the tasks; PLAN_NONE: there is none */
	uint32_t owner; /* the user namespace that owns it; 0: the one that owns the root's */
};
#define PLAN_STAND_INS_MAX 16
#define PLAN_LEVELS_MAX    32 /* the kernel's MAX_PID_NS_LEVEL */

static inline unsigned plan_ns_level(const struct plan_ns *ns)
{
	return ns ? ns->level : 0;
}
/* whether @inner is @outer (NULL: the root's own) or lies below it */
bool plan_ns_within(const struct plan_ns *inner, const struct plan_ns *outer);

struct plan_task {
	pid_t tid, tgid; /* these numbers are those of the root's pid namespace */
	/*
	 * tid of the real parent, a thread; 0 for the root, and if that is the init of its pid
	 * namespace for what has entered it from outside, setns(2). Ignored for threads.
	 */
	pid_t parent;
	pid_t pgid, sid;
	enum plan_state state;
	int exit_signal;               /* leaders */
	uint32_t share[PLAN_N_SHARES]; /* object ids; 0 = none. Tasks with equal ids share. */
	/*
	 * In which order siblings are made; equal ones in the order given. And numbers of
	 * placeholders that stand in for processes between them and their parent, which are dead,
	 * the outermost first: for the sake of pages that they share. They must outlive the plan.
	 */
	uint32_t turn;
	pid_t maker; /* a descendant of its parent that is to make it, if nothing is in the way */
	const uint32_t *stand_ins;
	size_t n_stand_ins;
	/* Its pid namespace, NULL: the root's; and its numbers from the one below the root's down
	 * to its own, ns->level of each; 0 where a group or session is not to be seen. All of it
	 * must outlive the plan. */
	const struct plan_ns *ns;
	const int32_t *inner_tids, *inner_pgids, *inner_sids;
};

/* nodes 0..n-1 are the tasks in the order given; the rest are placeholders */
struct plan_node {
	pid_t tid; /* 0: any that is free */
	const struct plan_ns *ns;
	const int32_t *inner; /* its numbers in the namespaces below the root's; NULL: as tid */
	bool is_task;         /* false: a placeholder */
	/* A placeholder: node + 1 of the init that it makes in its maker's stead, as a child of
	 * that (CLONE_PARENT), from the user namespace that is to own the init's; 0: none. */
	uint32_t bears;
	uint32_t leader; /* node of its thread group's leader */
	uint32_t creator;
	uint64_t flags; /* CLONE_* */
	int exit_signal;
};

enum plan_action {
	PLAN_CLONE,   /* actor clones node, as nodes[node] says */
	PLAN_SETSID,  /* actor */
	PLAN_SETPGID, /* node (actor, or a child of it) enters group pgid;
	                 pgid 0: the restart's own group */
	PLAN_EXIT,    /* placeholder actor ends, is reaped by its creator; its children go to node's
	                 process (PLAN_NONE: it has none) */
	PLAN_DIE      /* actor becomes a zombie, or a dead leader */
};

struct plan_step {
	enum plan_action action;
	uint32_t actor, node;
	pid_t pgid;
};

struct plan {
	struct plan_node *nodes;
	size_t n_nodes;
	struct plan_step *steps;
	size_t n_steps;
	uint32_t root;
};

/**
 * plan_make() - compute the steps
 * Errors: -EOPNOTSUPP sharing.gap, tree.shape: clone(2) and setsid(2) cannot build this;
 * -EBADMSG image.invalid: the data contradicts itself (it is hostile input). Linear but for
 * sharing that needs a search.
 */
int plan_make(const struct plan_task *tasks, size_t n, struct plan **ret, struct error *err);
void plan_free(struct plan *plan); /* takes NULL */

static inline void plan_freep(struct plan **plan)
{
	plan_free(*plan);
}
