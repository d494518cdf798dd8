/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pending signals: one object per task, with the queue of the thread and, for the task that speaks
 * for its process, the one that all threads share.
 */
#pragma once

#include <signal.h>

#include "kind/kind.h"

struct object;
struct task;

extern const struct kind sigpending_kind;

/* checkpoint: whether a process-wide signal is pending that the freeze had not seen yet */
int sigpending_arrived(struct checkpoint *c, const struct task *task, int signal, bool *ret,
                       struct error *err);
/* checkpoint: the pending siginfo of a POSIX timer in a task's own (@shared: process's) queue */
int sigpending_timer(struct checkpoint *c, const struct task *task, bool shared, uint32_t timer,
                     int signal, bool *ret, struct error *err);
