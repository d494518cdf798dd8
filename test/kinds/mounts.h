/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects with mounts share. */
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "text.h"

/* into a mount namespace of its own, into and out of which nothing propagates */
static inline void private_mounts(void)
{
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

/* the directory is made where there is none */
static inline void mount_tmpfs(const char *path, const char *options)
{
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	CHECK(mount("stasis-test", path, "tmpfs", 0, options) == 0);
}

static inline void bind_mount(const char *from, const char *to)
{
	CHECK(mount(from, to, NULL, MS_BIND, NULL) == 0);
}

/* of a user namespace that this task has just made */
static inline void map_root(void)
{
	write_text("/proc/self/uid_map", "0 0 1");
	write_text("/proc/self/setgroups", "deny");
	write_text("/proc/self/gid_map", "0 0 1");
}

/* a task in new user, mount and pid namespaces, whose child, init there, does @inside */
static inline pid_t in_owned(void (*inside)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	CHECK(unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUSER) == 0);
	map_root();
	pid_t init = fork();
	CHECK(init >= 0);
	if (init == 0) {
		CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
		inside();
		_exit(3);
	}
	subject_check_exit(init, 3);
	_exit(3);
}

/* a user namespace that nobody is in */
static inline int empty_user_ns(const char *uid_map, const char *gid_map)
{
	char path[64];
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(unshare(CLONE_NEWUSER) == 0);
		subject_mark("unshared");
		subject_wait("mapped");
		_exit(0);
	}
	subject_wait("unshared");
	write_proc(pid, "uid_map", uid_map);
	write_proc(pid, "gid_map", gid_map);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	subject_mark("mapped");
	subject_check_exit(pid, 0);
	CHECK(unlink("mapped") == 0 && unlink("unshared") == 0);
	return fd;
}
