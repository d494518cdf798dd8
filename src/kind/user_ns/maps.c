/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces. See maps.h. Maps are files of a process: for each of the two a child of a helper
 * is in the namespace and waits to be ended. The ids in such a file are those of the namespace that
 * its opener is in; the kernel takes a map only from one who is in the parent, or in itself.
 */
#include "kind/user_ns/maps.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/features.h"
#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

enum { CAP_SETPCAP_NUMBER = 8 };

/* ---- a child that is in the namespace, and does nothing ---- */

static void __attribute__((noreturn)) wait_for_end(void)
{
	for (;;)
		pause();
}

/* its number as its maker has it, and as /proc has it, which may be of another pid namespace */
struct child {
	pid_t pid, seen;
};

static void end_child(struct child *child)
{
	if (child->pid <= 0)
		return;
	kill(child->pid, SIGKILL);
	while (waitpid(child->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* what the child tells: a negative errno, or its number in /proc */
static int child_enter(int nsfd)
{
	char text[16] = "";

	prctl(PR_SET_NAME, "stasis-helper");
	if (nsfd >= 0 && setns(nsfd, CLONE_NEWUSER) < 0)
		return -errno;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* other credentials have cleared it */
	return readlink("/proc/self", text, sizeof(text) - 1) < 0 ? -errno : atoi(text);
}

/*
 * @nsfd: the namespace to enter; -1: a new one below this process'. It dies with this one. All that
 * others may not see of us, they do not see of it: entering makes it undumpable.
 */
static int start_child(int nsfd, struct child *ret, struct error *err)
{
	int pair[2], answer = -ECHILD;

	*ret = (struct child){ 0 };
	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_raise(err, errno, "make a pipe");
	ret->pid = (pid_t)syscall(SYS_clone, SIGCHLD | (nsfd < 0 ? CLONE_NEWUSER : 0), 0, 0, 0, 0);
	if (ret->pid == 0) {
		answer = child_enter(nsfd);
		if (write(pair[1], &answer, sizeof(answer)) == sizeof(answer))
			wait_for_end();
		_exit(1);
	}
	if (ret->pid < 0)
		answer = -errno;
	close_p(&pair[1]);
	if (ret->pid > 0 && read(pair[0], &answer, sizeof(answer)) != sizeof(answer))
		answer = -ECHILD;
	close_p(&pair[0]);
	ret->seen = answer;
	return answer > 0
	               ? 0
	               : error_raise(err, -answer,
	                             nsfd < 0 ? "make a user namespace" : "enter a user namespace");
}

/* ---- reading ---- */

static int read_file(pid_t pid, const char *name, char **ret, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/%s", pid, name);
	ssize_t size = file_read(AT_FDCWD, path, ret);

	return size < 0 ? error_raise(err, (int)-size, "read %s", path) : 0;
}

static int read_map(pid_t pid, const char *name, struct id_map *ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	int r = read_file(pid, name, &text, err);

	if (r < 0)
		return error_trace(err, r);
	if (!id_map_parse(text, ret))
		return error_refuse(err, CODE_user_ns_ids,
		                    "its %s has ids that the user namespace of stasis has not",
		                    name);
	return 0;
}

struct reading {
	int nsfd;
	struct user_ns_data data;
};

static int read_in_helper(void *arg, struct error *err)
{
	struct reading *reading = arg;
	struct user_ns_data *d = &reading->data;
	_cleanup_(end_child) struct child child = { 0 };
	int r = start_child(reading->nsfd, &child, err);
	_cleanup_(free_p) char *setgroups = NULL;
	uid_t owner;

	if (r < 0)
		return error_trace(err, r);
	if (ioctl(reading->nsfd, NS_GET_OWNER_UID, &owner) < 0)
		return error_raise(err, errno, "ask who owns a user namespace");
	d->owner = owner;
	r = read_map(child.seen, "uid_map", &d->uid, err);
	if (r == 0)
		r = read_map(child.seen, "gid_map", &d->gid, err);
	if (r == 0)
		r = read_map(child.seen, "projid_map", &d->projid, err);
	if (r == 0)
		r = read_file(child.seen, "setgroups", &setgroups, err);
	if (r < 0)
		return error_trace(err, r);
	d->setgroups_denied = strncmp(setgroups, "allow", 5) != 0;
	if (setns(reading->nsfd, CLONE_NEWUSER) < 0)
		return error_raise(err, errno, "enter a user namespace");
	r = user_limits_read(&d->limits, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int user_ns_read(int nsfd, struct user_ns_data *ret, struct error *err)
{
	struct reading reading = { .nsfd = nsfd };
	int r = helper_run(read_in_helper, &reading, sizeof(reading), err);

	if (r < 0)
		return error_trace(err, r);
	*ret = reading.data;
	return 0;
}

/* ---- making ---- */

static int write_file(pid_t pid, const char *name, const char *text, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/%s", pid, name);
	int r = *text ? file_write(path, err, "%s", text) : 0;

	return r < 0 ? error_trace(err, r) : 0;
}

static int write_map(pid_t pid, const char *name, const struct id_map *map,
                     const struct id_map *parent, struct error *err)
{
	_cleanup_(free_p) char *text = id_map_text(map, parent);

	return write_file(pid, name, text, err);
}

struct making {
	const struct user_ns_data *data, *parent;
	int parent_fd;
};

/* the owner is who makes it, whose ids must have a name in the parent */
static int become_owner(const struct making *m, struct error *err)
{
	uint32_t gid = m->parent && m->parent->gid.n ? m->parent->gid.ranges[0].outside : getegid();

	if (features_capability_now(CAP_SETPCAP_NUMBER) &&
	    prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP) < 0)
		return error_raise(err, errno, "keep capabilities under other user ids");
	if ((gid != getegid() && syscall(SYS_setresgid, gid, gid, gid) < 0) ||
	    (m->data->owner != geteuid() &&
	     syscall(SYS_setresuid, m->data->owner, m->data->owner, m->data->owner) < 0))
		return error_raise(err, errno, "become user %u, who owns a user namespace",
		                   m->data->owner);
	if (m->parent_fd >= 0 && setns(m->parent_fd, CLONE_NEWUSER) < 0)
		return error_raise(err, errno, "enter the user namespace above a new one");
	/* else the files of the child would be root's */
	if (prctl(PR_SET_DUMPABLE, 1) < 0)
		return error_raise(err, errno, "become dumpable");
	return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* in the parent of the new one; returns its descriptor */
static int make_in_helper(void *arg, struct error *err)
{
	const struct making *m = arg;
	const struct user_ns_data *d = m->data, *up = m->parent;
	int r = become_owner(m, err);
	_cleanup_(end_child) struct child child = { 0 };

	if (r == 0)
		r = start_child(-1, &child, err);
	if (r < 0)
		return error_trace(err, r);
	if (d->setgroups_denied)
		r = write_file(child.seen, "setgroups", "deny", err);
	if (r == 0)
		r = write_map(child.seen, "uid_map", &d->uid, up ? &up->uid : NULL, err);
	if (r == 0)
		r = write_map(child.seen, "gid_map", &d->gid, up ? &up->gid : NULL, err);
	if (r == 0)
		r = write_map(child.seen, "projid_map", &d->projid, up ? &up->projid : NULL, err);
	if (r < 0)
		return error_trace(err, r);
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/user", child.seen);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open a new user namespace") : fd;
}

int user_ns_make(const struct user_ns_data *data, int parent_fd, const struct user_ns_data *parent,
                 int *ret_fd, struct error *err)
{
	struct making m = { data, parent, parent_fd };
	int fd = helper_run(make_in_helper, &m, sizeof(m), err);

	if (fd < 0)
		return error_trace(err, fd);
	*ret_fd = fd;
	return 0;
}
