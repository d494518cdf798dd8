/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The limits of a user namespace. See limits.h. */
#include "kind/user_ns/limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

#define DIRECTORY "/proc/sys/user"
#define UNLIMITED INT32_MAX /* create_user_ns() of the kernel */

bool user_limit_valid(const char *name, uint32_t value)
{
	size_t size = strlen(name);

	return strncmp(name, "max_", 4) == 0 && size < USER_LIMIT_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz_") == size && value <= INT32_MAX;
}

static int read_one(int dir, const char *name, struct user_limits *ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	ssize_t size = file_read(dir, name, &text);
	char *end = text;

	if (size < 0)
		return error_raise(err, (int)-size, "read " DIRECTORY "/%s", name);
	unsigned long value = strtoul(text, &end, 10);
	if (end == text || *end != '\n' || value > INT32_MAX || ret->n == USER_LIMITS_MAX ||
	    !user_limit_valid(name, (uint32_t)value))
		return error_raise(err, EBADMSG, DIRECTORY "/%s is no limit that is known", name);
	if (value == UNLIMITED)
		return 0;
	struct user_limit *limit = &ret->list[ret->n++];
	memcpy(limit->name, name, strlen(name) + 1); /* it is valid */
	limit->value = (uint32_t)value;
	return 0;
}

int user_limits_read(struct user_limits *ret, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = opendir(DIRECTORY);
	int r = 0;

	ret->n = 0;
	if (!dir)
		return error_raise(err, errno, "open " DIRECTORY);
	for (struct dirent *entry; r == 0 && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			r = read_one(dirfd(dir), entry->d_name, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

struct writing {
	int nsfd;
	const struct user_limits *limits;
};

static int write_in_helper(void *arg, struct error *err)
{
	const struct writing *w = arg;

	if (setns(w->nsfd, CLONE_NEWUSER) < 0)
		return error_raise(err, errno, "enter a user namespace");
	for (uint32_t i = 0; i < w->limits->n; i++) {
		const struct user_limit *limit = &w->limits->list[i];
		_cleanup_(free_p) char *path = xasprintf(DIRECTORY "/%s", limit->name);
		int r = file_write(path, err, "%u", limit->value);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

int user_limits_write(int nsfd, const struct user_limits *limits, struct error *err)
{
	struct writing w = { nsfd, limits };
	int r = limits->n ? helper_run(write_in_helper, &w, 0, err) : 0;

	return r < 0 ? error_trace(err, r) : 0;
}
