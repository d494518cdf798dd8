/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits of a user namespace, /proc/sys/user, namespaces(7): how many of a sort each of its
 * users may have. The kernel shows those of the namespace that who opens the files is in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

#define USER_LIMITS_MAX     64
#define USER_LIMIT_NAME_MAX 48

struct user_limit {
	char name[USER_LIMIT_NAME_MAX]; /* "max_pid_namespaces" */
	uint32_t value;                 /* up to INT32_MAX, which a new namespace has: none */
};

/* those that a namespace was given */
struct user_limits {
	uint32_t n;
	struct user_limit list[USER_LIMITS_MAX];
};

/* reads those of the namespace that this process is in */
int user_limits_read(struct user_limits *ret, struct error *err);
/* whether the kernel can have such a limit; pure */
bool user_limit_valid(const char *name, uint32_t value);
/*
 * user_limits_write() - give them to the namespace that @nsfd refers to, of which we have what
 * CAP_SYS_RESOURCE wants; forks a helper. Not before all that they limit is made.
 */
int user_limits_write(int nsfd, const struct user_limits *limits, struct error *err);
