/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects with regular files share. */
#pragma once

#include <sys/stat.h>

#include "cases.h"

/* in main(): a case that takes arguments */
#define RUN(what, call)                           \
	if (argc > 1 && !strcmp(argv[1], what)) { \
		call;                             \
		return 0;                         \
	}

static const char text[] = "what was written before the checkpoint\n";

static inline int make_file(const char *name, int flags)
{
	int fd = open(name, O_CREAT | O_EXCL | flags, 0644);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
	return fd;
}

static inline void check_text(int fd)
{
	char buffer[sizeof(text)];

	CHECK_EQ(pread(fd, buffer, sizeof(buffer), 0), sizeof(buffer));
	CHECK_EQ(memcmp(buffer, text, sizeof(text)), 0);
}

static inline void check_link(int fd, const char *suffix)
{
	char path[40], link[4096], cwd[4096], expected[8192];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = 0;
	CHECK(getcwd(cwd, sizeof(cwd)));
	snprintf(expected, sizeof(expected), "%s/%s", cwd, suffix);
	if (strcmp(link, expected) != 0)
		FAIL("the link is \"%s\", not \"%s\"", link, expected);
}

static inline void check_attributes(const struct stat *a, const struct stat *b)
{
	CHECK_EQ(a->st_dev, b->st_dev);
	CHECK_EQ(a->st_mode, b->st_mode);
	CHECK_EQ(a->st_nlink, b->st_nlink);
	CHECK_EQ(a->st_uid, b->st_uid);
	CHECK_EQ(a->st_gid, b->st_gid);
	CHECK_EQ(a->st_size, b->st_size);
	CHECK_EQ(a->st_atim.tv_sec, b->st_atim.tv_sec);
	CHECK_EQ(a->st_atim.tv_nsec, b->st_atim.tv_nsec);
	CHECK_EQ(a->st_mtim.tv_sec, b->st_mtim.tv_sec);
	CHECK_EQ(a->st_mtim.tv_nsec, b->st_mtim.tv_nsec);
}
