/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open file descriptions at checkpoint.
 *
 * Identity: candidates have the same inode, flags and position; among these kcmp(2) decides. The
 * first object of such a group keeps the group's sorted set, so that no two files are compared that
 * cannot be the same.
 *
 * Not seen by anybody, hence not kept: posix_fadvise(2) and read-ahead, which change speed only,
 * and the credentials of who opened it, which become the coordinator's (where they matter: kind
 * pseudo).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "kind/anonymous.h"
#include "kind/cred.h"
#include "kind/file.h"
#include "kind/file/listing.h"
#include "kind/file/parts.h"
#include "kind/lock.h"
#include "kind/mount.h"
#include "kind/pid_ns.h"
#include "proc/fdinfo.h"
#include "task/holders.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/still.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

/* what candidates have in common; the rest of an object's key is its number within the group */
struct key {
	uint64_t dev, ino;
	int64_t position;
	uint32_t flags, number;
};

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
	struct file *head = file_live(first);
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
static int take_reference(const struct look *l, const char *link, int *ret, bool *ret_by_path,
                          struct error *err)
{
	char path[64];

	*ret = -1;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", l->task->tgid, l->task->tid, l->fd);
	/* a description of FUSE asks its server when we close it; all that comes is a refusal */
	bool has_place = l->st.st_mode & S_IFMT && !S_ISSOCK(l->st.st_mode);
	bool may_wait = has_place && mount_may_wait(l->c, l->st.st_dev, path);
	if (l->pidfd >= 0 && !may_wait) {
		*ret = (int)syscall(SYS_pidfd_getfd, l->pidfd, l->fd, 0);
		return *ret < 0 ? error_raise(err, errno, "pidfd_getfd") : 0;
	}
	bool is_file = S_ISREG(l->st.st_mode) || S_ISDIR(l->st.st_mode);
	if ((link[0] != '/' || may_wait) && !(l->info.flags & O_PATH) && !is_file)
		return 0;
	*ret_by_path = true;
	/* O_NOFOLLOW would make it one to the link itself: a symlink behind it is not followed */
	*ret = open(path, O_PATH | O_CLOEXEC);
	return *ret < 0 ? error_raise(err, errno, "open %s", path) : 0;
}

int file_check_flags(uint32_t flags, struct error *err)
{
	uint32_t unknown = flags & ~(FILE_FLAGS_KNOWN | O_CLOEXEC);

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
		check_unexamined(l->c, l->task, "owners of open files (F_SETOWN)", CODE_file_owner,
		                 CODE_file_async, CODE_file_dnotify);
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
	file_live(object)->owner = owner.type == F_OWNER_PGRP ? checkpoint_member(l->c, owner.pid)
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
int file_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct file *f = file_live(object);
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

/* the tasks run on while `check` looks: that a directory cannot be listed by then is no error */
static int note_listing(struct look *l, int fd, const char *link, const struct object *inode,
                        FileState *s, struct error *err)
{
	struct error refusal = ERROR_INIT;
	int r = file_listing_note(l->c, fd, inode, s, &refusal);

	if (r == -EOPNOTSUPP && refusal.code != CODE_NONE)
		refuse_file(l, &refusal, link);
	else if (r < 0 && l->c->tracer)
		return *err = refusal, error_trace(err, r);
	return 0;
}

static int describe(struct look *l, int fd, const char *link, struct object *inode,
                    struct object *object, struct error *err)
{
	FileState *s = xmalloc(sizeof(*s));

	file_state__init(s);
	object->message = &s->base;
	s->object = inode->id;
	s->flags = l->info.flags & ~(uint32_t)O_CLOEXEC;
	s->position = (uint64_t)l->info.pos;
	judge_flags(l, link);
	collect_owner(l, fd, link, object, s);
	return note_listing(l, fd, link, inode, s, err);
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
	bool by_path = false;
	r = take_reference(l, link, &fd, &by_path, err);
	if (r < 0)
		return error_trace(err, r);
	const struct descriptor d = { .task = l->task,
		                      .fd = l->fd,
		                      .live = fd,
		                      .by_path = by_path,
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
	return inode ? describe(l, fd, link, inode, object, err) : 0;
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
			note_number(file_live(object), &l, is_new);
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
