/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind time_ns: clocks.c, the checkpoint (collect.c), the restart (time_ns.c). */
#pragma once

#include <sched.h>

#include "kind/namespace/ns.h"
#include "kind/time_ns.h"
#include "kind/time_ns/clocks.h"
#include "time_ns.pb-c.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* object->live */
struct time_ns {
	struct ns ns;             /* first: it is one */
	bool outer;               /* checkpoint: our own */
	const struct task *maker; /* checkpoint: it has it for its children only */
	struct offsets *offsets;  /* restart: NULL: not yet known */
};

struct time_ns *time_ns_live(struct object *object); /* made when it is not there */

int time_ns_collect(struct checkpoint *c, struct task *task, struct error *err);
int time_ns_judge(struct checkpoint *c, struct object *object, struct error *err);
int time_ns_save(struct checkpoint *c, struct object *object, struct error *err);
