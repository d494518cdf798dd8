/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User namespaces as plain data: what one is, and one made of it. No kinds. */
#pragma once

#include "kind/user_ns/ids.h"
#include "kind/user_ns/limits.h"
#include "util/error.h"

struct user_ns_data {
	uint32_t owner; /* as the coordinator's namespace has it */
	bool setgroups_denied;
	struct id_map uid, gid, projid;
	struct user_limits limits; /* which user_ns_make() leaves out */
};

/* reads the namespace that @nsfd refers to, which is one below ours; forks a helper */
int user_ns_read(int nsfd, struct user_ns_data *ret, struct error *err);
/**
 * user_ns_make() - make one
 * @parent_fd, @parent:	the one it is to be in; -1 and NULL: ours
 * @ret_fd:	the caller's
 * Forks helpers.
 */
int user_ns_make(const struct user_ns_data *data, int parent_fd, const struct user_ns_data *parent,
                 int *ret_fd, struct error *err);
