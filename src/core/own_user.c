/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A user namespace of the restart's own. See own_user.h. One's own ids anybody may map; others,
 * that namespaces of the image have, only newuidmap(1) and newgidmap(1), which know who may have
 * which. They want to be run from outside: by a process that waits until the namespace is there.
 */
#include "core/own_user.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/features.h"
#include "kind/mnt_ns.h"
#include "kind/user_ns.h"
#include "user_ns.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

/* ---- which ids ---- */

static void add_range(struct id_map *map, const struct id_range *range)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (map->ranges[i].outside == range->outside &&
		    map->ranges[i].count == range->count)
			return;
	if (map->n < ID_MAP_MAX)
		map->ranges[map->n++] = (struct id_range){ range->outside, range->outside,
			                                   range->count };
}

/* those of the namespaces that will be right below; each stays what it is */
static struct user_ns_data *wanted(const struct restart *r)
{
	struct user_ns_data *own = xcalloc(1, sizeof(*own));
	size_t cursor = 0;

	add_range(&own->uid, &(struct id_range){ .outside = geteuid(), .count = 1 });
	add_range(&own->gid, &(struct id_range){ .outside = getegid(), .count = 1 });
	for (struct object *o; (o = objects_next(r->objects, &user_ns_kind, &cursor));) {
		const struct user_ns_data *data = user_ns_find(r->objects, o->id);
		if (object_state(o, UserNsState)->parent)
			continue;
		for (uint32_t i = 0; i < data->uid.n; i++)
			add_range(&own->uid, &data->uid.ranges[i]);
		for (uint32_t i = 0; i < data->gid.n; i++)
			add_range(&own->gid, &data->gid.ranges[i]);
	}
	own->setgroups_denied = own->uid.n == 1 && own->gid.n == 1;
	return own;
}

/* ---- by ourselves ---- */

static int write_maps(const struct user_ns_data *own, struct error *err)
{
	_cleanup_(free_p) char *users = id_map_text(&own->uid, NULL);
	_cleanup_(free_p) char *groups = id_map_text(&own->gid, NULL);
	int e = file_write("/proc/self/setgroups", err, "deny");

	if (e == 0)
		e = file_write("/proc/self/uid_map", err, "%s", users);
	if (e == 0)
		e = file_write("/proc/self/gid_map", err, "%s", groups);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- by newuidmap(1) and newgidmap(1) ---- */

static void run_tool(const char *tool, pid_t pid, const struct id_map *map)
{
	const char **words = xcalloc(3 * map->n + 3, sizeof(*words));
	size_t n = 0;

	words[n++] = tool;
	words[n++] = xasprintf("%d", pid);
	for (uint32_t i = 0; i < map->n; i++) {
		words[n++] = xasprintf("%u", map->ranges[i].inside);
		words[n++] = xasprintf("%u", map->ranges[i].outside);
		words[n++] = xasprintf("%u", map->ranges[i].count);
	}
	execvp(tool, (char **)words);
	_exit(127);
}

static bool tool_works(const char *tool, pid_t pid, const struct id_map *map)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0)
		run_tool(tool, pid, map);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

/* it goes on when @go is closed */
static pid_t start_mapper(const struct user_ns_data *own, int go[2])
{
	pid_t restart = getpid(), pid = fork();
	char byte;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_p(&go[1]);
	_exit(read(go[0], &byte, 1) == 0 && tool_works("newuidmap", restart, &own->uid) &&
	                      tool_works("newgidmap", restart, &own->gid)
	              ? 0
	              : 1);
}

static int refuse_ids(const struct user_ns_data *own, struct error *err)
{
	const struct id_map *map = own->uid.n > 1 ? &own->uid : &own->gid;
	const struct id_range *range = &map->ranges[map->n - 1]; /* the first is our own id */

	error_refuse(err, CODE_capability,
	             "CAP_SETUID is needed for ids that user namespaces of the image have");
	error_hint(err,
	           "run stasis as root; or let newuidmap(1) and newgidmap(1) map them: "
	           "\"%u:%u:%u\" in "
	           "/etc/subuid and /etc/subgid",
	           own->uid.ranges[0].outside, range->outside, range->count);
	return -EOPNOTSUPP;
}

static int finish_mapper(const struct user_ns_data *own, pid_t pid, int go[2], struct error *err)
{
	int status = -1;

	close_p(&go[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status ? refuse_ids(own, err) : 0;
}

/* ---- the namespace ---- */

static int unshare_user(const struct restart *r, struct error *err)
{
	size_t cursor = 0;
	/* mounts are cloned in a mount namespace that we have rights over */
	bool mounts = objects_next(r->objects, &mnt_ns_kind, &cursor);

	if (unshare(CLONE_NEWUSER | (mounts ? CLONE_NEWNS : 0)) < 0)
		return error_raise(err, errno, "make a user namespace for the restart");
	return 0;
}

static int enter_mapped(const struct restart *r, const struct user_ns_data *own, struct error *err)
{
	int go[2];

	if (pipe2(go, O_CLOEXEC) < 0)
		return error_raise(err, errno, "make a pipe");
	pid_t mapper = start_mapper(own, go);
	int e = mapper < 0 ? error_raise(err, errno, "fork") : unshare_user(r, err);
	if (mapper > 0 && e == 0)
		e = finish_mapper(own, mapper, go, err);
	else if (mapper > 0)
		kill(mapper, SIGKILL);
	close_p(&go[0]);
	close_p(&go[1]);
	return e < 0 ? error_trace(err, e) : 0;
}

int own_user_enter(struct restart *r, struct error *err)
{
	if (!r->new_pidns || features_capability(CAP_SYS_ADMIN) ||
	    !feature(FEATURE_user_namespaces))
		return 0;
	features_settle();
	r->own_user = wanted(r);
	int e = 0;
	if (r->own_user->setgroups_denied) {
		e = unshare_user(r, err);
		if (e == 0)
			e = write_maps(r->own_user, err);
	} else {
		e = enter_mapped(r, r->own_user, err);
	}
	return e < 0 ? error_trace(err, e) : 0;
}
