/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Working directory, root directory and umask. See fs.h. Tasks of another mount namespace are
 * refused by kind namespace.
 */
#include "kind/fs.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "fs.pb-c.h"
#include "host/features.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/still.h"

/* ---- checkpoint ---- */

/* the object of "cwd" or "root"; 0 when it was refused */
static int collect_directory(struct checkpoint *c, const struct task *task, const char *what,
                             uint32_t *ret, struct error *err)
{
	_cleanup_(free_p) char *link = NULL;
	struct object *object = NULL;
	int r = task_readlink(task, what, &link, err);

	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int fd = task_openat(task, what, O_PATH);
	if (fd < 0)
		return error_raise(err, -fd, "open the %s link", what);
	const struct descriptor d = { .task = task, .live = fd, .what = what, .link = link };
	r = link_collect(c, &d, &object, err);
	*ret = object ? object->id : 0;
	return r < 0 ? error_trace(err, r) : 0;
}

static int fs_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object = NULL;
	bool is_new = false;
	int r = kcmp_object(c, &fs_kind, KCMP_FS, task, &object, &is_new, err);

	if (r < 0)
		return error_trace(err, r);
	task_refer(task, object);
	if (!is_new)
		return 0;
	FsState *s = xmalloc(sizeof(*s));
	fs_state__init(s);
	object->message = &s->base;
	s->umask = task->status.umask;
	r = collect_directory(c, task, "cwd", &s->cwd, err);
	if (r == 0)
		r = collect_directory(c, task, "root", &s->root, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static int fs_validate(const struct objects *objects, const struct object *object,
                       struct error *err)
{
	const FsState *s = object_state(object, FsState);
	const struct object *cwd = objects_by_id(objects, s->cwd);
	const struct object *root = objects_by_id(objects, s->root);

	if (!cwd || !cwd->kind->open || !root || !root->kind->open)
		return error_raise(err, EBADMSG, "the directories %u and %u cannot be opened",
		                   s->cwd, s->root);
	if (s->umask > 0777)
		return error_raise(err, EBADMSG, "a umask of %o", s->umask);
	return 0;
}

static int open_directory(struct restart *r, uint32_t id, int *ret_fd, struct error *err)
{
	struct object *object = objects_by_id(r->objects, id);
	int e = object->kind->open(r, object, O_PATH | O_DIRECTORY, ret_fd, err);

	return e < 0 ? error_trace(err, e) : 0;
}

/* whether it is the root directory that the stubs have already: chroot needs a capability */
static bool is_own_root(int fd)
{
	struct stat own, st;

	return stat("/", &own) == 0 && fstat(fd, &st) == 0 && own.st_dev == st.st_dev &&
	       own.st_ino == st.st_ino;
}

static int install_fds(struct restart *r, const FsState *s, struct stub *stub, const int fds[2],
                       struct error *err)
{
	bool own_root = is_own_root(fds[1]);
	int e;

	if (!own_root && !r->own_user && !feature(FEATURE_cap_sys_chroot)) {
		error_refuse(err, CODE_not_supported, "a task in a chroot needs CAP_SYS_CHROOT");
		return -EOPNOTSUPP;
	}
	e = stub_send_fds(r, stub, fds, 2, err);
	if (e < 0)
		return error_trace(err, e);
	if (!own_root) {
		CALL(stub->calls, fchdir, 1);
		CALL(stub->calls, chroot, calls_copy(stub->calls, ".", 2));
	}
	CALL(stub->calls, fchdir, 0);
	CALL(stub->calls, close, 0);
	CALL(stub->calls, close, 1);
	CALL(stub->calls, umask, s->umask);
	e = calls_run(stub->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int fs_install(struct restart *r, struct object *object, struct stub *stub,
                      struct error *err)
{
	const FsState *s = object_state(object, FsState);
	int fds[2] = { -1, -1 };
	int e = open_directory(r, s->cwd, &fds[0], err);

	if (e == 0)
		e = open_directory(r, s->root, &fds[1], err);
	if (e == 0)
		e = install_fds(r, s, stub, fds, err);
	close_p(&fds[0]);
	close_p(&fds[1]);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind fs_kind = {
	.name = "fs",
	.number = 28,
	.message = &fs_state__descriptor,
	.clone_flag = CLONE_FS,
	.collect = fs_collect,
	.validate = fs_validate,
	.install = fs_install,
};
