/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the subjects of the kinds tests share. A subject sets one thing up, says that it is ready,
 * waits (it is checkpointed and restarted meanwhile) and then checks the thing itself. It runs in
 * an empty directory of its own; "ready" and "go" are files there. Exit status: 0 pass, 1 fail, 77
 * skip.
 *
 * The runner (test/run) finds the tests of a file in its comments: see test/README.md.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAIL(...)                                               \
	do {                                                    \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
		fprintf(stderr, __VA_ARGS__);                   \
		fputc('\n', stderr);                            \
		_exit(1);                                       \
	} while (0)

/* fails the test with the text of the condition and errno */
#define CHECK(condition)                                                                   \
	do {                                                                               \
		if (!(condition))                                                          \
			FAIL("%s does not hold (errno: %s)", #condition, strerror(errno)); \
	} while (0)

#define CHECK_EQ(a, b)                                                                           \
	do {                                                                                     \
		long long _a = (long long)(a), _b = (long long)(b);                              \
		if (_a != _b)                                                                    \
			FAIL("%s is %lld (0x%llx), expected %s = %lld (0x%llx)", #a, _a, _a, #b, \
			     _b, _b);                                                            \
	} while (0)

#define SKIP(...)                             \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		_exit(77);                    \
	} while (0)

/* this file exists now */
static inline void subject_mark(const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "%s.%d", name, (int)getpid());
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	close(fd); /* not open any more when it is seen */
	CHECK(rename(path, name) == 0);
}

/* waits until the file exists: across checkpoint and restart */
static inline void subject_wait(const char *name)
{
	while (access(name, F_OK) < 0)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* everything is set up: be checkpointed and restarted now; returns afterwards */
static inline void subject_checkpoint(void)
{
	subject_mark("ready");
	subject_wait("go");
}

/* in children and threads of the subject: wait until it is over */
static inline void subject_wait_go(void)
{
	subject_wait("go");
}

/* waits until a task sleeps in this system call */
static inline void subject_wait_call(pid_t tid, long nr)
{
	char path[40], text[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
	for (;;) {
		FILE *f = fopen(path, "re");
		CHECK(f);
		bool sleeps = fgets(text, sizeof(text), f) && text[0] != 'r' && atol(text) == nr;
		fclose(f);
		if (sleeps)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
}

/* waits for this child (-1: any), which must exit with @code */
static inline void subject_check_exit(pid_t pid, int code)
{
	int status;

	CHECK(waitpid(pid, &status, __WALL) > 0 && WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), code);
}

/* options for the stasis commands that only the subject knows, e.g. "--external pipe:[7]=p" */
static inline void subject_options(const char *command, const char *format, ...)
{
	char name[64];
	va_list ap;

	snprintf(name, sizeof(name), "%s.options", command);
	FILE *f = fopen(name, "ae");
	CHECK(f);
	va_start(ap, format);
	vfprintf(f, format, ap);
	va_end(ap);
	fputc('\n', f);
	fclose(f);
}
