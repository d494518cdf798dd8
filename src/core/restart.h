/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A restart in progress: read, preflight, build, fill, commit (architecture, section 4). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <pthread.h>

#include "core/checkpoint.h"
#include "core/contents.h"
#include "task/area.h"
#include "task/calls.h"
#include "util/error.h"

struct map;
struct kept;
struct plan;
struct plan_task;
struct stub;
struct user_ns_data;

/* what CLOCK_MONOTONIC and CLOCK_BOOTTIME are for a tree without a time namespace of its own */
enum clock_mode { CLOCK_MODE_REAL, CLOCK_MODE_CONTINUE };

struct restart_options {
	const char *input; /* path; "-" = standard input */
	const char *root;  /* of the container, instead of where it was; NULL: there */
	bool detach, leave_stopped, new_pidns, mntns_new, files_changed_allow;
	bool drop_masters; /* mounts whose master the host has no more receive from nobody */
	bool keep_blocked; /* after success all signals are blocked, so that the caller can hand
	                      on what has come since the launch; the caller's to unblock */
	enum cgroup_mode cgroup;
	enum clock_mode clock;
	struct externals *externals; /* NAME=fd:N or NAME=PATH; never NULL */
	int terminal;                /* foreground on a terminal: slave of the new pty; -1 none */
	int relay;                   /* takes another master for it, util/fds.h; -1: none */
	struct progress *progress;   /* NULL: not shown */
	bool json, verbose;
};

struct restart {
	const struct restart_options *options;
	struct tracer *tracer;
	struct contents image;
	struct objects *objects; /* of the image, as are tasks, plan_tasks and plan below */
	struct stub_area *area;  /* the memory shared with all stubs */
	struct range inherited;  /* mapped by kinds in prepare(), for all stubs until install */
	struct stub **stubs;     /* in order of the plan */
	size_t n_stubs;
	size_t n_begun; /* pid namespaces below the root's whose init is there */
	struct refusals refusals;
	struct kept *kept; /* what kinds keep */

	/* the engine's own */
	struct object **tasks;        /* the kind task's objects, in order of the image */
	struct plan_task *plan_tasks; /* the same, for the planner */
	size_t n_tasks;
	struct object **waiting; /* their restore() said RESTORE_LATER; in order */
	size_t n_waiting;
	struct plan *plan;
	struct map *by_tid; /* recorded tid -> stub */
	pid_t *dismissed;   /* new tasks that were ended for their number, core/next_pid.h */
	size_t n_dismissed;
	struct watch watch;
	unsigned waited_for_pids_ms; /* spawn_pid_lingers() */
	int socket;                  /* our end of what descriptors travel through */
	int stub_socket;             /* the number of the stubs' end, above all they use */
	int stub_socket_here;        /* the same end here, until all stubs have it */
	pthread_mutex_t socket_lock;
	bool new_pidns;                /* asked for, or the image has a pid namespace of its own */
	struct user_ns_data *own_user; /* of ours, that we are in, core/own_user.h; NULL: none */
	int own_status; /* our /proc/PID/status, with ids as they are outside of it */
	pid_t root;     /* the root stub, a child of ours; 0 = none yet. core/root.h: others, too */
	pid_t new_init; /* --new-pidns: our init; 0 = none */
	int init_socket, pidns_before; /* to our init; our own pid namespace */
	_Atomic uint64_t memory_bytes;
	/*
	 * for progress: bytes of page blocks in the image, 0 if it is a stream; those that are done
	 */
	uint64_t blocks_size;
	_Atomic uint64_t blocks_done;
};

/* the same, placeholders included, as long as they live */
struct stub *restart_stub_any(const struct restart *r, pid_t tid);
/* notes a refusal found in preflight; the walk goes on so that all of them are found */
void restart_refuse(struct restart *r, const struct error *refusal);
struct stub *restart_stub(const struct restart *r, pid_t tid); /* by recorded tid; NULL: none */

/*
 * Takes the next page block of the stream and hands it to its kind's restore_bulk: 1, or 0 when
 * there are no more (the trailer is verified then). For before_clone, which may need pages that
 * come later in the stream; filling goes on where this stopped. Not for two threads at once.
 */
int restart_next_block(struct restart *r, struct error *err);
/*
 * Takes the page blocks that come next in the stream as long as they are @object's. For restore():
 * blocks come in the order of kinds and objects, so these are all of it, if nothing before it has
 * left blocks of its own.
 */
int restart_take_blocks(struct restart *r, const struct object *object, struct error *err);
/* calls restore() of those that wait once more: there are more mounts now */
int restart_go_on(struct restart *r, struct error *err);

struct restart_result {
	struct refusals refusals;
	pid_t root;     /* in the coordinator's pid namespace; a child of the coordinator's */
	int root_pidfd; /* owned by the caller */
	bool began;     /* something had been made: exit code 3, not 1 */
	size_t n_tasks;
	uint64_t memory_bytes, total_us;
};
int restart_run(const struct restart_options *options, struct restart_result *ret,
                struct error *err);
