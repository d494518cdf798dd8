/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor tables. See files.h.
 *
 * Checkpoint: descriptors are looked at one after the other, each reference is closed before the
 * next is taken: no limit bounds how many the set may have, and nothing delays a close.
 */
#include "kind/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "files.pb-c.h"
#include "host/features.h"
#include "kind/file.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

#define DESCRIPTORS_MAX 80000u /* of twelve bytes each: one record of 1 MiB */
#define NUMBER_MAX      (1 << 30)

/* ---- checkpoint ---- */

static int by_number(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int list_descriptors(const struct task *task, int **ret, size_t *ret_n, struct error *err)
{
	int dir_fd = task_openat(task, "fd", O_RDONLY | O_DIRECTORY);
	struct dirent *entry;

	if (dir_fd < 0)
		return error_raise(err, -dir_fd, "open the list of descriptors");
	_cleanup_(closedir_p) DIR *dir = fdopendir(dir_fd);
	if (!dir) {
		close(dir_fd);
		return error_raise(err, ENOMEM, "read the list of descriptors");
	}
	while ((errno = 0, entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			*array_push(*ret, *ret_n) = atoi(entry->d_name);
	if (errno)
		return error_raise(err, errno, "read the list of descriptors");
	if (*ret_n)
		qsort(*ret, *ret_n, sizeof(**ret), by_number);
	return 0;
}

/* none in `check`; of the thread itself where the kernel can: after the leader has exited its table
 * looks empty */
static int open_pidfd(const struct checkpoint *c, const struct task *task, int *ret,
                      struct error *err)
{
	bool thread = feature(FEATURE_pidfd_thread);

	if (!thread && task != task->leader) {
		error_refuse(err, CODE_files_thread,
		             "this thread has a descriptor table of its own, or its leader has "
		             "exited");
		error_hint(err, "it needs Linux 6.9 or newer");
		return -EOPNOTSUPP;
	}
	if (!c->tracer)
		return 0;
	*ret = (int)syscall(SYS_pidfd_open, task->tid, thread ? PIDFD_THREAD : 0);
	return *ret < 0 ? error_raise(err, errno, "pidfd_open") : 0;
}

static int collect_one(struct checkpoint *c, const struct task *task, int fd, int pidfd,
                       FilesState *s, struct error *err)
{
	struct object *file = NULL;
	bool cloexec = false;
	int r = file_collect(c, task, fd, pidfd, &file, &cloexec, err);

	if (r < 0 || !file)
		return r < 0 ? error_trace(err, r) : 0;
	FilesDescriptor *d = xmalloc(sizeof(*d));
	files_descriptor__init(d);
	d->number = (uint32_t)fd;
	d->file = file->id;
	d->close_on_exec = cloexec;
	*array_push(s->descriptors, s->n_descriptors) = d;
	return 0;
}

static int collect_table(struct checkpoint *c, const struct task *task, FilesState *s,
                         struct error *err)
{
	_cleanup_(free_p) int *numbers = NULL;
	_cleanup_(close_p) int pidfd = -1;
	size_t n = 0;
	int r = list_descriptors(task, &numbers, &n, err);

	if (r == 0 && n > DESCRIPTORS_MAX)
		r = error_refuse(err, CODE_files_many, "%zu descriptors are open", n);
	if (r == 0)
		r = open_pidfd(c, task, &pidfd, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = collect_one(c, task, numbers[i], pidfd, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int files_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object = NULL;
	bool is_new = false;
	int r = kcmp_object(c, &files_kind, KCMP_FILES, task, &object, &is_new, err);

	if (r < 0)
		return error_trace(err, r);
	task_refer(task, object);
	if (!is_new)
		return 0;
	FilesState *s = xmalloc(sizeof(*s));
	files_state__init(s);
	object->message = &s->base;
	r = collect_table(c, task, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static int files_validate(const struct objects *objects, const struct object *object,
                          struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++) {
		const FilesDescriptor *d = s->descriptors[i];
		const struct object *file = objects_by_id(objects, d->file);
		if (!file || file->kind != &file_kind)
			return error_raise(err, EBADMSG, "descriptor %u is of object %u, no file",
			                   d->number, d->file);
		if (d->number >= NUMBER_MAX || (i && d->number <= s->descriptors[i - 1]->number))
			return error_raise(err, EBADMSG, "descriptor %u is out of order",
			                   d->number);
	}
	return 0;
}

static int files_highest_fd(const struct object *object)
{
	const FilesState *s = object_state(object, FilesState);

	return s->n_descriptors ? (int)s->descriptors[s->n_descriptors - 1]->number : -1;
}

static bool files_uses_fd(const struct object *object, int fd)
{
	const FilesState *s = object_state(object, FilesState);
	size_t low = 0, high = s->n_descriptors;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->descriptors[middle]->number == (uint32_t)fd)
			return true;
		if (s->descriptors[middle]->number < (uint32_t)fd)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static int files_restore(struct restart *r, struct object *object, struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++)
		file_expect(objects_by_id(r->objects, s->descriptors[i]->file));
	return 0;
}

static int send_files(struct restart *r, struct stub *stub, FilesDescriptor *const *descriptors,
                      size_t n, struct error *err)
{
	int fds[STUB_FDS_MAX];

	for (size_t i = 0; i < n; i++) {
		struct object *file = objects_by_id(r->objects, descriptors[i]->file);
		int e = file_get(r, file, &fds[i], err);
		if (e < 0) {
			error_fd(err, (int)descriptors[i]->number);
			return error_trace(err, e);
		}
	}
	int e = stub_send_fds(r, stub, fds, n, err);
	for (size_t i = 0; i < n; i++)
		file_put(objects_by_id(r->objects, descriptors[i]->file));
	return e < 0 ? error_trace(err, e) : 0;
}

/* from the number it has arrived at to its own; it arrives close-on-exec */
static void move(struct stub *stub, unsigned arrived, const FilesDescriptor *d)
{
	if (d->number == arrived) {
		if (!d->close_on_exec)
			CALL(stub->calls, fcntl, arrived, F_SETFD, 0);
		return;
	}
	CALL(stub->calls, dup3, arrived, d->number, d->close_on_exec ? O_CLOEXEC : 0);
	CALL(stub->calls, close, arrived);
}

/*
 * From the highest number down, in batches. The k lowest descriptors of a table have numbers of at
 * least 0..k-1, so while they are still to come those numbers are free: the next batch arrives
 * there, and is moved up from its end.
 */
static int files_install(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t left = s->n_descriptors; left > 0;) {
		size_t n = left < STUB_FDS_MAX ? left : STUB_FDS_MAX;
		FilesDescriptor *const *batch = s->descriptors + (left - n);
		int e = send_files(r, stub, batch, n, err);
		if (e < 0)
			return error_trace(err, e);
		for (size_t i = n; i-- > 0;) {
			move(stub, (unsigned)i, batch[i]);
			file_install(r, objects_by_id(r->objects, batch[i]->file), stub,
			             (int)batch[i]->number);
		}
		left -= n;
	}
	return 0;
}

static int files_commit(struct restart *r, struct object *object, struct stub *stub,
                        struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++) {
		const FilesDescriptor *d = s->descriptors[i];
		file_commit(objects_by_id(r->objects, d->file), stub->calls, (int)d->number);
	}
	return 0;
}

const struct kind files_kind = {
	.name = "files",
	.number = 27,
	.message = &files_state__descriptor,
	.clone_flag = CLONE_FILES,
	.collect = files_collect,
	.validate = files_validate,
	.highest_fd = files_highest_fd,
	.uses_fd = files_uses_fd,
	.restore = files_restore,
	.install = files_install,
	.commit = files_commit,
};
