/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that /proc does not show. See hidden.h. */
#include "proc/hidden.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

bool proc_exists(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

/* the last mount at /proc is the one on top */
bool proc_hides(void)
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
