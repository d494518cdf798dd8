/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind pid_ns: what a checkpoint finds out (collect.c), and restart (pid_ns.c). */
#pragma once

#include "kind/namespace/ns.h"
#include "kind/pid_ns.h"
#include "kind/pid_ns/settings.h"

/* object->live */
struct pid_ns {
	struct ns ns;          /* first: it is one */
	struct object *parent; /* NULL: the coordinator's, or what is above the root's */
	struct task *init;     /* checkpoint; NULL: none in the set */
	struct pid_ns_settings settings;
	bool unborn;         /* it has had no init yet, so it has no descriptor either */
	struct task **users; /* checkpoint: those whose next children will be in it */
	size_t n_users;
	const struct object *top; /* restart, of one that is gone: it is in the list of that one */
	size_t place;             /* and where */
};

struct pid_ns *pid_ns_live(struct object *object); /* made when it is missing */
extern const struct ns_type pid_ns_type;
/* all of them, the caller's, if @first is the first; *ret_n = 0 if not */
struct object **pid_ns_list_all(const struct objects *objects, const struct object *first,
                                size_t *ret_n);

/* operations of the kind, see kind.h */
int pid_ns_collect(struct checkpoint *c, struct task *task, struct error *err);
int pid_ns_collect_dead(struct checkpoint *c, struct task *task, struct error *err);
int pid_ns_judge(struct checkpoint *c, struct object *object, struct error *err);
int pid_ns_save(struct checkpoint *c, struct object *object, struct error *err);
