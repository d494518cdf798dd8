/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind user_ns: what a checkpoint finds out (collect.c), and restart (user_ns.c).
 */
#pragma once

#include "kind/namespace/ns.h"
#include "kind/user_ns.h"

/* object->live */
struct user_ns {
	struct ns ns; /* first: what all namespaces have */
	struct user_ns_data data;
	struct object *parent; /* checkpoint */
	ino_t passed;          /* checkpoint: one in between that was passed over; 0 none */
};

struct user_ns *user_ns_live(struct object *object); /* made when it is missing */

/* operations of the kind, see kind.h */
int user_ns_collect_task(struct checkpoint *c, struct task *task, struct error *err);
int user_ns_judge(struct checkpoint *c, struct object *object, struct error *err);
int user_ns_save(struct checkpoint *c, struct object *object, struct error *err);
