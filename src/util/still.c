/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stat(2) that asks nobody. See still.h. */
#include "util/still.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

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
