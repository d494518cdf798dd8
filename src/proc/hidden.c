/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that /proc does not show. See hidden.h. */
#include "proc/hidden.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"

#define PID_MAX_LIMIT (4 << 20) /* include/linux/threads.h, of 64-bit kernels */

bool proc_exists(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

/* whether the options of the last mount at /proc, which is the one on top, say so */
static bool proc_hides(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_(free_p) char *line = NULL;
	bool hides = false;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		const char *type = strstr(line, " - ");
		if (!type || !strstr(line, " /proc "))
			continue;
		const char *option = strstr(type, "hidepid=");
		hides = option && !strchr("0o1n", option[8]); /* off, noaccess: they are shown */
	}
	return hides;
}

static pid_t last_number(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	int max;

	return f && fscanf(f, "%d", &max) == 1 ? max : PID_MAX_LIMIT;
}

static bool is_process(pid_t pid)
{
	_cleanup_(close_p) int fd = pidfd_open(pid, 0); /* not of a thread that is not the first */

	return fd >= 0;
}

void proc_add_hidden(pid_t **ret, size_t *ret_n)
{
	pid_t last = proc_hides() ? last_number() : 0;

	for (pid_t pid = 1; pid <= last; pid++) {
		char path[32];
		struct stat st;
		snprintf(path, sizeof(path), "/proc/%d", pid);
		if (proc_exists(pid) && stat(path, &st) < 0 && is_process(pid))
			*array_push(*ret, *ret_n) = pid;
	}
}
