/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects with mounts share: a namespace to mount in, and files with a text in them. */
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "subject.h"

/* into a mount namespace of its own, into and out of which nothing propagates */
static inline void private_mounts(void)
{
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

/* the directory is made where there is none */
static inline void mount_tmpfs(const char *path, const char *options)
{
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	CHECK(mount("stasis-test", path, "tmpfs", 0, options) == 0);
}

static inline void bind_mount(const char *from, const char *to)
{
	CHECK(mount(from, to, NULL, MS_BIND, NULL) == 0);
}

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
