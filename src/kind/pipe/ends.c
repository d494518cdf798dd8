/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ends of pipes. See ends.h. */
#include "kind/pipe/ends.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "core/external.h"
#include "core/restart.h"
#include "task/task.h"
#include "util/cleanup.h"
#include "util/handle.h"

/* ---- checkpoint ---- */

void pipe_ends_add(struct pipe_ends *ends, const struct descriptor *d)
{
	const struct pipe_end end = { d->task, d->fd };
	uint32_t access = d->flags & O_ACCMODE;

	if (d->flags & O_PATH) {
		ends->path = end;
		return;
	}
	if (access != O_WRONLY && !ends->reader.task)
		ends->reader = end;
	if (access != O_RDONLY && !ends->writer.task)
		ends->writer = end;
}

const struct task *pipe_ends_task(const struct pipe_ends *ends)
{
	if (ends->reader.task)
		return ends->reader.task;
	return ends->writer.task ? ends->writer.task : ends->path.task;
}

static int open_end(const struct pipe_end *end, int flags, int *ret_fd, struct error *err)
{
	char path[24];

	snprintf(path, sizeof(path), "fd/%d", end->fd);
	int fd = task_openat(end->task, path, flags | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	int r = error_raise(err, -fd, "open a pipe through /proc");
	error_task(err, end->task->tid, end->task->comm);
	error_fd(err, end->fd);
	error_hint(err, "the pipe is another user's: run stasis as root");
	return r;
}

int pipe_ends_open(const struct pipe_ends *ends, int *ret_fd, struct error *err)
{
	int r = 0;

	*ret_fd = -1;
	if (ends->reader.task)
		r = open_end(&ends->reader, O_RDONLY, ret_fd, err);
	else if (ends->writer.task)
		r = open_end(&ends->writer, O_WRONLY, ret_fd, err);
	return r < 0 ? error_trace(err, r) : 0;
}

bool pipe_ends_other_side_open(const struct pipe_ends *ends, int fd)
{
	struct pollfd p = { .fd = fd };

	if (ends->reader.task && ends->writer.task)
		return false;
	if (poll(&p, 1, 0) < 0)
		return false;
	/* POLLHUP: no writers; POLLERR: no readers (fs/pipe.c, pipe_poll) */
	return ends->reader.task ? !(p.revents & POLLHUP) : !(p.revents & POLLERR);
}

/*
 * For contents without a reader one is opened, as the set itself could through /proc. Of a FIFO
 * only then: a program outside that waits in open(2) for a reader would go on.
 */
int pipe_ends_read(const struct pipe_ends *ends, int fd, struct pipe_data *ret,
                   uint32_t *ret_capacity, struct error *err)
{
	_cleanup_(close_p) int reader = -1;
	int size = 0, r = 0;

	*ret_capacity = PIPE_CAPACITY_DEFAULT;
	if (fd < 0)
		return 0;
	int capacity = fcntl(fd, F_GETPIPE_SZ);
	if (capacity < 0 || ioctl(fd, FIONREAD, &size) < 0)
		return error_raise(err, errno, "F_GETPIPE_SZ, FIONREAD");
	*ret_capacity = (uint32_t)capacity;
	if (size == 0)
		return 0;
	if (!ends->reader.task)
		r = open_end(&ends->writer, O_RDONLY, &reader, err);
	if (r == 0)
		r = pipe_read(ends->reader.task ? fd : reader, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

int pipe_end_set_flags(int fd, uint32_t flags, struct error *err)
{
	const int ours = O_NONBLOCK | O_DIRECT;
	int now = fcntl(fd, F_GETFL);

	if (now < 0 || fcntl(fd, F_SETFL, (now & ~ours) | ((int)flags & ours)) < 0)
		return error_raise(err, errno, "F_SETFL of a pipe to %o", flags);
	return 0;
}

int pipe_end_reopen(int fd, uint32_t flags, int *ret_fd, struct error *err)
{
	/* O_DIRECT is packet mode here, which open(2) does not know */
	const uint32_t later = O_DIRECT | O_ASYNC | O_CREAT | O_EXCL | O_TRUNC;

	if (flags & O_PATH)
		*ret_fd = handle_reopen(fd, (int)flags, fd);
	else
		*ret_fd = handle_reopen(fd, (int)(flags & ~later) | O_NONBLOCK | O_NOCTTY, fd);
	if (*ret_fd < 0)
		return error_raise(err, errno, "open an end of a pipe");
	if (flags & O_PATH)
		return 0;
	int r = pipe_end_set_flags(*ret_fd, flags, err);
	if (r < 0)
		close_p(ret_fd);
	return r < 0 ? error_trace(err, r) : 0;
}

bool pipe_external_valid(const ProtobufCBinaryData *name)
{
	return !name->len || (name->len <= NAME_MAX && !bytes_have_nul(name));
}

static void refuse_external(struct restart *r, const char *name, const char *why, const char *how)
{
	struct error refusal;

	error_refuse(&refusal, CODE_pipe_external, "the external pipe '%s' %s", name, why);
	error_hint(&refusal, "give --external %s=%s", name, how);
	restart_refuse(r, &refusal);
}

/* of what was given as fd:N; a path can be opened for either */
static bool lacks_end(int fd, bool reads, bool writes)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags & O_PATH || reads == writes)
		return false;
	return (flags & O_ACCMODE) == (reads ? O_WRONLY : O_RDONLY);
}

void pipe_external_preflight(struct restart *r, const char *name, bool reads, bool writes)
{
	_cleanup_(close_p) int fd = -1;
	struct error err = ERROR_INIT;
	struct stat st;

	/* O_PATH: a FIFO must not be opened yet, somebody may wait for that */
	if (externals_open(r->options->externals, name, O_PATH, &fd, &err) < 0) {
		if (err.code == CODE_NONE) {
			err.code = CODE_pipe_external;
			error_hint(&err, "give --external %s=PATH of a FIFO, or =fd:N", name);
		}
		restart_refuse(r, &err);
		return;
	}
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		refuse_external(r, name, "was supplied with what is neither a pipe nor a FIFO",
		                "PATH of a FIFO, mkfifo(1)");
	else if (lacks_end(fd, reads, writes))
		refuse_external(r, name,
		                reads ? "is read by the set, and was supplied with a write end"
		                      : "is written by the set, and was supplied with a read end",
		                "fd:N with the other end");
}

int pipe_external_open(struct restart *r, const char *name, int *ret_fd, struct error *err)
{
	/* O_RDWR does not wait for the other side, fifo(7) */
	int e = externals_open(r->options->externals, name, O_RDWR | O_NONBLOCK, ret_fd, err);

	return e < 0 ? error_trace(err, e) : 0;
}
