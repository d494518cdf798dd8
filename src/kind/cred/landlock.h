/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding out whether Landlock confines a task, which no file in /proc tells. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct checkpoint;
struct injection;
struct task;

/*
 * A task in a Landlock domain may not look at (ptrace access, as kcmp(2) asks for it) any process
 * outside of the domain. So it is made to compare a process with itself that it could look at
 * otherwise: us, or a helper with its own user and group and no capabilities.
 */

/* whether this kernel has it at all */
bool landlock_exists(void);
/* the question, about the process @pid: -EPERM is the answer of one that may not look at it */
struct injection landlock_question(pid_t pid);
/* a helper of that user and group in a user namespace (-1: ours), stopped; < 0: it could not
 * become that */
pid_t landlock_helper(uint32_t uid, uint32_t gid, int user_ns);
void landlock_helper_end(pid_t pid);
