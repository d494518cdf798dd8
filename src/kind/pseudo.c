/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in which the kernel shows itself: the restart. See pseudo.h. */
#include "kind/pseudo.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/restart.h"
#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "kind/place.h"
#include "kind/pseudo/parts.h"
#include "mount.pb-c.h"
#include "proc/stat.h"
#include "superblock.pb-c.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const PseudoState *s = object_state(object, PseudoState);

	if (!place_valid(objects, s->mount, &s->path) || !pseudo_fs(s->magic))
		return error_raise(err, EBADMSG, "a file of a file system of type %x", s->magic);
	if (s->type != S_IFREG && s->type != S_IFDIR && s->type != S_IFLNK)
		return error_raise(err, EBADMSG, "a file of type %o", s->type);
	if (!s->opener || s->opener > INT32_MAX || s->task > INT32_MAX ||
	    s->directory > s->path.len || !s->task != !s->directory)
		return error_raise(err, EBADMSG, "opened by task %u, of task %u", s->opener,
		                   s->task);
	if (s->notice > PSEUDO_STATE__NOTICE__NAMES ||
	    (s->notice == PSEUDO_STATE__NOTICE__MOUNTS && !s->task))
		return error_raise(err, EBADMSG, "a file with news of sort %d", (int)s->notice);
	return 0;
}

/* a proc of our own pid namespace */
static bool is_ours(const struct restart *r, uint32_t mount)
{
	const MountState *m = object_state(objects_by_id(r->objects, mount), MountState);

	return !object_state(objects_by_id(r->objects, m->superblock), SuperblockState)->key;
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	const PseudoState *s = object_state(object, PseudoState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	bool all = features_capability(CAP_SYS_ADMIN);

	if (s->task && s->mount && r->options->new_pidns && is_ours(r, s->mount))
		error_refuse(err, CODE_pseudo_task,
		             "with --new-pidns this /proc shows task %u under another number",
		             s->task);
	else if ((s->notice == PSEUDO_STATE__NOTICE__MOUNTS && !s->mount && !all) ||
	         (s->notice == PSEUDO_STATE__NOTICE__NAMES && !all && !r->own_user))
		error_refuse(err, CODE_pseudo_notice,
		             "it tells of changes, and making it tell of one needs CAP_SYS_ADMIN");
	else
		return 0;
	error_object(err, "%s", path);
	return -EOPNOTSUPP;
}

/* ---- opening it ---- */

/* object->live */
struct pseudo {
	int keep; /* opened before something was mounted over it, O_PATH; -1 */
};

struct opening {
	const PseudoState *s;
	char *path;       /* owned */
	size_t directory; /* bytes of it that lead to the directory of a task */
	int base, keep;
	uint32_t flags;
	const struct stub *opener, *task;
};

static char *ns_path(const struct stub *stub, const char *link)
{
	return xasprintf("/proc/%d/ns/%s", stub->host_tid, link);
}

/* what is looked up in proc depends on these of who does, and so does what is read later */
static const char *const views[] = { "cgroup", "ipc", "net", "user" };
#define N_VIEWS (sizeof(views) / sizeof(views[0]))

/* how many user namespaces that we may ask for own it, one above the other */
static unsigned depth(int nsfd)
{
	int owner = ioctl(nsfd, NS_GET_USERNS);
	unsigned n = 0;

	for (; owner >= 0; n++) {
		int above = ioctl(owner, NS_GET_PARENT);
		close(owner);
		owner = above;
	}
	return n;
}

/* those of upper user namespaces first: from below there is no way to them */
static int enter_view(const struct stub *opener, const int fds[N_VIEWS], struct error *err)
{
	unsigned depths[N_VIEWS], deepest = 0;

	for (size_t i = 0; i < N_VIEWS; i++) {
		depths[i] = fds[i] < 0 ? 0 : depth(fds[i]);
		deepest = depths[i] > deepest ? depths[i] : deepest;
	}
	for (unsigned d = 0; d <= deepest; d++)
		for (size_t i = 0; i < N_VIEWS; i++)
			if (fds[i] >= 0 && depths[i] == d && namespace_enter(fds[i], 0) < 0)
				return error_raise(err, errno, "enter the %s namespace of %d",
				                   views[i], opener->tid);
	return 0;
}

/* whether the directory is that of the task: its number alone does not tell */
static int check_task(const struct opening *o, struct error *err)
{
	_cleanup_(free_p) char *folder = xstrndup(o->path, o->directory), *there = NULL;
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/stat", o->task->host_tid), *own = NULL;
	_cleanup_(close_p) int dir = place_open(o->base, folder, O_PATH | O_DIRECTORY);
	struct proc_stat a, b;

	if (dir < 0 || file_read(dir, "stat", &there) < 0 || file_read(AT_FDCWD, path, &own) < 0)
		return error_raise(err, ESRCH, "%s is not there", folder);
	int e = proc_stat_parse(there, &a, err);
	if (e == 0)
		e = proc_stat_parse(own, &b, err);
	if (e == 0 && a.starttime != b.starttime)
		e = error_raise(err, ESTALE, "%s is of another task", folder);
	return e < 0 ? error_trace(err, e) : 0;
}

/* O_PATH, what it should be: looked at before anything is opened that might block */
static int find(const struct opening *o, struct error *err)
{
	_cleanup_(close_p) int fd = o->keep < 0 ? place_open(o->base, o->path, O_PATH | O_NOFOLLOW)
	                                        : fcntl(o->keep, F_DUPFD_CLOEXEC, 3);
	struct statfs fs;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return error_raise(err, errno, "open %s", o->path);
	if ((uint32_t)fs.f_type != o->s->magic || (st.st_mode & S_IFMT) != o->s->type)
		return error_raise(err, ESTALE, "%s is another file", o->path);
	return take_fd(&fd);
}

static int open_checked(const struct opening *o, struct error *err)
{
	_cleanup_(close_p) int found = find(o, err);
	char link[40];
	int fd;

	if (found < 0)
		return error_trace(err, found);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", found);
	if (o->keep < 0 && o->flags & (O_PATH | O_NOFOLLOW))
		fd = place_open(o->base, o->path, (int)o->flags);
	else
		fd = open(link, (int)(o->flags & ~(uint32_t)O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open %s with flags %o", o->path, o->flags) : fd;
}

struct visit {
	const struct opening *o;
	int fds[N_VIEWS];
};

static int open_there(void *arg, struct error *err)
{
	const struct visit *v = arg;
	int e = enter_view(v->o->opener, v->fds, err);

	return e < 0 ? error_trace(err, e) : open_checked(v->o, err);
}

/* in a helper if the opener is in other namespaces than we are */
static int open_as_opener(const struct opening *o, struct error *err)
{
	struct visit v = { o, { -1, -1, -1, -1 } };
	bool other = false;
	int e = 0;

	for (size_t i = 0; e == 0 && i < N_VIEWS; i++) {
		_cleanup_(free_p) char *path = ns_path(o->opener, views[i]);
		v.fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (v.fds[i] < 0)
			e = error_raise(err, errno, "open %s", path);
		else if (namespace_is_own(v.fds[i], views[i]))
			close_p(&v.fds[i]);
		else
			other = true;
	}
	if (e == 0)
		e = other ? helper_run_here(open_there, &v, err) : open_checked(o, err);
	for (size_t i = 0; i < N_VIEWS; i++)
		close_p(&v.fds[i]);
	return e < 0 ? error_trace(err, e) : e;
}

/* ---- news ---- */

/* a mount of the namespace is given a flag that it has: all who wait for a change of it wake */
static int touch_mounts(void *arg, struct error *err)
{
	const int *nsfd = arg;
	struct mount_attr attr = { 0 };
	struct statvfs st;

	if (namespace_enter(*nsfd, 0) < 0)
		return error_raise(err, errno, "enter the mount namespace");
	if (statvfs("/", &st) < 0)
		return error_raise(err, errno, "look at /");
	/* file systems have no such flag of their own, which could be taken for the mount's */
	*(st.f_flag & ST_NODIRATIME ? &attr.attr_set : &attr.attr_clr) = MOUNT_ATTR_NODIRATIME;
	if (mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) < 0)
		return error_raise(err, errno, "set a flag that / of a mount namespace has");
	return 0;
}

/* the name of a namespace that nobody else sees; the kernel tells those who wait for any */
static int touch_names(void *arg, struct error *err)
{
	struct utsname names;

	if (unshare(CLONE_NEWUTS) < 0 || uname(&names) < 0 ||
	    sethostname(names.nodename, strlen(names.nodename)) < 0 ||
	    setdomainname(names.domainname, strlen(names.domainname)) < 0)
		return error_raise(err, errno, "set the name of a namespace of our own");
	return 0;
}

/* what was news before, and may have been, is news again */
static int make_news(const struct opening *o, int fd, struct error *err)
{
	char byte;

	if (o->flags & O_PATH)
		return 0;
	if (o->s->notice == PSEUDO_STATE__NOTICE__NAMES)
		return helper_run_here(touch_names, NULL, err);
	if (o->s->notice == PSEUDO_STATE__NOTICE__MOUNTS && o->task) {
		_cleanup_(free_p) char *path = ns_path(o->task, "mnt");
		_cleanup_(close_p) int nsfd = open(path, O_RDONLY | O_CLOEXEC);
		return nsfd < 0 ? error_raise(err, errno, "open %s", path)
		                : helper_run_here(touch_mounts, &nsfd, err);
	}
	if (o->s->notice == PSEUDO_STATE__NOTICE__NONE && o->s->type == S_IFREG &&
	    pseudo_has_news(pseudo_fs(o->s->magic), fd) && pread(fd, &byte, 1, 0) < 0)
		return error_raise(err, errno, "read %s", o->path);
	return 0;
}

/*
 * In our own /proc the task may have another number now. The directory's name is that of a process
 * or thread, or of a thread below its process.
 */
static void rename_task(struct opening *o)
{
	_cleanup_(free_p) char *folder = xstrndup(o->path, o->directory), *old = o->path;
	char *last = strrchr(folder, '/'), thread[32] = "";
	size_t task = strlen("/task"), size = last ? (size_t)(last - folder) : 0;
	bool below = size > task && !strncmp(folder + size - task, "/task", task);

	folder[below ? size - task : size] = 0;
	if (below) {
		snprintf(thread, sizeof(thread), "/task/%d", o->task->host_tid);
		last = strrchr(folder, '/');
		folder[last ? last - folder : 0] = 0;
	}
	pid_t pid = (below ? o->task->leader : o->task)->host_tid;
	o->path = xasprintf("%s/%d%s%s", folder, pid, thread, old + o->directory);
	o->directory = strlen(o->path) - strlen(old + o->directory);
}

static struct opening opening_of(struct restart *r, const struct object *object)
{
	const PseudoState *s = object_state(object, PseudoState);
	const struct pseudo *live = object->live;

	return (struct opening){ .s = s,
		                 .path = bytes_text(&s->path),
		                 .directory = s->directory,
		                 .base = place_base(r, s->mount),
		                 .keep = live ? live->keep : -1,
		                 .opener = restart_stub(r, (pid_t)s->opener),
		                 .task = s->task ? restart_stub(r, (pid_t)s->task) : NULL };
}

static int keep(struct object *object, const struct opening *o, struct error *err)
{
	int fd = find(o, err);

	if (fd < 0)
		return error_trace(err, fd);
	struct pseudo *live = object->live = xmalloc(sizeof(*live));
	live->keep = fd;
	return 0;
}

/* what will be covered is opened before that */
static int restore(struct restart *r, struct object *object, struct error *err)
{
	struct opening o = opening_of(r, object);
	int e = 0;

	if (place_is_covered(r, o.s->mount, o.path))
		e = o.base == PLACE_NOT_YET ? RESTORE_LATER : keep(object, &o, err);
	free(o.path);
	return e < 0 ? error_trace(err, e) : e;
}

static void release(struct object *object)
{
	struct pseudo *live = object->live;

	if (live)
		close_p(&live->keep);
	free(live);
	object->live = NULL;
}

/* the descriptor, or an error */
static int open_it(struct opening *o, struct error *err)
{
	int e = 0;

	if (!o->opener || (o->s->task && !o->task))
		return error_raise(err, EBADMSG, "%s: task %u or %u is not there", o->path,
		                   o->s->opener, o->s->task);
	if (o->task && !o->s->mount)
		rename_task(o);
	if (o->task)
		e = check_task(o, err);
	_cleanup_(close_p) int fd = e < 0 ? e : open_as_opener(o, err);
	if (fd >= 0)
		e = make_news(o, fd, err);
	return e < 0 ? error_trace(err, e) : take_fd(&fd);
}

static int pseudo_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                       struct error *err)
{
	struct opening o = opening_of(r, object);

	o.flags = flags;
	*ret_fd = open_it(&o, err);
	free(o.path);
	return *ret_fd < 0 ? error_trace(err, *ret_fd) : 0;
}

const struct kind pseudo_kind = {
	.name = "pseudo",
	.number = 29,
	.message = &pseudo_state__descriptor,
	.validate = validate,
	.preflight = preflight,
	.restore = restore,
	.release = release,
	.claims = pseudo_claims,
	.collect_descriptor = pseudo_collect_descriptor,
	.open = pseudo_open,
};
