/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in a pipe. See contents.h. */
#include "kind/pipe/contents.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "kind/bulk.h"
#include "kind/object.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE              4096u
#define CAPACITY_MAX      (1u << 31) /* fs/pipe.c, round_pipe_size() */
#define CAPACITY_FALLBACK (1u << 20) /* the kernel's default of pipe-max-size */

/*
 * What splice(2) takes from a socket is in buffers of up to 32 KiB, the most that the kernel puts
 * in one piece there (SKB_FRAG_PAGE_ORDER); they are made again through a socket of ours.
 */
#define BUFFER_MAX 32768u

static uint64_t round_up(uint64_t size)
{
	return (size + PAGE - 1) / PAGE * PAGE;
}

uint32_t pipe_capacity_max(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/sys/fs/pipe-max-size", "re");
	uint32_t max;

	return f && fscanf(f, "%u", &max) == 1 ? max : CAPACITY_FALLBACK;
}

void pipe_data_done(struct pipe_data *data)
{
	free(data->bytes);
	free(data->buffers);
	*data = (struct pipe_data){ 0 };
}

/* a pipe of ours */
struct own_pipe {
	int read, write;
};

static void own_pipe_done(struct own_pipe *p)
{
	close_p(&p->read);
	close_p(&p->write);
}

static int own_pipe_new(struct own_pipe *p, uint32_t capacity, struct error *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_raise(err, errno, "pipe2");
	*p = (struct own_pipe){ fds[0], fds[1] };
	if (fcntl(p->write, F_SETPIPE_SZ, capacity) < 0)
		return -errno; /* without an error: the caller knows what it is for */
	return 0;
}

/* ---- checkpoint ---- */

/* all of it, into a pipe of ours with as many slots; or with fewer, if it fits */
static int copy_all(int fd, size_t size, struct own_pipe *copy, struct error *err)
{
	int capacity = fcntl(fd, F_GETPIPE_SZ);
	uint32_t max = pipe_capacity_max();
	ssize_t n;

	if (capacity < 0)
		return error_raise(err, errno, "F_GETPIPE_SZ");
	int r = own_pipe_new(copy, (uint32_t)capacity, err);
	if (r == -EPERM && (uint32_t)capacity > max) {
		own_pipe_done(copy);
		r = own_pipe_new(copy, max, err);
	}
	if (r < 0 && copy->read < 0)
		return error_trace(err, r);
	if (r < 0)
		return error_raise(err, -r, "F_SETPIPE_SZ of a copy of a pipe to %d bytes",
		                   capacity);
	do
		n = tee(fd, copy->write, INT32_MAX, SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_raise(err, errno, "tee");
	if ((size_t)n == size)
		return 0;
	error_refuse(err, CODE_pipe_capacity,
	             "the pipe holds %zu bytes, of which only %zd can be copied", size, n);
	error_hint(err, "raise fs.pipe-max-size to %d, or run stasis with CAP_SYS_RESOURCE",
	           capacity);
	return -EOPNOTSUPP;
}

/* reads exactly that much of a pipe of ours, in which it is */
static int drain(int fd, char *bytes, size_t size, struct error *err)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, bytes + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_raise(err, n < 0 ? errno : EIO, "read of a copied pipe");
		done += (size_t)n;
	}
	return 0;
}

/*
 * The first buffer of @copy, which a tee(2) into a pipe of one slot gives apart from the others. It
 * is a packet if a read of more than it holds does not go on into the byte that follows it.
 */
static int take_buffer(const struct own_pipe *copy, const struct own_pipe *slot,
                       const struct own_pipe *pair, struct pipe_data *data, size_t room,
                       struct error *err)
{
	ssize_t n = tee(copy->read, slot->write, INT32_MAX, SPLICE_F_NONBLOCK);
	char *at = data->bytes + data->size;

	if (n <= 0)
		return error_raise(err, n < 0 ? errno : EIO, "tee of one buffer");
	if ((size_t)n > room)
		return error_raise(err, EIO, "a buffer of %zd bytes where %zu were left", n, room);
	if (splice(slot->read, NULL, pair->write, NULL, (size_t)n, SPLICE_F_NONBLOCK) != n ||
	    write(pair->write, "", 1) != 1)
		return error_raise(err, errno, "splice of one buffer");
	/* bytes has room for one more */
	ssize_t got = read(pair->read, at, (size_t)n + 1);
	if (got != n && got != n + 1)
		return error_raise(err, got < 0 ? errno : EIO, "read of one buffer");
	*array_push(data->buffers, data->n_buffers) = (struct pipe_buffer){ .length = (uint32_t)n,
		                                                            .packet = got == n };
	if (got == n && read(pair->read, &(char){ 0 }, 1) != 1)
		return error_raise(err, EIO, "read of one buffer");
	return drain(copy->read, at, (size_t)n, err);
}

static int take_apart(const struct own_pipe *copy, size_t size, struct pipe_data *data,
                      struct error *err)
{
	_cleanup_(own_pipe_done) struct own_pipe slot = { -1, -1 }, pair = { -1, -1 };
	int r = own_pipe_new(&slot, PAGE, err);

	if (r == 0)
		r = own_pipe_new(&pair, 2 * PAGE, err);
	if (r < 0)
		return error_raise(err, -r, "make a pipe");
	while (r == 0 && data->size < size) {
		r = take_buffer(copy, &slot, &pair, data, size - data->size, err);
		if (r == 0)
			data->size += data->buffers[data->n_buffers - 1].length;
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int pipe_read(int fd, struct pipe_data *ret, struct error *err)
{
	_cleanup_(own_pipe_done) struct own_pipe copy = { -1, -1 };
	_cleanup_(pipe_data_done) struct pipe_data data = { 0 };
	int size = 0, r = 0;

	if (ioctl(fd, FIONREAD, &size) < 0)
		return error_raise(err, errno, "FIONREAD");
	data.bytes = xcalloc(1, round_up((uint64_t)size + 1));
	if (size > 0)
		r = copy_all(fd, (size_t)size, &copy, err);
	if (r == 0)
		r = take_apart(&copy, (size_t)size, &data, err);
	if (r < 0)
		return error_trace(err, r);
	data.bytes[size] = 0;
	*ret = data;
	data = (struct pipe_data){ 0 };
	return 0;
}

static void add_run(PipeContents *contents, uint32_t count, uint32_t length, bool packet)
{
	PipeRun *last = contents->n_runs ? contents->runs[contents->n_runs - 1] : NULL;

	if (!count)
		return;
	if (last && last->length == length && last->packet == packet) {
		last->count += count;
		return;
	}
	PipeRun *run = xmalloc(sizeof(*run));
	pipe_run__init(run);
	run->count = count;
	run->length = length;
	run->packet = packet;
	*array_push(contents->runs, contents->n_runs) = run;
}

/* normal buffers that follow one another, in as few as can be made to hold them */
static void add_joined(PipeContents *contents, uint64_t bytes)
{
	add_run(contents, (uint32_t)(bytes / BUFFER_MAX), BUFFER_MAX, false);
	add_run(contents, bytes % BUFFER_MAX ? 1 : 0, bytes % BUFFER_MAX, false);
}

static uint64_t count_slots(const PipeContents *contents)
{
	uint64_t slots = 0;

	for (size_t i = 0; i < contents->n_runs; i++)
		slots += contents->runs[i]->count;
	return slots;
}

static void clear_runs(PipeContents *contents)
{
	for (size_t i = 0; i < contents->n_runs; i++)
		free(contents->runs[i]);
	free(contents->runs);
	contents->runs = NULL;
	contents->n_runs = 0;
}

/*
 * One for one; but one of more than BUFFER_MAX must be cut. @join: then with no more buffers than
 * its bytes need.
 */
static void add_runs(PipeContents *contents, const struct pipe_data *data, bool join)
{
	uint64_t joined = 0;

	for (size_t i = 0; i < data->n_buffers; i++) {
		const struct pipe_buffer *b = &data->buffers[i];
		if (join && !b->packet) {
			joined += b->length;
			continue;
		}
		add_joined(contents, joined);
		joined = 0;
		if (b->packet)
			add_run(contents, 1, b->length, true);
		else
			add_joined(contents, b->length);
	}
	add_joined(contents, joined);
}

int pipe_describe(const struct pipe_data *data, uint32_t capacity, PipeContents **ret,
                  struct error *err)
{
	PipeContents *contents = xmalloc(sizeof(*contents));

	pipe_contents__init(contents);
	contents->capacity = capacity;
	*ret = contents;
	add_runs(contents, data, false);
	if (count_slots(contents) > capacity / PAGE) {
		clear_runs(contents);
		add_runs(contents, data, true);
	}
	if (count_slots(contents) <= capacity / PAGE)
		return 0;
	error_refuse(err, CODE_pipe_contents,
	             "it holds %zu bytes, more than can be written into %u bytes of capacity",
	             data->size, capacity);
	error_hint(err, "raise its capacity (F_SETPIPE_SZ), or let the program read it first");
	return -EOPNOTSUPP;
}

int pipe_save_bulk(struct checkpoint *c, const struct object *object, const struct pipe_data *data,
                   struct error *err)
{
	return bulk_save_bytes(c, object, data->bytes, data->size, err);
}

/* ---- restart ---- */

int pipe_contents_validate(const PipeContents *contents, struct error *err)
{
	uint64_t slots = 0, size = 0;

	if (!contents)
		return error_refuse(err, CODE_image_invalid, "pipe: no contents");
	uint32_t capacity = contents->capacity;
	if (capacity < PAGE || capacity > CAPACITY_MAX || capacity & (capacity - 1))
		return error_refuse(err, CODE_image_invalid, "pipe: capacity %u", capacity);
	for (size_t i = 0; i < contents->n_runs; i++) {
		const PipeRun *run = contents->runs[i];
		if (!run->count || !run->length || run->length > (run->packet ? PAGE : BUFFER_MAX))
			return error_refuse(err, CODE_image_invalid, "pipe: %u buffers of %u bytes",
			                    run->count, run->length);
		slots += run->count;
		size += (uint64_t)run->count * run->length;
		if (slots > capacity / PAGE || size > INT32_MAX) /* FIONREAD is an int */
			return error_refuse(err, CODE_image_invalid,
			                    "pipe: more than its capacity of %u bytes", capacity);
	}
	return 0;
}

int pipe_contents_preflight(struct restart *r, const PipeContents *contents, const char *what)
{
	uint32_t max = pipe_capacity_max();
	struct error refusal;

	if (contents->capacity <= max || feature(FEATURE_cap_sys_resource))
		return 0;
	error_refuse(&refusal, CODE_pipe_capacity,
	             "its capacity is %u bytes; without CAP_SYS_RESOURCE at most %u are allowed",
	             contents->capacity, max);
	error_object(&refusal, "%s", what);
	error_hint(&refusal, "sysctl fs.pipe-max-size=%u, or run stasis with CAP_SYS_RESOURCE",
	           contents->capacity);
	restart_refuse(r, &refusal);
	return 0;
}

uint64_t pipe_contents_size(const PipeContents *contents)
{
	uint64_t size = 0;

	for (size_t i = 0; i < contents->n_runs; i++)
		size += (uint64_t)contents->runs[i]->count * contents->runs[i]->length;
	return size;
}

static int put_in_bytes(void *context, uint64_t offset, const char *bytes, size_t size,
                        struct error *err)
{
	memcpy((char *)context + offset, bytes, size);
	return 0;
}

int pipe_restore_bulk(const struct page_block *block, char *bytes, uint64_t size, struct error *err)
{
	return bulk_restore(block, size, "a pipe's contents", put_in_bytes, bytes, err);
}

int pipe_set_capacity(int fd, const PipeContents *contents, struct error *err)
{
	if (fcntl(fd, F_GETPIPE_SZ) == (int)contents->capacity)
		return 0;
	int capacity = fcntl(fd, F_SETPIPE_SZ, contents->capacity);
	if (capacity == (int)contents->capacity)
		return 0;
	int r = error_raise(err, capacity < 0 ? errno : EINVAL, "F_SETPIPE_SZ to %u bytes",
	                    contents->capacity);
	error_hint(err, "see fs.pipe-max-size and fs.pipe-user-pages-soft, proc_sys_fs(5)");
	return r;
}

/* what buffers are made in, before splice(2) moves them: nothing merges them with the last one */
struct workshop {
	struct own_pipe normal, packets;
	struct own_pipe large, slot; /* room for BUFFER_MAX; for one buffer */
	int sockets[2];              /* for what is larger than a page */
};
#define WORKSHOP_INIT                                           \
	{                                                       \
		{ -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 }, \
		{                                               \
			-1, -1                                  \
		}                                               \
	}

static void workshop_done(struct workshop *w)
{
	own_pipe_done(&w->normal);
	own_pipe_done(&w->packets);
	own_pipe_done(&w->large);
	own_pipe_done(&w->slot);
	close_p(&w->sockets[0]);
	close_p(&w->sockets[1]);
}

static int workshop_open(struct workshop *w, struct error *err)
{
	int r = own_pipe_new(&w->normal, PAGE, err);

	if (r == 0)
		r = own_pipe_new(&w->packets, PAGE, err);
	if (r == 0 && fcntl(w->packets.write, F_SETFL, O_DIRECT | O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		r = own_pipe_new(&w->large, BUFFER_MAX, err);
	if (r == 0)
		r = own_pipe_new(&w->slot, PAGE, err);
	if (r == 0 &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, w->sockets) < 0)
		r = -errno;
	return r < 0 ? error_raise(err, -r, "make a pipe") : 0;
}

/*
 * In one piece that the kernel allocates for a power of two, from which @length is taken; into
 * w->large. Whether it is in one buffer a pipe with room for one tells; there may be no memory in
 * such pieces.
 */
static int make_large(struct workshop *w, const char *bytes, uint32_t length, struct error *err)
{
	static const char zeroes[BUFFER_MAX];
	uint32_t piece = PAGE;

	while (piece < length)
		piece *= 2;
	struct iovec parts[] = { { (void *)bytes, length }, { (void *)zeroes, piece - length } };
	if (writev(w->sockets[0], parts, 2) != (ssize_t)piece)
		return error_raise(err, errno, "write %u bytes to a socket", piece);
	if (splice(w->sockets[1], NULL, w->large.write, NULL, length, SPLICE_F_NONBLOCK) != length)
		return error_raise(err, errno, "splice %u bytes from a socket", length);
	_cleanup_(free_p) char *rest = xmalloc(BUFFER_MAX);
	int r = piece == length ? 0 : drain(w->sockets[1], rest, piece - length, err);
	if (r < 0)
		return error_trace(err, r);
	ssize_t n = tee(w->large.read, w->slot.write, BUFFER_MAX, SPLICE_F_NONBLOCK);
	if (n <= 0)
		return error_raise(err, n < 0 ? errno : EIO, "tee of one buffer");
	r = drain(w->slot.read, rest, (size_t)n, err);
	if (r == 0 && n != length)
		r = error_raise(err, ENOMEM, "%u bytes in one piece", length);
	return r < 0 ? error_trace(err, r) : 0;
}

static int put_buffer(struct workshop *w, int fd, const char *bytes, uint32_t length, bool packet,
                      struct error *err)
{
	struct own_pipe *own = packet ? &w->packets : &w->normal;
	int r = 0;

	if (length > PAGE) {
		own = &w->large;
		r = make_large(w, bytes, length, err);
	} else if (write(own->write, bytes, length) != length) {
		r = error_raise(err, errno, "write %u bytes to a pipe", length);
	}
	if (r < 0)
		return error_trace(err, r);
	ssize_t n = splice(own->read, NULL, fd, NULL, length, SPLICE_F_NONBLOCK);
	if (n != length)
		return error_raise(err, n < 0 ? errno : EAGAIN,
		                   "splice %u bytes into a restored pipe", length);
	return 0;
}

int pipe_write(int fd, const PipeContents *contents, const char *bytes, struct error *err)
{
	_cleanup_(workshop_done) struct workshop w = WORKSHOP_INIT;
	int r = contents->n_runs ? workshop_open(&w, err) : 0;

	for (size_t i = 0; i < contents->n_runs; i++) {
		const PipeRun *run = contents->runs[i];
		for (uint32_t k = 0; r == 0 && k < run->count; k++) {
			r = put_buffer(&w, fd, bytes, run->length, run->packet, err);
			bytes += run->length;
		}
	}
	return r < 0 ? error_trace(err, r) : 0;
}
