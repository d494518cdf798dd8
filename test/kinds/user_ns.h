/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects with user namespaces share: who they are, before and after. */
#pragma once

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cases.h"
#include "text.h"

static inline const char *read_proc(const char *name)
{
	static _Thread_local char text[1 << 14]; /* threads look at the same time */
	char path[320];
	size_t n = 0;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	while ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	close(fd);
	return text;
}

/* into a new one, whose maps one who stays behind writes; NULL: not at all */
static inline void enter_user_ns(const char *users, const char *groups)
{
	int pair[2][2];
	pid_t self = getpid();
	char byte;

	CHECK(pipe2(pair[0], O_CLOEXEC) == 0 && pipe2(pair[1], O_CLOEXEC) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(read(pair[0][0], &byte, 1) == 1);
		if (users)
			write_proc(self, "uid_map", users);
		if (groups)
			write_proc(self, "gid_map", groups);
		_exit(0);
	}
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	CHECK(write(pair[0][1], "", 1) == 1);
	subject_check_exit(pid, 0);
	for (int i = 0; i < 4; i++)
		close(pair[i / 2][i % 2]);
}

/* as one without privileges does */
static inline void map_self(const char *users, const char *groups)
{
	write_proc(getpid(), "setgroups", "deny");
	write_proc(getpid(), "uid_map", users);
	write_proc(getpid(), "gid_map", groups);
}

/* how many of what there may be in this process' namespace */
static inline void show_limits(char text[1 << 15])
{
	struct dirent **names;
	int n = scandir("/proc/sys/user", &names, NULL, alphasort);

	CHECK(n > 2);
	for (int i = 0; i < n; i++) {
		char path[sizeof("../sys/user/") + sizeof(names[i]->d_name)];
		snprintf(path, sizeof(path), "../sys/user/%s", names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			strcat(strcat(text, names[i]->d_name), read_proc(path));
		free(names[i]);
	}
	free(names);
}

/* who made the namespace that this process is in, as the initial one has it; seen from there */
static inline void show(char text[1 << 15])
{
	static const char *const files[] = { "uid_map", "gid_map", "projid_map", "setgroups" };
	static const char *const keys[] = { "Uid:",    "Gid:",    "Groups:", "CapInh:",
		                            "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:" };
	char line[4096];

	*text = 0;
	for (size_t i = 0; i < 4; i++)
		strcat(strcat(text, files[i]), read_proc(files[i]));
	show_limits(text);
	FILE *f = fopen("/proc/thread-self/status", "re");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (!strncmp(line, keys[i], strlen(keys[i])))
				strcat(text, line);
	fclose(f);
	snprintf(text + strlen(text), 64, "securebits %x\n", prctl(PR_GET_SECUREBITS));
}

static inline void open_directory(void)
{
	CHECK(chmod(".", 0777) == 0);
}

static char before[1 << 15], after[1 << 15];

static inline void check_same(void)
{
	show(after);
	if (strcmp(before, after) != 0)
		FAIL("before:\n%safter:\n%s", before, after);
}

static inline void round_trip(void)
{
	show(before);
	prctl(PR_SET_DUMPABLE, 1);
	subject_checkpoint();
	check_same();
}

static inline void become(uid_t id)
{
	CHECK(syscall(SYS_setgroups, 0, NULL) == 0);
	CHECK(syscall(SYS_setresgid, id, id, id) == 0);
	CHECK(syscall(SYS_setresuid, id, id, id) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

/* runs @fn in a child that is set up when this returns */
static inline pid_t start(const char *name, void (*fn)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		fn();
		show(before);
		prctl(PR_SET_DUMPABLE, 1);
		subject_mark(name);
		subject_wait_go();
		check_same();
		_exit(0);
	}
	subject_wait(name);
	return pid;
}

static inline void nothing(void)
{
}
