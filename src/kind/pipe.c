/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pipes without a name. See pipe.h; what is in them: pipe/contents.h.
 *
 * Open file descriptions are the kind file's. Of those of a pipe, pipe(2) has made at most one for
 * reading and one for writing; others come from opening /proc/PID/fd/N (/dev/stdout...), and bear
 * O_LARGEFILE. So they are made again.
 *
 * An external pipe keeps what is in it, whichever ends the set has, even both: they become ends of
 * the pipe or FIFO that takes its place.
 */
#include "kind/pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "core/restart.h"
#include "kind/pipe/contents.h"
#include "kind/pipe/ends.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* linux/watch_queue.h, which collides with <fcntl.h> */
#define WATCH_QUEUE_SET_SIZE _IO('W', 0x60)
#define MODE_MAX             07777

/* object->live */
struct pipe {
	/* checkpoint */
	char *link; /* "pipe:[7]" */
	struct pipe_ends ends;
	struct stat st;
	/* restart */
	int read, write;              /* both ends, or -1 */
	int external;                 /* what takes the place of an external one, or -1 */
	bool read_given, write_given; /* a description of the set's is the one pipe(2) made */
	char *bytes;                  /* the contents, as they come */
};

static struct pipe *pipe_new(void)
{
	struct pipe *p = xcalloc(1, sizeof(*p));

	p->read = p->write = p->external = -1;
	return p;
}

static bool pipe_claims(const struct descriptor *d)
{
	return S_ISFIFO(d->st.st_mode) && !strncmp(d->link, "pipe:[", 6);
}

/* ---- checkpoint ---- */

static int pipe_collect_descriptor(struct checkpoint *c, const struct descriptor *d,
                                   struct object **ret, struct error *err)
{
	const uint64_t key[] = { d->st.st_dev, d->st.st_ino };
	bool is_new;

	*ret = objects_get(c->objects, &pipe_kind, key, sizeof(key), &is_new);
	if (is_new) {
		struct pipe *p = pipe_new();
		p->link = xstrdup(d->link);
		p->st = d->st;
		(*ret)->live = p;
	}
	pipe_ends_add(&((struct pipe *)(*ret)->live)->ends, d);
	return 0;
}

static void describe_external(const struct pipe *p, PipeState *s, const char *name)
{
	s->external.data = (uint8_t *)xstrdup(name);
	s->external.len = strlen(name);
	s->has_reader = p->ends.reader.task != NULL;
	s->has_writer = p->ends.writer.task != NULL;
}

/*
 * A watch queue (O_NOTIFICATION_PIPE) says so to a size that it cannot take; an ordinary pipe says
 * ENODEV, or ENOTTY without CONFIG_WATCH_QUEUE (fs/pipe.c, kernel/watch_queue.c).
 */
static bool is_watch_queue(int fd)
{
	return ioctl(fd, WATCH_QUEUE_SET_SIZE, 0) < 0 && (errno == EINVAL || errno == EBUSY);
}

static void refuse_unseen(struct checkpoint *c, const struct pipe *p)
{
	struct error refusal;

	error_refuse(&refusal, CODE_leak,
	             "its other end is open outside the set, in a process that cannot be seen");
	error_object(&refusal, "%s", p->link);
	error_hint(&refusal,
	           "run stasis as root outside of containers, or declare it to stay outside: "
	           "--external %s=NAME",
	           p->link);
	refuse(c, pipe_ends_task(&p->ends), &refusal);
}

static void refuse_watch_queue(struct checkpoint *c, const struct pipe *p)
{
	struct error refusal;

	error_refuse(&refusal, CODE_pipe_watch_queue,
	             "it is a watch queue (O_NOTIFICATION_PIPE), which is not supported");
	error_object(&refusal, "%s", p->link);
	refuse(c, pipe_ends_task(&p->ends), &refusal);
}

static int examine(struct checkpoint *c, const struct pipe *p, PipeState *s, struct error *err)
{
	_cleanup_(pipe_data_done) struct pipe_data data = { 0 };
	_cleanup_(close_p) int fd = -1;
	uint32_t capacity = PIPE_CAPACITY_DEFAULT;
	int r = pipe_ends_open(&p->ends, &fd, err);

	if (r < 0)
		return error_trace(err, r);
	if (fd >= 0 && is_watch_queue(fd)) {
		refuse_watch_queue(c, p);
		return 0;
	}
	if (fd >= 0 && pipe_ends_other_side_open(&p->ends, fd))
		refuse_unseen(c, p);
	r = pipe_ends_read(&p->ends, fd, &data, &capacity, err);
	if (r == 0)
		r = pipe_describe(&data, capacity, &s->contents, err);
	if (r == 0)
		return 0;
	error_task(err, pipe_ends_task(&p->ends)->tid, pipe_ends_task(&p->ends)->comm);
	error_object(err, "%s", p->link);
	return error_trace(err, r);
}

static int pipe_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct pipe *p = object->live;
	const struct task *task = pipe_ends_task(&p->ends);
	const char *name = externals_name(c->options->externals, p->link);
	const struct holder *holder = NULL;
	int r = name ? 0 : holders_find_open(c, p->st.st_dev, p->st.st_ino, &holder, err);

	if (r < 0)
		return error_trace(err, r);
	if (holder) {
		refuse_leak(c, task, p->link, p->link, holder);
		return 0;
	}
	if (!name && !c->tracer) {
		check_unexamined(c, task, "what is in its pipes, and holders that no process shows",
		                 CODE_pipe_contents, CODE_pipe_capacity, CODE_pipe_watch_queue,
		                 CODE_leak);
		return 0;
	}
	PipeState *s = xmalloc(sizeof(*s));
	pipe_state__init(s);
	object->message = &s->base;
	s->mode = p->st.st_mode & MODE_MAX;
	s->uid = p->st.st_uid;
	s->gid = p->st.st_gid;
	if (name)
		describe_external(p, s, name);
	else
		r = examine(c, p, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int pipe_save_contents(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(pipe_data_done) struct pipe_data data = { 0 };
	const struct pipe *p = object->live;
	const PipeState *s = object_state(object, PipeState);
	_cleanup_(close_p) int fd = -1;
	uint32_t capacity;

	if (s->external.len || !s->contents->n_runs)
		return 0;
	int r = pipe_ends_open(&p->ends, &fd, err);
	if (r == 0)
		r = pipe_ends_read(&p->ends, fd, &data, &capacity, err);
	if (r == 0 && data.size != pipe_contents_size(s->contents))
		r = error_raise(err, EIO, "a pipe has changed during the checkpoint");
	if (r == 0)
		r = pipe_save_bulk(c, object, &data, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static int pipe_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const PipeState *s = object_state(object, PipeState);

	if (!pipe_external_valid(&s->external))
		return error_refuse(err, CODE_image_invalid, "pipe: the name of an external pipe");
	if (s->mode > MODE_MAX)
		return error_refuse(err, CODE_image_invalid, "pipe: mode %o", s->mode);
	if (s->external.len)
		return 0;
	int r = pipe_contents_validate(s->contents, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int pipe_preflight(struct restart *r, struct object *object, struct error *err)
{
	const PipeState *s = object_state(object, PipeState);
	_cleanup_(free_p) char *what = xasprintf("pipe %u", object->id);

	if (!s->external.len)
		return pipe_contents_preflight(r, s->contents, what);
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	pipe_external_preflight(r, name, s->has_reader, s->has_writer);
	return 0;
}

static int pipe_restore(struct restart *r, struct object *object, struct error *err)
{
	const PipeState *s = object_state(object, PipeState);
	struct pipe *p = object->live = pipe_new();
	int fds[2], e;

	if (s->external.len) {
		_cleanup_(free_p) char *name = bytes_text(&s->external);
		e = pipe_external_open(r, name, &p->external, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_raise(err, errno, "pipe2");
	p->read = fds[0];
	p->write = fds[1];
	p->bytes = xcalloc(1, pipe_contents_size(s->contents) + PIPE_PAGE);
	e = pipe_set_capacity(p->write, s->contents, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int pipe_take_bulk(struct restart *r, struct object *object, const struct page_block *block,
                          struct error *err)
{
	const PipeState *s = object_state(object, PipeState);
	struct pipe *p = object->live;

	if (!p->bytes)
		return error_refuse(err, CODE_image_invalid, "pipe: contents of an external pipe");
	int e = pipe_restore_bulk(block, p->bytes, pipe_contents_size(s->contents), err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* the end that pipe(2) made, once; -1 if it must be a new one */
static int original_end(struct pipe *p, uint32_t flags)
{
	bool read = (flags & O_ACCMODE) == O_RDONLY, write = (flags & O_ACCMODE) == O_WRONLY;

	if (flags & (PIPE_LARGEFILE | O_PATH))
		return -1;
	if (read && !p->read_given) {
		p->read_given = true;
		return p->read;
	}
	if (write && !p->write_given) {
		p->write_given = true;
		return p->write;
	}
	return -1;
}

static int pipe_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                     struct error *err)
{
	struct pipe *p = object->live;
	int e, fd = original_end(p, flags);

	if (fd < 0) {
		e = pipe_end_reopen(p->external >= 0 ? p->external : p->read, flags, ret_fd, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (*ret_fd < 0)
		return error_raise(err, errno, "duplicate the end of a pipe");
	e = pipe_end_set_flags(*ret_fd, flags, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* fstat(2) shows whose it is, and that decides who may open /dev/stdout */
static int put_owner(int fd, const PipeState *s, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of a pipe");
	if ((st.st_uid != s->uid || st.st_gid != s->gid) && fchown(fd, s->uid, s->gid) < 0)
		return error_raise(err, errno, "fchown of a pipe to %u:%u", s->uid, s->gid);
	if ((st.st_mode & MODE_MAX) != s->mode && fchmod(fd, s->mode) < 0)
		return error_raise(err, errno, "fchmod of a pipe to %o", s->mode);
	return 0;
}

static void close_ends(struct pipe *p)
{
	close_p(&p->read);
	close_p(&p->write);
	close_p(&p->external);
}

static int pipe_finish(struct restart *r, struct object *object, struct error *err)
{
	const PipeState *s = object_state(object, PipeState);
	struct pipe *p = object->live;
	int e = 0;

	if (!s->external.len) {
		e = pipe_write(p->write, s->contents, p->bytes, err);
		if (e == 0)
			e = put_owner(p->write, s, err);
	}
	close_ends(p);
	return e < 0 ? error_trace(err, e) : 0;
}

static void pipe_release(struct object *object)
{
	struct pipe *p = object->live;

	if (!p)
		return;
	close_ends(p);
	free(p->bytes);
	free(p->link);
	free(p);
	object->live = NULL;
}

const struct kind pipe_kind = {
	.name = "pipe",
	.number = 22,
	.message = &pipe_state__descriptor,
	.judge = pipe_judge,
	.save_bulk = pipe_save_contents,
	.validate = pipe_validate,
	.preflight = pipe_preflight,
	.restore = pipe_restore,
	.restore_bulk = pipe_take_bulk,
	.finish = pipe_finish,
	.release = pipe_release,
	.claims = pipe_claims,
	.collect_descriptor = pipe_collect_descriptor,
	.open = pipe_open,
};
