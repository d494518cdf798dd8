/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the phase freeze share: freeze.c holds, freeze_scan.c looks, freeze_list.c
 * tells. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/checkpoint.h"
#include "proc/stat.h"
#include "task/tracer.h"
#include "util/error.h"
#include "util/map.h"

struct found {
	pid_t tid, tgid;
	pid_t parent;  /* the thread that it is a child of; of a further thread: its leader's */
	size_t caller; /* index of that thread in the scan; SIZE_MAX: that is outside */
	bool dead;
};

/* a process of the set of which no more can be told */
struct unseen {
	pid_t pid;
	const char *why;
};

struct scan {
	struct found *items;
	size_t n;
	struct unseen *unseen;
	size_t n_unseen;
	/*
	 * Something ended meanwhile. The kernel goes on in its lists from what it has shown last,
	 * or by the count, if that has ended: others may not have been shown.
	 */
	bool vanished;
	int blind; /* errno, why what has entered the pid namespace cannot be told; 0 */
};

struct freezer {
	struct checkpoint *c;
	struct map *held; /* tid -> struct hold, as the tracer has answered */
	uint64_t end_ms;  /* CLOCK_MONOTONIC: the deadline */
	struct scan scan; /* the last one */
};

/* what the tracer has said of a task; NULL when it does not hold it, or has let it go again */
struct hold *freeze_hold(const struct freezer *f, pid_t tid);

/* /proc/TGID/task/TID/stat; -errno without @err when it cannot be read: -ENOENT, -ESRCH: it has
 * gone */
int freeze_read_stat(pid_t tgid, pid_t tid, struct proc_stat *ret, struct error *err);
/*
 * The same of a process, looked at again while a thread takes over the leader's number by
 * execve(2). -ESRCH: it has gone; -EACCES: it is there, but /proc does not show it.
 */
int freeze_read_leader(pid_t tgid, struct proc_stat *ret, struct error *err);
/* of a state letter in /proc: a zombie, or one that is on its way out */
bool freeze_is_dead(char state);

/*
 * Looks once, into f->scan: the root with all below it; then what has entered its pid namespace,
 * each with the same. Parents come before children, leaders before their threads. What may not be
 * looked at is in the scan by itself. -ESRCH: there is no such process; or the error of reading
 * /proc.
 */
int freeze_scan(struct freezer *f, struct error *err);
void freeze_scan_free(struct scan *scan);

/*
 * Fills the list of tasks of the checkpoint with what the last scan has found. 1: one of them was
 * not the one that is held, so that the set is to be held and listed once more; or the error of
 * reading /proc.
 */
int freeze_list(struct freezer *f, struct error *err);

/* task_index.c: fills what the tasks of the list are looked up by; and frees that */
void freeze_index(struct checkpoint *c);
void freeze_index_done(struct checkpoint *c);
