/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All mount namespaces of the machine. See scan.h. */
#include "mount/scan.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/features.h"
#include "host/turn.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

struct scan {
	struct mount_table *t;
	const struct mount_table *known;
	uint64_t *failed; /* inodes of those that could not be read completely */
	size_t n_failed;
};

static void add_one(struct scan *s, int fd, pid_t member)
{
	struct error ignored = ERROR_INIT;
	struct stat st;

	if (fstat(fd, &st) < 0 || mount_table_ns(s->known, st.st_ino) != MOUNT_NONE)
		return;
	if (mount_table_add(s->t, fd, member, NULL, &ignored) < 0)
		*array_push(s->failed, s->n_failed) = st.st_ino;
}

/* the kernel has them in order of their ids: from ours to one end, and to the other */
static void walk(struct scan *s, int own, unsigned long step)
{
	struct mnt_ns_info info = { .size = sizeof(info) };
	_cleanup_(close_p) int at = fcntl(own, F_DUPFD_CLOEXEC, 3);

	while (at >= 0) {
		int next = ioctl(at, step, &info);
		close_p(&at);
		at = next;
		if (at >= 0)
			add_one(s, at, 0);
	}
}

static int walk_processes(struct scan *s, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = opendir("/proc");

	if (!dir)
		return error_raise(err, errno, "open /proc");
	for (struct dirent *e; (e = readdir(dir));) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		_cleanup_(free_p) char *path = xasprintf("/proc/%s/ns/mnt", e->d_name);
		_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			add_one(s, fd, atoi(e->d_name));
	}
	return 0;
}

/* a later member may have shown what an earlier one did not see */
static uint64_t first_unseen(const struct scan *s)
{
	for (size_t i = 0; i < s->n_failed; i++)
		if (mount_table_ns(s->t, s->failed[i]) == MOUNT_NONE)
			return s->failed[i];
	return 0;
}

static int scan_all(struct scan *s, struct error *err)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (own < 0)
		return error_raise(err, errno, "open our own mount namespace");
	add_one(s, own, 0);
	/*
	 * the kernel shows those that no process is in, too, but only to the initial pid namespace
	 */
	if (feature(FEATURE_statmount_ns)) {
		walk(s, own, NS_MNT_GET_NEXT);
		walk(s, own, NS_MNT_GET_PREV);
	}
	int r = walk_processes(s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_scan(struct mount_table *t, const struct mount_table *known, uint64_t *ret_unseen,
               struct error *err)
{
	struct scan s = { .t = t, .known = known };
	int turn = turn_take(true);
	int r = scan_all(&s, err);

	close_p(&turn);
	*ret_unseen = first_unseen(&s);
	free(s.failed);
	return r < 0 ? error_trace(err, r) : 0;
}
