/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor tables. At checkpoint the coordinator takes one reference at a time (pidfd_getfd) and
 * closes it when the kinds have seen it, so neither RLIMIT_NOFILE bounds the set nor is a pipe's
 * end held longer than needed. At restart a table is filled from its highest number down, see
 * install_batch().
 */
#include "kind/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/features.h"
#include "core/restart.h"
#include "files.pb-c.h"
#include "image/image.h"
#include "kind/file.h"
#include "proc/fdinfo.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

#define FD_MAX (INT_MAX / 2) /* far above /proc/sys/fs/nr_open */
/* each takes 12 bytes or so of a record of at most 1 MiB */
#define DESCRIPTORS_MAX 80000

/* ---- checkpoint ---- */

/* a descriptor of the thread whose table it is; -errno */
static int open_pidfd(const struct task *task, bool own_table)
{
	if (task == task->leader)
		return (int)syscall(SYS_pidfd_open, task->tid, 0);
	/* the leader is asked for what all share; a leader that has exited has no table any more */
	if (!own_table && task->leader->state != TASK_DEAD_LEADER)
		return (int)syscall(SYS_pidfd_open, task->tgid, 0);
	return (int)syscall(SYS_pidfd_open, task->tid, PIDFD_THREAD);
}

static int refuse_unknown_key(struct checkpoint *c, const struct descriptor *d, const char *key)
{
	struct error refusal = ERROR_INIT;

	error_refuse(&refusal, CODE_unknown_state,
	             "%s: fdinfo shows \"%s\", which this version does not know", d->what, key);
	error_fd(&refusal, d->fd);
	refuse(c, d->task, &refusal);
	return 0;
}

static int collect_reference(struct checkpoint *c, struct descriptor *d,
                             const struct proc_fdinfo *info, struct object **ret, struct error *err)
{
	if (fstat(d->live, &d->st) < 0)
		return error_raise(err, errno, "fstat of %s", d->what);
	d->flags = info->flags;
	d->mnt_id = info->mnt_id;
	int r = file_collect(c, d, (uint64_t)info->pos, ret, err);
	if (r < 0)
		return r;
	/* the keys of a known kind are all known; of what is refused they do not matter */
	if (*ret && info->unknown[0] && (S_ISREG(d->st.st_mode) || S_ISDIR(d->st.st_mode)))
		return refuse_unknown_key(c, d, info->unknown);
	return 0;
}

static int collect_fd(struct checkpoint *c, struct task *task, int pidfd, int fd, FilesState *s,
                      struct error *err)
{
	char what[32], relative[40];
	_cleanup_(free_p) char *link = NULL, *text = NULL;
	struct proc_fdinfo info = { 0 };
	struct object *file = NULL;

	snprintf(what, sizeof(what), "fd %d", fd);
	snprintf(relative, sizeof(relative), "fd/%d", fd);
	int r = task_readlink(task, relative, &link, err);
	snprintf(relative, sizeof(relative), "fdinfo/%d", fd);
	if (r == 0)
		r = task_read(task, relative, &text, NULL, err);
	if (r == 0)
		r = proc_fdinfo_parse(text, &info, err);
	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int live = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (live < 0) {
		r = error_raise(err, errno, "take a reference to fd %d", fd);
	} else {
		struct descriptor d = {
			.task = task, .fd = fd, .live = live, .what = what, .link = link
		};
		r = collect_reference(c, &d, &info, &file, err);
	}
	if (r == 0 && file) {
		FilesState__Descriptor *entry = xmalloc(sizeof(*entry));
		files_state__descriptor__init(entry);
		entry->fd = (uint32_t)fd;
		entry->file = file->id;
		entry->close_on_exec = info.flags & O_CLOEXEC;
		*array_push(s->descriptors, s->n_descriptors) = entry;
	}
	proc_fdinfo_done(&info);
	if (r == -EOPNOTSUPP && err->code != CODE_NONE) {
		refuse(c, task, err);
		return 0;
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static int compare_ints(const void *a, const void *b)
{
	return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

/* the numbers in use, ascending; the caller frees *ret */
static int list_fds(const struct task *task, int **ret, size_t *ret_n, struct error *err)
{
	int fd = task_openat(task, "fd", O_RDONLY | O_DIRECTORY);
	_cleanup_(closedir_p) DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		int errnum = fd < 0 ? -fd : errno;
		if (fd >= 0)
			close(fd);
		return error_raise(err, errnum, "open /proc/%d/task/%d/fd", task->tgid, task->tid);
	}
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			*array_push(*ret, *ret_n) = atoi(entry->d_name);
	if (*ret_n)
		qsort(*ret, *ret_n, sizeof(**ret), compare_ints);
	return 0;
}

static int collect_table(struct checkpoint *c, struct task *task, bool own_table, FilesState *s,
                         struct error *err)
{
	_cleanup_(free_p) int *fds = NULL;
	size_t n = 0;
	int r = list_fds(task, &fds, &n, err);

	if (r < 0)
		return error_trace(err, r);
	if (n > DESCRIPTORS_MAX) {
		error_refuse(err, CODE_files_many, "it has %zu descriptors open", n);
		error_hint(err, "an image can hold %d of one table", DESCRIPTORS_MAX);
		return -EOPNOTSUPP;
	}
	_cleanup_(close_p) int pidfd = open_pidfd(task, own_table);
	if (pidfd < 0) {
		error_refuse(err, CODE_files_thread,
		             "its descriptor table cannot be reached: pidfd_open(PIDFD_THREAD): %s",
		             strerror(errno));
		error_hint(err, "Linux 6.9 or newer can");
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < n; i++) {
		r = collect_fd(c, task, pidfd, fds[i], s, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
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
	return collect_table(c, task, task != task->leader, s, err);
}

/* ---- restart ---- */

static int files_validate(const struct objects *objects, const struct object *object,
                          struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++) {
		const FilesState__Descriptor *d = s->descriptors[i];
		const struct object *file = objects_by_id(objects, d->file);
		if (d->fd > FD_MAX || (i > 0 && d->fd <= s->descriptors[i - 1]->fd))
			return error_raise(err, EBADMSG, "descriptor %u is out of order", d->fd);
		if (!file || file->kind != &file_kind)
			return error_raise(err, EBADMSG,
			                   "fd %u is object %u, which is no open file", d->fd,
			                   d->file);
	}
	return 0;
}

static int files_highest(const struct object *object)
{
	const FilesState *s = object_state(object, FilesState);

	return s->n_descriptors ? (int)s->descriptors[s->n_descriptors - 1]->fd : -1;
}

/* all tables are known before the first is filled: when a description's last use has come */
static int files_restore(struct restart *r, struct object *object, struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t i = 0; i < s->n_descriptors; i++)
		file_expect(objects_by_id(r->objects, s->descriptors[i]->file));
	return 0;
}

/* moves what has arrived as 0 to n - 1 to its numbers */
static void place(struct restart *r, struct stub *stub, FilesState__Descriptor *const *batch,
                  size_t n)
{
	for (size_t i = n; i-- > 0;) {
		const FilesState__Descriptor *d = batch[i];
		if (d->fd != i) {
			CALL(stub->calls, dup3, i, d->fd, d->close_on_exec ? O_CLOEXEC : 0);
			CALL(stub->calls, close, i);
		} else if (!d->close_on_exec) {
			CALL(stub->calls, fcntl, i, F_SETFD, 0);
		}
		file_install(objects_by_id(r->objects, d->file), stub->calls, (int)d->fd);
	}
}

/*
 * @n descriptors that are all below those placed so far arrive at the lowest free numbers, which
 * are 0 to n - 1: whatever is in use is above the highest of these, which is at least n - 1. None
 * has a number below the one it arrives at, so from the last to the first each finds its place
 * free.
 */
static int install_batch(struct restart *r, struct stub *stub, FilesState__Descriptor *const *batch,
                         size_t n, struct error *err)
{
	int fds[STUB_FDS_MAX];

	for (size_t i = 0; i < n; i++) {
		int e = file_descriptor(r, objects_by_id(r->objects, batch[i]->file), &fds[i], err);
		if (e < 0) {
			error_fd(err, (int)batch[i]->fd);
			return error_trace(err, e);
		}
	}
	int e = stub_send_fds(r, stub, fds, n, err);
	if (e < 0)
		return error_trace(err, e);
	place(r, stub, batch, n);
	for (size_t i = 0; i < n; i++)
		file_done(objects_by_id(r->objects, batch[i]->file));
	return 0;
}

static int files_install(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	const FilesState *s = object_state(object, FilesState);

	for (size_t left = s->n_descriptors; left > 0;) {
		size_t n = left < STUB_FDS_MAX ? left : STUB_FDS_MAX;
		int e = install_batch(r, stub, s->descriptors + left - n, n, err);
		if (e < 0)
			return error_trace(err, e);
		left -= n;
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
	.restore = files_restore,
	.install = files_install,
	.highest_fd = files_highest,
};
