/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes have a pid in a pid namespace. See pid_in_ns.h. */
#include "host/pid_in_ns.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>

#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

#define BATCH 256 /* pidfds at once; a process may mostly have 1,024 */

struct question {
	int nsfd;
	const pid_t *pids;
	size_t n;
	bool *ret;
	int pidfds[BATCH]; /* of the first of @pids, -1: it has ended */
};

/* where what is not below the namespace cannot be seen */
static int ask_inside(void *arg, struct error *err)
{
	struct question *q = arg;

	(void)err;
	for (size_t i = 0; i < q->n; i++)
		q->ret[i] = q->pidfds[i] >= 0 &&
		            (pidfd_send_signal(q->pidfds[i], 0, NULL, 0) == 0 || errno == EPERM);
	return 0;
}

/* the numbers are those out here */
static int ask_batch(struct question *q, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < q->n; i++) {
		q->pidfds[i] = pidfd_open(q->pids[i], 0);
		if (q->pidfds[i] < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
			r = error_raise(err, errno, "pidfd_open of pid %d", q->pids[i]);
	}
	if (r == 0)
		r = helper_run_here(ask_inside, q, err);
	for (size_t i = 0; i < q->n; i++)
		close_p(&q->pidfds[i]);
	return r < 0 ? error_trace(err, r) : 0;
}

/* setns(2) of a pid namespace is for children: the child of this helper is in it */
static int ask_helped(void *arg, struct error *err)
{
	struct question *all = arg;
	int r = 0;

	if (namespace_enter(all->nsfd, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter a pid namespace");
	for (size_t at = 0; r == 0 && at < all->n; at += BATCH) {
		struct question q = { .pids = all->pids + at,
			              .n = all->n - at < BATCH ? all->n - at : BATCH,
			              .ret = all->ret + at };
		r = ask_batch(&q, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int pids_in_ns(int nsfd, const pid_t *pids, size_t n, bool *ret, struct error *err)
{
	struct question q = { .nsfd = nsfd, .pids = pids, .n = n, .ret = ret };

	if (n && !feature(FEATURE_pid_in_pidns)) {
		int r = helper_run_here(ask_helped, &q, err);
		return r < 0 ? error_trace(err, r) : 0;
	}
	for (size_t i = 0; i < n; i++)
		ret[i] = ioctl(nsfd, NS_GET_PID_IN_PIDNS, pids[i]) > 0;
	return 0;
}

/* ---- all of them ---- */

static int mount_proc(void *arg, struct error *err)
{
	_cleanup_(close_p) int context = fsopen("proc", FSOPEN_CLOEXEC);
	int fd = -1;

	(void)arg;
	if (context >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? error_raise(err, errno, "mount the proc of a pid namespace") : fd;
}

static int mount_helped(void *arg, struct error *err)
{
	if (namespace_enter(*(const int *)arg, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter a pid namespace");
	int fd = helper_run_here(mount_proc, NULL, err);
	return fd < 0 ? error_trace(err, fd) : fd;
}

int ns_list_pids(int nsfd, pid_t **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = NULL;
	_cleanup_(close_p) int mount = -1;

	if (!feature(FEATURE_pid_in_pidns))
		return error_raise(err, EPERM, "list the processes of a pid namespace");
	mount = helper_run_here(mount_helped, &nsfd, err);
	if (mount < 0)
		return error_trace(err, mount);
	int fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		error_raise(err, errno, "list the proc of a pid namespace");
		close_p(&fd);
		return -err->errnum;
	}
	errno = 0;
	for (const struct dirent *entry; (entry = readdir(dir)); errno = 0) {
		int inside = atoi(entry->d_name);
		int pid = inside > 0 ? ioctl(nsfd, NS_GET_PID_FROM_PIDNS, inside) : 0;
		if (pid > 0)
			*array_push(*ret, *ret_n) = pid;
	}
	return errno ? error_raise(err, errno, "list the proc of a pid namespace") : 0;
}
