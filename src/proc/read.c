/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Short texts of /proc/PID. See read.h. */
#include "proc/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "util/cleanup.h"

ssize_t proc_read(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];

	*text = 0;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return n;
}
