/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stub: a task that the coordinator has made at restart and is still filling. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "task/calls.h"
#include "task/tracer.h"
#include "util/error.h"

struct kind;
struct object;
struct plan_ns;
struct restart;

struct stub {
	pid_t tid; /* as recorded: in the root's pid namespace */
	/* its own pid namespace, NULL: the root's; and its numbers from the one below the root's
	 * down to its own */
	const struct plan_ns *ns;
	const int32_t *inner;
	int32_t *chosen;     /* what inner is for a placeholder that nobody looks at */
	pid_t host_tid;      /* in the coordinator's pid namespace: for process_vm_writev, ptrace */
	struct stub *leader; /* of its thread group; itself for a leader */
	struct stub *parent; /* the stub that clones it */
	struct object
		*task; /* its TaskState; NULL for a placeholder (a dead leader, an init of ours) */
	struct object **objects; /* what TaskState.objects refers to */
	size_t n_objects;
	struct calls *calls;
	struct object *user_ns; /* the user namespace that it is in by now; NULL: ours */
	struct object *wanted;  /* the one that it is to be in; NULL: ours, or it is dead */
	/* what it is to enter still, and so are those that it clones: enter() said ENTER_LATER */
	struct object *owes;
	struct object *assumed; /* with the user and group ids of these credentials; NULL: ours */
	struct launch
		launch;   /* what it ends in; kinds fill regs, xstate, sigmask, stop at commit */
	void *private_mm; /* the mm kind's */
	uint32_t node;    /* in the plan */
	bool installed;   /* all of it is in place */
};

struct object *stub_object(const struct stub *stub, const struct kind *kind); /* NULL if none */

/*
 * The number of @of where @viewer is: what stands for it in all system calls of @viewer, which
 * knows those of its own pid namespace only. 0: it cannot be seen from there.
 */
pid_t stub_number(const struct stub *of, const struct stub *viewer);
/* the same for a recorded pid or process group, of a task or of a leader that is dead */
pid_t stub_number_of(const struct restart *r, pid_t pid, const struct stub *viewer);

/**
 * stub_send_fds() - hand descriptors of the coordinator to a stub
 * @fds, @n:	at most STUB_FDS_MAX, or as many as the set has in one table
 * Runs the list. They arrive close-on-exec at the n lowest free numbers of the stub, in order: its
 * table is empty but for r->stub_socket, which is above these. The coordinator's stay open.
 */
int stub_send_fds(struct restart *r, struct stub *stub, const int *fds, size_t n,
                  struct error *err);
/* at most this many fit below r->stub_socket in an empty table, whatever the set uses */
#define STUB_FDS_MAX 253
