/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files with a short text in them. */
#pragma once

#include "subject.h"

/* the file is made where there is none */
static inline void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		FAIL("%s cannot be written: %s", path, strerror(errno));
	close(fd);
}

static inline void check_text(const char *path, const char *text)
{
	char seen[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, seen, sizeof(seen) - 1) < 0 || strcmp(seen, text) != 0)
		FAIL("%s holds '%s', not '%s' (%s)", path, seen, text, strerror(errno));
	close(fd);
}

static inline void write_in(const char *directory, const char *name, const char *text)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	write_text(path, text);
}

/* /proc/@pid/@name of a task */
static inline void write_proc(pid_t pid, const char *name, const char *text)
{
	char directory[32];

	snprintf(directory, sizeof(directory), "/proc/%d", (int)pid);
	write_in(directory, name, text);
}
