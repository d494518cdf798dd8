/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checkpoint in progress: freeze, collect, judge, save, then thaw or kill (architecture, section
 * 4).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "task/kcmp.h"
#include "util/error.h"

struct externals;
struct holders;
struct image_writer;
struct map;
struct kept;
struct objects;
struct progress;
struct task;
struct tracer;

enum aftermath { AFTER_KILL, AFTER_LEAVE_RUNNING, AFTER_LEAVE_STOPPED };
/* whether all that the set uses must be its own alone */
enum container_mode { CONTAINER_AUTO, CONTAINER_YES, CONTAINER_NO };
enum cgroup_mode { CGROUP_KEEP, CGROUP_IGNORE };

/* what the user asked for; owned by cli/ */
struct checkpoint_options {
	pid_t root;
	const char *output; /* path; "-" = standard output */
	bool force;
	enum aftermath after;
	struct externals *externals; /* KEY=NAME; never NULL */
	int compression;             /* enum image_compression */
	int compression_level;
	unsigned timeout_ms; /* for tasks in uninterruptible sleep; default 10 s */
	enum cgroup_mode cgroup;
	enum container_mode container; /* auto: when the root is the init of a pid namespace */
	bool drop_masters;             /* of mounts: those that cannot be found again */
	bool json, verbose;
	struct progress *progress; /* NULL: not shown */
};

struct refusals {
	struct error *items;
	size_t n;
};

struct checkpoint {
	const struct checkpoint_options *options;
	struct tracer *tracer; /* NULL for `check PID`: nothing is attached */
	struct objects *objects;
	struct task **
		tasks; /* parents before children, leaders before their threads; zombies included */
	size_t n_tasks;
	struct map *by_tid;                              /* of tasks */
	struct map *by_group, *by_number, *by_innermost; /* task_index.c, of tasks, too */
	struct refusals refusals;
	struct refusals unexamined; /* check PID: what only attaching reveals */
	struct map *links;          /* of objects: link_collect() */
	struct holders *holders;    /* who outside the set holds what; made on first use */
	struct kept *kept;          /* what kinds keep */
	struct image_writer *image; /* during save */
	pid_t nobody; /* a dead child of ours, not yet reaped, for kcmp_object_or_none(); 0: none */
	struct kcmp_set kcmp[KCMP_TYPES]; /* kcmp_object(); kcmp_set_done() on each at the end */
};

/**
 * refuse() - note a refusal; the walk goes on so that all of them are found
 * @task:	whose it is; NULL when no single task's
 * @refusal:	made with error_refuse(); copied
 */
void refuse(struct checkpoint *c, const struct task *task, const struct error *refusal);
void refusals_done(struct refusals *refusals);
/*
 * check_unexamined() - note for `check PID` that @what of @task was not examined, and for which
 * codes (the rest of the arguments) a checkpoint may refuse it; nothing when a tracer is there
 */
void check_unexamined_codes(struct checkpoint *c, const struct task *task, const char *what,
                            const enum code *codes, size_t n_codes);
#define check_unexamined(c, task, what, first, ...)                                          \
	check_unexamined_codes((c), (task), (what), (enum code[]){ (first), ##__VA_ARGS__ }, \
	                       sizeof((enum code[]){ (first), ##__VA_ARGS__ }) /             \
	                               sizeof(enum code))
/* ---- task_index.c: a task of the set by a number; NULL: it is not in the set ---- */
struct task *checkpoint_task(const struct checkpoint *c, pid_t tid);
/* the leader of a process; its threads follow it, task->next_thread */
struct task *checkpoint_process(const struct checkpoint *c, pid_t tgid);
/* one of a process group: the task of its number, or else the first that is in it */
struct task *checkpoint_member(const struct checkpoint *c, pid_t pgrp);
/* by the number that it is recorded under */
struct task *checkpoint_numbered(const struct checkpoint *c, pid_t number);
/* of which the proc of any pid namespace shows that */
struct proc_status;
struct proc_stat;
struct task *checkpoint_shown(const struct checkpoint *c, const struct proc_status *status,
                              const struct proc_stat *stat);
/*
 * The number under which a task, or a process group with members in the set, is recorded: that of
 * the root task's pid namespace. 0: it is not in the set, or began outside that namespace.
 */
pid_t checkpoint_pid(const struct checkpoint *c, pid_t tid);
pid_t checkpoint_group(const struct checkpoint *c, pid_t pgrp);
/* whether the root is the init of a pid namespace other than ours, and --subtree was not given */
bool checkpoint_is_container(const struct checkpoint *c);

/*
 * Runs all phases. Returns 0; -EOPNOTSUPP with the refusals in @ret_refusals and @err empty;
 * another negative errno with @err filled. The application is as it was unless 0 is returned and
 * options->after says otherwise.
 */
struct checkpoint_result {
	struct refusals refusals;
	size_t n_tasks;
	uint64_t memory_bytes, image_bytes;
	uint64_t stop_us, total_us;
};
int checkpoint_run(const struct checkpoint_options *options, struct checkpoint_result *ret,
                   struct error *err);
/* `check PID`: collect and judge without attaching; refusals and what was not examined */
int checkpoint_check(const struct checkpoint_options *options, struct refusals *ret_refusals,
                     struct refusals *ret_unexamined, struct error *err);
