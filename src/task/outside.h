/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processes of the system, as /proc shows them, to look for what those outside of the set hold.
 * They run meanwhile. So that most of the looking can be done before the set is frozen, a process
 * is known again that has not run since: what it holds, nobody else can have changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/error.h"

struct map;

struct process {
	pid_t pid, ppid;
	char comm[20];
	bool visible;  /* to be looked at: no kernel thread, and none of ours */
	bool threaded; /* has more than one thread */
	bool fresh;    /* made by the last outside_read() */
	bool there;    /* in the list that is being read */
	char runs[64]; /* its schedstat before it was looked at; "": whether it runs is not told */
};

struct outside {
	struct process **items; /* by pid */
	size_t n;
	struct process **made; /* all that were read ever: they live until outside_done() */
	size_t n_made;
};

/**
 * outside_read() - the processes that there are now
 * Those of the last time that have not run since stay as they are; what has become of the others is
 * read anew as another struct process, and the former is not visible any more. @inside: pids of
 * which nothing is read.
 */
int outside_read(struct outside *o, const struct map *inside, struct error *err);
void outside_forget(struct process *p); /* it is read anew next time, whether it has run or not */
struct process *outside_find(const struct outside *o, pid_t pid);
/* whether it is @ancestor, or descends from it */
bool outside_is_below(const struct outside *o, const struct process *p, pid_t ancestor);
void outside_done(struct outside *o);
