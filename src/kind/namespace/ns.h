/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds that are namespaces have in common: identity, leaks, entering. namespaces(7). */
#pragma once

#include <stdbool.h>

#include "host/helper.h"
#include "kind/kind.h"

/* which namespace of a task; the link in /proc/PID/ns, and CLONE_NEW* for setns(2) */
struct ns_type {
	const char *link; /* "uts" */
	int flag;
	const char *what; /* "UTS" */
};

/* object->live of all of them */
struct ns {
	int fd; /* at checkpoint the namespace; at restart the new one, -1 until it is made */
	const struct ns_type *type;
	struct task *task;    /* checkpoint: the first that is in it */
	struct object *owner; /* checkpoint: the user namespace that owns it; NULL: ours */
	char link[64];        /* "uts:[4026532211]" */
};

/**
 * ns_collect() - the namespace of a task, for a kind's collect()
 * @ret:	the object, which the task refers to now; NULL when it is the coordinator's own
 *		namespace, which is not recorded: a restart inherits its own
 */
int ns_collect(struct checkpoint *c, struct task *task, const struct kind *kind,
               const struct ns_type *type, struct object **ret, struct error *err);
/*
 * The same for one that a descriptor or bind mount of @task refers to, and that no task need be in.
 * @ret_new: may be NULL
 */
int ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, const struct kind *kind,
                  const struct ns_type *type, struct object **ret, bool *ret_new,
                  struct error *err);
/*
 * Refuses a task in our own namespace whose maker at restart, its parent or the leader of its
 * process, is in another one of the set: the way back needs a namespace from outside.
 */
void ns_judge_own(struct checkpoint *c, const struct task *task, const struct kind *kind,
                  const struct ns_type *type);
/* refuses a namespace that a process outside the set is in, or has open; for a kind's judge() */
int ns_judge(struct checkpoint *c, struct object *object, struct error *err);
/* refuses a namespace that we may not enter, host/enter.h */
int ns_check_rights(int nsfd, const char *what, struct error *err);
/* refuses one that tasks of the container could not enter any more when they are made */
void ns_judge_owner(struct checkpoint *c, const struct task *task, const char *link,
                    const struct object *owner);
/* checkpoint: the id of the user namespace that owns it, for its message; 0: ours */
uint32_t ns_owner(const struct object *object);

/* restart: object->live, made when it is missing */
struct ns *ns_live(struct object *object, const struct ns_type *type);
/*
 * A new namespace of the type, fresh from unshare(2), with @fill run in it, and in the owner. For a
 * kind's restore().
 * @owner:	the user namespace that is to own it, user_ns_fd(); -1: ours
 */
int ns_make(struct object *object, const struct ns_type *type, int owner,
            int (*fill)(const struct object *object, struct error *err), struct error *err);
/*
 * For a helper: into the user namespace that owns a namespace, -1: it is ours; as its root, whom
 * settings of the namespace ask for.
 */
int ns_enter_owner(int owner, struct error *err);
/*
 * A helper for what calls ns_enter_owner(): in our memory (helper_run_here()), but on a copy of it
 * where it is somebody else who runs then.
 */
int ns_run(int owner, helper_fn *fn, void *arg, struct error *err);
int ns_enter(struct restart *r, struct object *object, struct stub *stub, struct error *err);
void ns_release(struct object *object);
