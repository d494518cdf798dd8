/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing to a file or a stream. See output.h. */
#include "image/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

void output_init(struct output *o, int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	*o = (struct output){ .fd = fd };
	/* pwrite(2), BUGS: on a file opened with O_APPEND it appends whatever the offset says */
	if (flags < 0 || (flags & O_APPEND) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	off_t at = lseek(fd, 0, SEEK_CUR);
	if (at < 0)
		return;
	o->seekable = true;
	o->base = (uint64_t)at;
}

static void advance(struct iovec **iov, int *n_iov, size_t written)
{
	while (*n_iov > 0 && written >= (*iov)->iov_len) {
		written -= (*iov)->iov_len;
		(*iov)++;
		(*n_iov)--;
	}
	if (*n_iov > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + written;
		(*iov)->iov_len -= written;
	}
}

int output_write(const struct output *o, uint64_t offset, struct iovec *iov, int n_iov,
                 struct error *err)
{
	advance(&iov, &n_iov, 0);
	while (n_iov > 0) {
		ssize_t n = o->seekable ? pwritev(o->fd, iov, n_iov, (off_t)(o->base + offset))
		                        : writev(o->fd, iov, n_iov);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) { /* standard output may be non-blocking */
			struct pollfd p = { .fd = o->fd, .events = POLLOUT };
			poll(&p, 1, -1);
			continue;
		}
		if (n < 0)
			return error_raise(err, errno, "writing the image");
		offset += (uint64_t)n;
		advance(&iov, &n_iov, (size_t)n);
	}
	return 0;
}

int output_finish(const struct output *o, uint64_t size, struct error *err)
{
	if (o->seekable && lseek(o->fd, (off_t)(o->base + size), SEEK_SET) < 0)
		return error_raise(err, errno, "seeking to the end of the image");
	/* EINVAL, EROFS: "fd is bound to a special file that does not support synchronization" */
	if (fsync(o->fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
		return error_raise(err, errno, "syncing the image");
	return 0;
}
