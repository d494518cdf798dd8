/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open file descriptions. See file.h.
 *
 * Identity: candidates have the same inode, flags and position; among these kcmp(2) decides. The
 * first object of such a group keeps the group's sorted set, so that no two files are compared that
 * cannot be the same.
 *
 * Not seen by anybody, hence not kept: posix_fadvise(2) and read-ahead, which change speed only,
 * and the credentials of who opened it, which become the coordinator's (file systems where they
 * matter are refused by kind regfile).
 */
#include "kind/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "core/restart.h"
#include "file.pb-c.h"
#include "kind/anonymous.h"
#include "kind/cred.h"
#include "kind/lock.h"
#include "kind/mount.h"
#include "kind/pid_ns.h"
#include "proc/fdinfo.h"
#include "task/holders.h"
#include "task/kcmp.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/still.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif
#define N_SIGNALS 64
#define LARGEFILE 0100000u   /* the kernel's O_LARGEFILE; the C library's is 0 */
#define UNNAMED   020000000u /* the kernel's __O_TMPFILE */
#define KNOWN_FLAGS                                                                        \
	((uint32_t)(O_ACCMODE | O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_DIRECTORY | \
	            O_NOFOLLOW | O_NOATIME | O_SYNC | O_PATH) |                            \
	 LARGEFILE | UNNAMED)

/* what candidates have in common; the rest of an object's key is its number within the group */
struct key {
	uint64_t dev, ino;
	int64_t position;
	uint32_t flags, number;
};

/* object->live */
struct file {
	/* checkpoint */
	struct kcmp_set group; /* of the first of its group */
	uint32_t n_group;
	const struct task *holder; /* the first that has it, which sets the owner at restart */
	const struct task *owner;  /* or a member of the group; NULL: none */
	int number;                /* of the first descriptor */
	bool renumbered;           /* there are some of other numbers */
	bool numbered;             /* it may send signals with it: no regular file, or a lease */
	/* restart */
	int fd;
	size_t n_expected;
	bool installed; /* its owner has been set, by a task */
	bool async;     /* O_ASYNC is still to be set, by a task */
};

static struct file *live(struct object *object)
{
	if (!object->live) {
		struct file *f = xcalloc(1, sizeof(*f));
		f->fd = -1;
		object->live = f;
	}
	return object->live;
}

/* ---- checkpoint ---- */

/* one descriptor that is being looked at */
struct look {
	struct checkpoint *c;
	const struct task *task;
	int fd, pidfd;
	struct stat st;
	struct proc_fdinfo info;
};

static void refuse_file(struct look *l, struct error *refusal, const char *link)
{
	error_object(refusal, "%s", link);
	error_fd(refusal, l->fd);
	refuse(l->c, l->task, refusal);
}

/* 0, or 1 when `check` finds it closed meanwhile */
static int read_descriptor(struct look *l, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "fdinfo/%d", l->fd);
	int r = task_read(l->task, path, &text, NULL, err);
	if (r >= 0)
		r = proc_fdinfo_parse(text, &l->info, err);
	if (r < 0)
		return !l->c->tracer && r == -ENOENT ? 1 : error_trace(err, r);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", l->task->tgid, l->task->tid, l->fd);
	if (still_stat(AT_FDCWD, path, 0, &l->st) == 0)
		return 0;
	if (!l->c->tracer && errno == ENOENT)
		return 1;
	return error_raise(err, errno, "stat %s", path);
}

/* its object by identity, made if need be */
static int find_object(struct look *l, struct object **ret, bool *ret_new, struct error *err)
{
	struct key key = { .dev = l->st.st_dev,
		           .ino = l->st.st_ino,
		           .position = l->info.pos,
		           .flags = l->info.flags & ~(uint32_t)O_CLOEXEC };
	struct object *first = objects_get(l->c->objects, &file_kind, &key, sizeof(key), NULL);
	struct file *head = live(first);
	struct kcmp_member *member = NULL;
	int r = kcmp_find(&head->group, KCMP_FILE, l->task->tid, (unsigned long)l->fd, &member,
	                  ret_new, err);

	if (r < 0)
		return error_trace(err, r);
	if (*ret_new) {
		key.number = head->n_group++;
		member->value = objects_get(l->c->objects, &file_kind, &key, sizeof(key), NULL);
	}
	*ret = member->value;
	return 0;
}

/*
 * Our own reference. `check` takes none of the description, which would delay a close; one to the
 * inode (O_PATH) delays nothing.
 */
static int take_reference(const struct look *l, int *ret, struct error *err)
{
	char path[64];

	*ret = -1;
	/* a description of FUSE asks its server when we close it; all that comes is a refusal */
	if (l->pidfd >= 0 && !mount_may_wait(l->c, l->st.st_dev)) {
		*ret = (int)syscall(SYS_pidfd_getfd, l->pidfd, l->fd, 0);
		return *ret < 0 ? error_raise(err, errno, "pidfd_getfd") : 0;
	}
	if (!S_ISREG(l->st.st_mode) && !S_ISDIR(l->st.st_mode) && !(l->info.flags & O_PATH))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", l->task->tgid, l->task->tid, l->fd);
	/* O_NOFOLLOW would make it one to the link itself: a symlink behind it is not followed */
	*ret = open(path, O_PATH | O_CLOEXEC);
	return *ret < 0 ? error_raise(err, errno, "open %s", path) : 0;
}

int file_check_flags(uint32_t flags, struct error *err)
{
	uint32_t unknown = flags & ~(KNOWN_FLAGS | O_CLOEXEC);

	return unknown ? error_refuse(err, CODE_file_flags, "its flags %o are not known", unknown)
	               : 0;
}

static void judge_flags(struct look *l, const char *link)
{
	struct error refusal;

	if (file_check_flags(l->info.flags, &refusal) < 0)
		refuse_file(l, &refusal, link);
	if (l->info.unknown[0]) {
		error_refuse(&refusal, CODE_unknown_state,
		             "fdinfo shows \"%s\", which this version does not know",
		             l->info.unknown);
		refuse_file(l, &refusal, link);
	}
}

/* @recorded: the owner's number in the image; 0 outside the set */
static void judge_owner(struct look *l, const struct f_owner_ex *owner, pid_t recorded,
                        const char *link)
{
	struct error refusal;

	if (S_ISDIR(l->st.st_mode)) {
		error_refuse(&refusal, CODE_file_dnotify,
		             "a notification (F_NOTIFY) may be set on it, which cannot be seen");
		refuse_file(l, &refusal, link);
	} else if (owner->pid && !recorded) {
		error_refuse(&refusal, CODE_file_owner,
		             "its signals go to process%s %d, which is outside the set",
		             owner->type == F_OWNER_PGRP ? " group" : "", owner->pid);
		error_hint(&refusal, "let the program take them itself (F_SETOWN) first");
		refuse_file(l, &refusal, link);
	}
}

/* its leader, if that is in the set */
static const struct task *member_of_group(const struct checkpoint *c, pid_t pgrp)
{
	const struct task *leader = checkpoint_task(c, pgrp);

	for (size_t i = 0; !leader && i < c->n_tasks; i++)
		if (c->tasks[i]->stat.pgrp == pgrp)
			leader = c->tasks[i];
	return leader;
}

/* who set it had ids that the task cannot have for a moment */
static void refuse_owner_ids(struct look *l, const char *link)
{
	struct error refusal;

	error_refuse(&refusal, CODE_user_ns_ids,
	             "the owner of an open file (F_SETOWN) was set by a user whom its user "
	             "namespace has no name for");
	error_object(&refusal, "%s", link);
	refuse(l->c, l->task, &refusal);
}

/* who gets signals, and which; only the description itself tells */
static void collect_owner(struct look *l, int fd, const char *link, struct object *object,
                          FileState *s)
{
	struct f_owner_ex owner = { 0 };
	uid_t uids[2] = { 0 };

	if (l->info.flags & O_PATH)
		return;
	if (!l->c->tracer) {
		check_unexamined(l->c, l->task, "owners of open files (F_SETOWN)");
		return;
	}
	int signal = fcntl(fd, F_GETSIG);
	s->signal = signal > 0 ? (uint32_t)signal : 0;
	if (fcntl(fd, F_GETOWN_EX, &owner) < 0 || fcntl(fd, F_GETOWNER_UIDS, uids) < 0)
		return;
	/* all zero as long as nobody has set it */
	if (!owner.pid && !owner.type && !uids[0] && !uids[1])
		return;
	s->owner = xmalloc(sizeof(*s->owner));
	file_owner__init(s->owner);
	s->owner->type = (uint32_t)owner.type;
	pid_t recorded = owner.type == F_OWNER_PGRP ? checkpoint_group(l->c, owner.pid)
	                                            : checkpoint_pid(l->c, owner.pid);
	s->owner->pid = (uint32_t)recorded;
	s->owner->uid = uids[0];
	s->owner->euid = uids[1];
	judge_owner(l, &owner, recorded, link);
	if (!cred_may_be_named(l->task, uids[0]) || !cred_may_be_named(l->task, uids[1]))
		refuse_owner_ids(l, link);
	live(object)->owner = owner.type == F_OWNER_PGRP ? member_of_group(l->c, owner.pid)
	                                                 : checkpoint_task(l->c, owner.pid);
}

/* the number that F_SETFL was called with, which the signal gives (si_fd), is shown nowhere */
static void judge_async(struct checkpoint *c, const struct file *f, const FileState *s)
{
	struct error refusal;

	if (!s || !s->signal || !f->renumbered || !f->numbered)
		return;
	error_refuse(&refusal, CODE_file_async,
	             "it is open under several numbers, and which of them its signals give "
	             "(F_SETSIG) cannot be told");
	error_fd(&refusal, f->number);
	error_hint(&refusal, "let the program close the others, or clear O_ASYNC or the lease");
	refuse(c, f->holder, &refusal);
}

/* who sets it at restart is the first that has the file, by a number of its own pid namespace */
static int file_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct file *f = live(object);
	struct error refusal;

	judge_async(c, f, object_state(object, FileState));
	if (!f->owner || pid_ns_sees(f->holder, f->owner))
		return 0;
	error_refuse(
		&refusal, CODE_file_owner,
		"its signals go to process or group %d, which is in another pid namespace than "
		"the first that has the file open, and not below that",
		f->owner->tid);
	refuse(c, f->holder, &refusal);
	return 0;
}

/* what is no file, and has a name that the user can give */
static int name_anonymous(const struct look *l, const struct descriptor *d, const char **ret_name,
                          struct error *err)
{
	_cleanup_(free_p) char *info = NULL;
	int r = anonymous_read(d, &info, err);

	if (r < 0)
		return error_trace(err, r);
	_cleanup_(free_p) char *key = anonymous_key(d->link, info);
	*ret_name = key ? externals_name(l->c->options->externals, key) : NULL;
	return 0;
}

/*
 * A file that someone outside has open by the same description is a leak, unless the user says that
 * it stays outside: *ret_name. Of what is no file its own kind is the judge; devices without state
 * are nobody's.
 */
static int judge_outside(const struct look *l, const struct descriptor *d, const char **ret_name,
                         struct error *err)
{
	const struct holder *holder = NULL;

	if (!strcmp(d->link, "anon_inode:[eventfd]"))
		return name_anonymous(l, d, ret_name, err);
	*ret_name = NULL;
	if (!S_ISREG(l->st.st_mode) && !S_ISDIR(l->st.st_mode))
		return 0;
	_cleanup_(free_p) char *key = xasprintf("file:[%u:%u:%llu]", major(l->st.st_dev),
	                                        minor(l->st.st_dev),
	                                        (unsigned long long)l->st.st_ino);
	*ret_name = externals_name(l->c->options->externals, key);
	if (*ret_name)
		return 0;
	int r = holders_find_file(l->c, d, &holder, err);
	if (r > 0)
		refuse_leak(l->c, l->task, d->link, key, holder);
	return r < 0 ? error_trace(err, r) : 0;
}

/* what the user supplies again at restart: nothing of it is recorded but the name */
static void describe_external(const struct look *l, const char *name, struct object *object)
{
	FileState *s = xmalloc(sizeof(*s));

	file_state__init(s);
	object->message = &s->base;
	s->external.len = strlen(name);
	s->external.data = (uint8_t *)xstrdup(name);
	s->flags = l->info.flags & ~(uint32_t)O_CLOEXEC;
}

static void describe(struct look *l, int fd, const char *link, struct object *inode,
                     struct object *object)
{
	FileState *s = xmalloc(sizeof(*s));

	file_state__init(s);
	object->message = &s->base;
	s->object = inode->id;
	s->flags = l->info.flags & ~(uint32_t)O_CLOEXEC;
	s->position = (uint64_t)l->info.pos;
	judge_flags(l, link);
	collect_owner(l, fd, link, object, s);
}

/* a description that is seen for the first time; stays without a message when it is refused */
static int examine(struct look *l, struct object *object, struct error *err)
{
	_cleanup_(free_p) char *link = NULL;
	struct object *inode = NULL;
	const char *name = NULL;
	char path[32], what[32];

	snprintf(path, sizeof(path), "fd/%d", l->fd);
	snprintf(what, sizeof(what), "fd %d", l->fd);
	int r = task_readlink(l->task, path, &link, err);
	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int fd = -1;
	r = take_reference(l, &fd, err);
	if (r < 0)
		return error_trace(err, r);
	const struct descriptor d = { .task = l->task,
		                      .fd = l->fd,
		                      .live = fd,
		                      .what = what,
		                      .link = link,
		                      .st = l->st,
		                      .flags = l->info.flags & ~(uint32_t)O_CLOEXEC,
		                      .mnt_id = l->info.mnt_id };
	r = judge_outside(l, &d, &name, err);
	if (r == 0 && name) {
		describe_external(l, name, object);
		return 0;
	}
	if (r == 0)
		r = descriptor_collect(l->c, &d, &inode, err);
	if (r < 0)
		return error_trace(err, r);
	if (inode)
		describe(l, fd, link, inode, object);
	return 0;
}

/*
 * A terminal that was opened by TIOCGPTPEER keeps O_CLOEXEC among its own flags if that was given,
 * and fdinfo shows it for every descriptor of it (fs/proc/fd.c): then only the task can tell.
 */
static int ask_cloexec(const struct look *l, bool *ret, struct error *err)
{
	struct injection call = { .nr = __NR_fcntl, .arg = { (uint64_t)l->fd, F_GETFD } };
	bool is_pts = S_ISCHR(l->st.st_mode) && major(l->st.st_rdev) >= 136 &&
	              major(l->st.st_rdev) <= 143; /* Documentation/admin-guide/devices.txt */

	*ret = l->info.flags & O_CLOEXEC;
	if (!*ret || !is_pts || !l->c->tracer)
		return 0;
	int r = tracer_inject(l->c->tracer, l->task->tid, &call, 1, NULL, err);
	if (r == 0 && call.result < 0)
		r = error_raise(err, (int)-call.result, "F_GETFD");
	*ret = r == 0 && call.result & FD_CLOEXEC;
	return r < 0 ? error_trace(err, r) : 0;
}

static void note_number(struct file *f, const struct look *l, bool first)
{
	if (first) {
		f->holder = l->task;
		f->number = l->fd;
		f->numbered = l->info.flags & O_ASYNC && !S_ISREG(l->st.st_mode);
		for (size_t i = 0; i < l->info.n_locks; i++)
			f->numbered = f->numbered || !strcmp(l->info.locks[i].type, "LEASE");
	}
	f->renumbered = f->renumbered || f->number != l->fd;
}

int file_collect(struct checkpoint *c, const struct task *task, int fd, int pidfd,
                 struct object **ret, bool *ret_cloexec, struct error *err)
{
	struct look l = { .c = c, .task = task, .fd = fd, .pidfd = pidfd };
	struct object *object = NULL;
	bool is_new = false;

	*ret = NULL;
	int r = read_descriptor(&l, err);
	if (r == 0) {
		r = find_object(&l, &object, &is_new, err);
		if (r == 0 && is_new)
			r = examine(&l, object, err);
		if (r == 0)
			note_number(live(object), &l, is_new);
	}
	if (r == 0)
		r = ask_cloexec(&l, ret_cloexec, err);
	if (r == 0 && object && object->message && l.info.n_locks)
		lock_collect(c, task, fd, object, &l.info);
	proc_fdinfo_done(&l.info);
	/* the tasks run on while `check` looks: what has gone meanwhile is not an error */
	if (r < 0 && !c->tracer && (r == -ENOENT || r == -EBADF || r == -ESRCH))
		return 0;
	if (r < 0) {
		error_fd(err, fd);
		return error_trace(err, r);
	}
	if (object && object->message)
		*ret = object;
	return 0;
}

/* ---- restart ---- */

static int validate_external(const FileState *s, struct error *err)
{
	if (s->object || s->owner || s->signal || s->position || s->flags & ~KNOWN_FLAGS ||
	    s->external.len > 64 || bytes_have_nul(&s->external))
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
	if (s->flags & ~KNOWN_FLAGS || s->position > INT64_MAX || s->signal > N_SIGNALS)
		return error_raise(err, EBADMSG, "flags %o, position %llu, signal %u", s->flags,
		                   (unsigned long long)s->position, s->signal);
	if (s->owner && (s->owner->type > F_OWNER_PGRP || s->owner->pid > INT32_MAX))
		return error_raise(err, EBADMSG, "owner %u of type %u", s->owner->pid,
		                   s->owner->type);
	if (s->flags & O_PATH && (s->position || s->owner || s->signal))
		return error_raise(err, EBADMSG, "an O_PATH file with a position");
	return 0;
}

static char *external_name(const FileState *s)
{
	return xasprintf("%.*s", (int)s->external.len, (const char *)s->external.data);
}

static int file_preflight(struct restart *r, struct object *object, struct error *err)
{
	const FileState *s = object_state(object, FileState);
	_cleanup_(free_p) char *name = external_name(s);

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
	_cleanup_(free_p) char *name = external_name(s);
	int e = externals_open(r->options->externals, name, (int)(s->flags & ~UNNAMED), ret_fd,
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
		live(object)->async = true;
		if (fcntl(*fd, F_SETFL, (int)(s->flags & ~(uint32_t)O_ASYNC)) < 0)
			return error_raise(err, errno, "F_SETFL");
		return 0;
	}
	close_p(fd);
	return open_file(r, s, s->flags, fd, err);
}

static int set_up(const FileState *s, int fd, struct error *err)
{
	/* LARGEFILE: forced upon 64-bit callers; O_TMPFILE: see regfile_open() */
	uint32_t ignored = O_ASYNC | LARGEFILE | (s->flags & UNNAMED ? O_TMPFILE : 0);
	uint32_t flags = (uint32_t)fcntl(fd, F_GETFL);

	if ((flags ^ s->flags) & ~ignored)
		return error_raise(err, EINVAL, "opened with flags %o it has %o", s->flags, flags);
	if (s->position && lseek(fd, (off_t)s->position, SEEK_SET) != (off_t)s->position)
		return error_raise(err, errno, "move it to position %llu",
		                   (unsigned long long)s->position);
	if (s->signal && fcntl(fd, F_SETSIG, (int)s->signal) < 0)
		return error_raise(err, errno, "F_SETSIG %u", s->signal);
	return 0;
}

void file_expect(struct object *object)
{
	live(object)->n_expected++;
}

static int make_file(struct restart *r, struct object *object, int *ret_fd, struct error *err)
{
	const FileState *s = object_state(object, FileState);
	_cleanup_(close_p) int fd = -1;
	int e = open_file(r, s, s->flags & ~(uint32_t)O_ASYNC, &fd, err);

	if (e == 0)
		e = find_async(r, object, &fd, err);
	if (e == 0)
		e = set_up(s, fd, err);
	if (e < 0)
		return error_trace(err, e);
	*ret_fd = take_fd(&fd);
	return 0;
}

int file_get(struct restart *r, struct object *object, int *ret_fd, struct error *err)
{
	const FileState *s = object_state(object, FileState);
	struct file *f = live(object);
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
	struct file *f = live(object);

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
	struct file *f = live(object);

	if (f->installed)
		return;
	f->installed = true;
	if (s->owner)
		set_owner(r, stub, s->owner, fd);
}

void file_commit(struct object *object, struct calls *calls, int fd)
{
	const FileState *s = object_state(object, FileState);
	struct file *f = live(object);

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
