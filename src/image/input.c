/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading from a file or a stream. See input.h. */
#include "image/input.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/invalid.h"
#include "util/alloc.h"

#define BUFFER_SIZE (64u << 10)

int input_init(struct input *in, int fd, struct error *err)
{
	struct stat st;

	*in = (struct input){ .fd = fd };
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of the image");
	off_t at = lseek(fd, 0, SEEK_CUR);
	if (S_ISREG(st.st_mode) && at >= 0) {
		in->seekable = true;
		in->base = (uint64_t)at;
		in->size = at < st.st_size ? (uint64_t)(st.st_size - at) : 0;
	}
	in->buffer = xmalloc(BUFFER_SIZE);
	return 0;
}

void input_done(struct input *in)
{
	free(in->buffer);
	in->buffer = NULL;
}

/* one read; 0 at the end */
static ssize_t read_some(const struct input *in, uint64_t offset, void *to, size_t size)
{
	for (;;) {
		ssize_t n = in->seekable ? pread(in->fd, to, size, (off_t)(in->base + offset))
		                         : read(in->fd, to, size);
		if (n >= 0)
			return n;
		if (errno == EAGAIN) {
			struct pollfd p = { .fd = in->fd, .events = POLLIN };
			poll(&p, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

static int read_all(const struct input *in, uint64_t offset, void *to, size_t size,
                    struct error *err)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read_some(in, offset + done, (char *)to + done, size - done);
		if (n < 0)
			return error_raise(err, (int)-n, "reading the image");
		if (n == 0)
			return invalid(err, image_truncated, "the image ends at byte %llu",
			               (unsigned long long)(offset + done));
		done += (size_t)n;
	}
	return 0;
}

int input_read(struct input *in, void *to, size_t size, struct error *err)
{
	char *next = to;

	while (size) {
		size_t n = size < in->buffered ? size : in->buffered;

		memcpy(next, in->buffer + in->buffered_from, n);
		in->buffered_from += n;
		in->buffered -= n;
		in->at += n;
		next += n;
		size -= n;
		if (size >= BUFFER_SIZE) {
			int r = read_all(in, in->at, next, size, err);
			in->at += r == 0 ? size : 0;
			return r;
		}
		if (size == 0)
			break;
		ssize_t got = read_some(in, in->at, in->buffer, BUFFER_SIZE);
		if (got < 0)
			return error_raise(err, (int)-got, "reading the image");
		if (got == 0)
			return invalid(err, image_truncated, "the image ends at byte %llu",
			               (unsigned long long)in->at);
		in->buffered_from = 0;
		in->buffered = (size_t)got;
	}
	return 0;
}

void input_skip(struct input *in, uint64_t size)
{
	size_t n = size < in->buffered ? (size_t)size : in->buffered;

	in->buffered_from += n;
	in->buffered -= n;
	in->at += size;
}

int input_read_at(const struct input *in, uint64_t offset, void *to, size_t size, struct error *err)
{
	return read_all(in, offset, to, size, err);
}
