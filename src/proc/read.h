/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Short texts of /proc/PID. */
#pragma once

#include <sys/types.h>

/**
 * proc_read() - read /proc/PID/@name by one read(2)
 * @pid:	of a process, or the tid of any thread
 * @text:	what has room in it; with a NUL behind it, also after an error
 * Returns the length, or -errno: -ENOENT or -ESRCH when the task is gone.
 */
ssize_t proc_read(pid_t pid, const char *name, char *text, size_t size);
