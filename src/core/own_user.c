/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A user namespace of the restart's own. See own_user.h. */
#include "core/own_user.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "host/features.h"
#include "kind/mnt_ns.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

/* our ids stay what they are; all others are unknown there (user_namespaces(7)) */
static int map_ids(uid_t uid, gid_t gid, struct error *err)
{
	_cleanup_(free_p) char *users = xasprintf("%u %u 1\n", uid, uid);
	_cleanup_(free_p) char *groups = xasprintf("%u %u 1\n", gid, gid);
	int e = file_write("/proc/self/setgroups", err, "deny");

	if (e == 0)
		e = file_write("/proc/self/uid_map", err, "%s", users);
	if (e == 0)
		e = file_write("/proc/self/gid_map", err, "%s", groups);
	return e < 0 ? error_trace(err, e) : 0;
}

int own_user_enter(struct restart *r, struct error *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	size_t cursor = 0;
	/* mounts are cloned in a mount namespace that we have rights over */
	bool mounts = objects_next(r->objects, &mnt_ns_kind, &cursor);

	if (!r->new_pidns || features_capability(CAP_SYS_ADMIN) ||
	    !feature(FEATURE_user_namespaces))
		return 0;
	features_settle();
	if (unshare(CLONE_NEWUSER | (mounts ? CLONE_NEWNS : 0)) < 0)
		return error_raise(err, errno, "make a user namespace for the restart");
	r->own_user = true;
	int e = map_ids(uid, gid, err);
	return e < 0 ? error_trace(err, e) : 0;
}
