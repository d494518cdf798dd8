/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making the tasks of a restart: the root stub, then all others by the plan. */
#pragma once

#include "core/restart.h"
#include "util/error.h"

/* chooses the number of the stubs' socket, and raises our limit of open files up to it */
int spawn_preflight(struct restart *r, struct error *err);
/*
 * After spawn_preflight(): makes r->area, the socket and a struct stub for each node of r->plan;
 * none of the tasks exists yet. r->tracer may be NULL (tests): then nobody holds the tasks.
 */
int spawn_prepare(struct restart *r, struct error *err);
/*
 * Clones the root stub, which is in our namespaces yet, or the init of a new pid namespace: so that
 * there is one, for what is mounted of it. r->root is set as soon as there is a task.
 */
int spawn_root(struct restart *r, struct error *err);
/* executes the plan; the root stub is cloned if it has not been, and enters its namespaces */
int spawn_tree(struct restart *r, struct error *err);
/* the stub, just cloned, enters the namespaces that it does not share with the one that made it */
int spawn_enter(struct restart *r, struct stub *stub, struct error *err);
/*
 * A clone has failed since its pid is taken: if nobody is seen to have it the kernel is about to
 * let go of it. Waits a moment, a bounded time in all for a restart; false: it stays taken.
 */
bool spawn_pid_lingers(void *restart, pid_t pid);
/* CLONE_PARENT: its parent is that of who made it */
struct stub *spawn_real_parent(const struct restart *r, const struct stub *stub);
struct clone_args;
/*
 * Adds to the list of @parent what clones @child, in its pid namespace; the index of the clone3
 * itself. @chosen: on how many levels, from the innermost up, its numbers are asked for.
 */
unsigned spawn_add_clone(struct restart *r, struct stub *parent, struct stub *child,
                         const struct clone_args *args, size_t chosen);
/* closes the stubs' end of the socket in every descriptor table */
int spawn_close_sockets(struct restart *r, struct error *err);
/* fills launch.tid and launch.unmap_* of each live stub, by the order of r->stubs */
void spawn_plan_launch(struct restart *r);
/* SIGKILL to what the tracer does not hold, and reaps the root; frees stubs and area */
void spawn_undo(struct restart *r);
void spawn_free(struct restart *r);
