/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks that nobody notices. See still.h. */
#include "util/still.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){ t->tv_sec, t->tv_nsec };
}

int still_stat(int dir, const char *path, int flags, struct stat *ret)
{
	struct statx s;

	if (statx(dir, path, flags | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &s) <
	    0)
		return -1;
	*ret = (struct stat){
		.st_dev = makedev(s.stx_dev_major, s.stx_dev_minor),
		.st_ino = s.stx_ino,
		.st_mode = s.stx_mode,
		.st_nlink = s.stx_nlink,
		.st_uid = s.stx_uid,
		.st_gid = s.stx_gid,
		.st_rdev = makedev(s.stx_rdev_major, s.stx_rdev_minor),
		.st_size = (off_t)s.stx_size,
		.st_blksize = (blksize_t)s.stx_blksize,
		.st_blocks = (blkcnt_t)s.stx_blocks,
		.st_atim = time_of(&s.stx_atime),
		.st_mtim = time_of(&s.stx_mtime),
		.st_ctim = time_of(&s.stx_ctime),
	};
	return 0;
}

int still_fstat(int fd, struct stat *ret)
{
	return still_stat(fd, "", AT_EMPTY_PATH, ret);
}

/*
 * connect(2) finds out with a type that a listener does not have: only then it is turned away, for
 * that reason (net/unix/af_unix.c, unix_find_bsd).
 */
bool still_is_bound(int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_(close_p) int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", fd);
	return connect(probe, (struct sockaddr *)&address, sizeof(address)) == 0 ||
	       errno != ECONNREFUSED;
}

static void __attribute__((noreturn)) ask(int fd)
{
	struct statfs fs;

	if (dup2(fd, 0) < 0)
		_exit(1);
	close_range(1, ~0u, 0);
	fstatfs(0, &fs);
	_exit(0);
}

bool still_answers(int fd)
{
	enum { PATIENCE_MS = 1000, GRACE_MS = 100 };
	pid_t pid = fork();
	_cleanup_(close_p) int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd end = { .fd = pidfd, .events = POLLIN };

	if (pid == 0)
		ask(fd);
	if (pidfd < 0)
		return false;
	bool answers = poll(&end, 1, PATIENCE_MS) == 1;
	kill(pid, SIGKILL);
	/* one whose question has been taken, and is not answered, does not even die: it is left */
	if (poll(&end, 1, GRACE_MS) == 1)
		waitpid(pid, NULL, 0);
	return answers;
}
