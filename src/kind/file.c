/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open file descriptions: what an image may say, and making them. See file.h. */
#include "kind/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/external.h"
#include "core/restart.h"
#include "kind/cred.h"
#include "kind/file/listing.h"
#include "kind/file/parts.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define N_SIGNALS 64

struct file *file_live(struct object *object)
{
	if (!object->live) {
		struct file *f = xcalloc(1, sizeof(*f));
		f->fd = -1;
		object->live = f;
	}
	return object->live;
}

static int validate_external(const FileState *s, struct error *err)
{
	if (s->object || s->owner || s->signal || s->position || s->listing ||
	    s->flags & ~FILE_FLAGS_KNOWN || s->external.len > 64 || bytes_have_nul(&s->external))
		return error_raise(err, EBADMSG, "an external file with state of its own");
	return 0;
}

static int file_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const FileState *s = object_state(object, FileState);
	const struct object *inode = objects_by_id(objects, s->object);

	if (s->external.len)
		return validate_external(s, err);
	if (!inode || !inode->kind->open)
		return error_raise(err, EBADMSG, "object %u cannot be opened", s->object);
	if (s->flags & ~FILE_FLAGS_KNOWN || s->position > INT64_MAX || s->signal > N_SIGNALS)
		return error_raise(err, EBADMSG, "flags %o, position %llu, signal %u", s->flags,
		                   (unsigned long long)s->position, s->signal);
	if (s->owner && (s->owner->type > F_OWNER_PGRP || s->owner->pid > INT32_MAX))
		return error_raise(err, EBADMSG, "owner %u of type %u", s->owner->pid,
		                   s->owner->type);
	if (s->flags & O_PATH && (s->position || s->owner || s->signal))
		return error_raise(err, EBADMSG, "an O_PATH file with a position");
	return file_listing_validate(s, inode, err);
}

static int file_preflight(struct restart *r, struct object *object, struct error *err)
{
	const FileState *s = object_state(object, FileState);
	_cleanup_(free_p) char *name = bytes_text(&s->external);

	if (!s->external.len)
		return 0;
	if (externals_supplied(r->options->externals, name)) {
		int e = externals_check(r->options->externals, name, NULL, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	error_refuse(err, CODE_external_missing, "a file that was open outside is needed");
	error_object(err, "%s", name);
	error_hint(err, "--external %s=PATH (or fd:N)", name);
	return -EOPNOTSUPP;
}

/* as it is supplied: fd:N is somebody else's, whose flags and position are not ours to change */
static int open_external(struct restart *r, const FileState *s, int *ret_fd, struct error *err)
{
	_cleanup_(free_p) char *name = bytes_text(&s->external);
	int e = externals_open(r->options->externals, name, (int)(s->flags & ~FILE_UNNAMED), ret_fd,
	                       err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int open_file(struct restart *r, const FileState *s, uint32_t flags, int *ret_fd,
                     struct error *err)
{
	struct object *inode = objects_by_id(r->objects, s->object);
	int e = inode->kind->open(r, inode, flags, ret_fd, err);

	return e < 0 ? error_trace(err, e) : 0;
}

/*
 * O_ASYNC means two things: a flag that open(2) keeps without effect, and, where the file can send
 * signals, a registration by fcntl(2) that remembers the descriptor's number: a task must do that.
 */
static int find_async(struct restart *r, struct object *object, int *fd, struct error *err)
{
	const FileState *s = object_state(object, FileState);

	if (!(s->flags & O_ASYNC))
		return 0;
	if (fcntl(*fd, F_SETFL, (int)s->flags) < 0)
		return error_raise(err, errno, "F_SETFL %o", s->flags);
	if (fcntl(*fd, F_GETFL) & O_ASYNC) {
		file_live(object)->async = true;
		if (fcntl(*fd, F_SETFL, (int)(s->flags & ~(uint32_t)O_ASYNC)) < 0)
			return error_raise(err, errno, "F_SETFL");
		return 0;
	}
	close_p(fd);
	return open_file(r, s, s->flags, fd, err);
}

static int set_position(struct restart *r, const FileState *s, int fd, struct error *err)
{
	if (s->listing)
		return file_listing_seek(r, s, fd, err);
	if (s->position && lseek(fd, (off_t)s->position, SEEK_SET) != (off_t)s->position)
		return error_raise(err, errno, "move it to position %llu",
		                   (unsigned long long)s->position);
	return 0;
}

static int set_up(struct restart *r, const FileState *s, int fd, struct error *err)
{
	/* FILE_LARGEFILE: forced upon 64-bit callers; O_TMPFILE: see regfile_open() */
	uint32_t ignored = O_ASYNC | FILE_LARGEFILE | (s->flags & FILE_UNNAMED ? O_TMPFILE : 0);
	uint32_t flags = (uint32_t)fcntl(fd, F_GETFL);

	if ((flags ^ s->flags) & ~ignored)
		return error_raise(err, EINVAL, "opened with flags %o it has %o", s->flags, flags);
	int e = set_position(r, s, fd, err);
	if (e < 0)
		return error_trace(err, e);
	if (s->signal && fcntl(fd, F_SETSIG, (int)s->signal) < 0)
		return error_raise(err, errno, "F_SETSIG %u", s->signal);
	return 0;
}

void file_expect(struct object *object)
{
	file_live(object)->n_expected++;
}

static int make_file(struct restart *r, struct object *object, int *ret_fd, struct error *err)
{
	const FileState *s = object_state(object, FileState);
	_cleanup_(close_p) int fd = -1;
	int e = open_file(r, s, s->flags & ~(uint32_t)O_ASYNC, &fd, err);

	if (e == 0)
		e = find_async(r, object, &fd, err);
	if (e == 0)
		e = set_up(r, s, fd, err);
	if (e < 0)
		return error_trace(err, e);
	*ret_fd = take_fd(&fd);
	return 0;
}

int file_get(struct restart *r, struct object *object, int *ret_fd, struct error *err)
{
	const FileState *s = object_state(object, FileState);
	struct file *f = file_live(object);
	int e = 0;

	if (f->fd < 0 && s->external.len)
		e = open_external(r, s, &f->fd, err);
	else if (f->fd < 0)
		e = make_file(r, object, &f->fd, err);
	*ret_fd = f->fd;
	return e < 0 ? error_trace(err, e) : 0;
}

void file_put(struct object *object)
{
	struct file *f = file_live(object);

	if (--f->n_expected == 0)
		close_p(&f->fd);
}

/*
 * Signals are sent with the credentials of who called F_SETOWN: done as ourselves it would let an
 * unprivileged program signal anybody (fs/fcntl.c, sigio_perm). The task calls it, in its own pid
 * namespace, as the user who did; the saved user id stays, so that there is a way back.
 */
static void set_owner(struct restart *r, struct stub *stub, const FileOwner *owner, int fd)
{
	const struct f_owner_ex ex = {
		(typeof(ex.type))owner->type,
		owner->pid ? stub_number_of(r, (pid_t)owner->pid, stub) : 0,
	};
	struct calls *calls = stub->calls;
	uint32_t have[2];

	cred_of_stub(stub, have);
	bool other = owner->uid != have[0] || owner->euid != have[1];

	calls_reserve(calls, 3, sizeof(ex));
	uint64_t address = calls_copy(calls, &ex, sizeof(ex));
	if (other)
		CALL(calls, setresuid, cred_name(r, stub, owner->uid),
		     cred_name(r, stub, owner->euid), (uint64_t)-1);
	calls_add(calls, &(struct call){ .nr = __NR_fcntl,
	                                 .arg = { (uint64_t)fd, F_SETOWN_EX, address },
	                                 .what = "fcntl(F_SETOWN_EX)" });
	if (other)
		CALL(calls, setresuid, cred_name(r, stub, have[0]), cred_name(r, stub, have[1]),
		     (uint64_t)-1);
}

void file_install(struct restart *r, struct object *object, struct stub *stub, int fd)
{
	const FileState *s = object_state(object, FileState);
	struct file *f = file_live(object);

	if (f->installed)
		return;
	f->installed = true;
	if (s->owner)
		set_owner(r, stub, s->owner, fd);
}

void file_commit(struct object *object, struct calls *calls, int fd)
{
	const FileState *s = object_state(object, FileState);
	struct file *f = file_live(object);

	if (!f->async)
		return;
	f->async = false;
	calls_add(calls, &(struct call){ .nr = __NR_fcntl,
	                                 .arg = { (uint64_t)fd, F_SETFL, s->flags },
	                                 .what = "fcntl(F_SETFL, O_ASYNC)" });
}

static void file_release(struct object *object)
{
	struct file *f = object->live;

	if (!f)
		return;
	kcmp_set_done(&f->group);
	close_p(&f->fd);
	free(f);
	object->live = NULL;
}

const struct kind file_kind = {
	.name = "file",
	.number = 25,
	.message = &file_state__descriptor,
	.judge = file_judge,
	.validate = file_validate,
	.preflight = file_preflight,
	.release = file_release,
};
