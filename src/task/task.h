/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A task of the set, at checkpoint. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/stat.h"
#include "proc/status.h"
#include "util/error.h"

struct map;
struct object;

enum task_state {
	TASK_HELD,       /* ptrace-stopped by us; ran before */
	TASK_STOPPED,    /* job-control stopped before we came; held as well */
	TASK_ZOMBIE,     /* dead, not yet reaped; nothing can be asked of it */
	TASK_DEAD_LEADER /* its process has exited as a leader (zombie) while other threads live */
};

/* a task's numbers in the pid namespace of the root task: those are recorded; 0 = not there */
struct task_numbers {
	pid_t tid, tgid, pgid, sid;
};

struct task {
	pid_t tid, tgid; /* in the coordinator's pid namespace, as is all in stat */
	struct task_numbers recorded;
	struct task *leader; /* of its thread group; itself for a leader */
	struct task *parent; /* the task (thread) that is its real parent; for a non-leader thread
	                        its leader's parent; NULL for the root */
	enum task_state state;
	bool speaks; /* the one live thread that process-wide state is read through: the leader
	                unless that is dead; false for zombies */
	char comm[20];
	struct proc_stat stat;     /* of this task, read while held */
	struct proc_status status; /* of this task, read while held */
	int stop_signal;           /* TASK_STOPPED: what stopped it */
	struct object **objects;   /* all it refers to, in order of collection */
	size_t n_objects;
	struct map *refers;       /* the same by their addresses, when they are many; or NULL */
	struct task *next_thread; /* of the same process, from its leader on; NULL: none */
	struct task *next_alike;  /* for checkpoint_shown() */
};

/* notes that @task refers to @object (once; a second call with the same object does nothing) */
void task_refer(struct task *task, struct object *object);
/* the object of a kind that the task refers to; NULL if none */
struct kind;
struct object *task_object(const struct task *task, const struct kind *kind);
/*
 * Opens /proc/TGID/task/TID/RELATIVE. The task is held or, in check, may vanish: then -errno.
 * Always through the thread: after a leader has exited /proc/TGID/maps and fd look empty.
 */
int task_openat(const struct task *task, const char *relative, int flags);
/* reads such a file as a NUL-terminated string; the caller frees it; length in *ret_size if not
 * NULL */
int task_read(const struct task *task, const char *relative, char **ret, size_t *ret_size,
              struct error *err);
/* what /proc shows of it by now; @ret_text: the text itself, the caller's, or NULL */
int task_read_status(const struct task *task, struct proc_status *ret, char **ret_text,
                     struct error *err);
int task_readlink(const struct task *task, const char *relative, char **ret, struct error *err);
