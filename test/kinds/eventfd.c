/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event counters: the count, semaphores, who shares one, who waits for one.
 *
 * TEST counts round-trip needs=eventfd_semaphore -- counts
 * TEST shared round-trip needs=eventfd_semaphore -- shared
 * TEST waiter round-trip needs=eventfd_semaphore -- waiter
 * TEST external round-trip needs=eventfd_semaphore observe=no -- external
 * TEST not-shown refuse code=eventfd.semaphore without=eventfd_semaphore -- counts
 * TEST leak refuse needs=eventfd_semaphore code=leak -- leak
 *
 * external: it is another file afterwards.
 */
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cases.h"

static uint64_t take(int fd)
{
	uint64_t n = 0;

	CHECK(read(fd, &n, sizeof(n)) == sizeof(n));
	return n;
}

static void give(int fd, uint64_t n)
{
	CHECK(write(fd, &n, sizeof(n)) == sizeof(n));
}

static void counts(void)
{
	int zero = eventfd(0, EFD_NONBLOCK), some = eventfd(7, EFD_CLOEXEC);
	int much = eventfd(0, EFD_NONBLOCK), semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
	int one = eventfd(1, EFD_SEMAPHORE), none = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
	uint64_t n;

	give(much, UINT64_MAX - 1);
	subject_checkpoint();
	CHECK(read(zero, &n, sizeof(n)) < 0 && errno == EAGAIN);
	CHECK(take(some) == 7);
	CHECK((fcntl(some, F_GETFD) & FD_CLOEXEC) && !(fcntl(some, F_GETFL) & O_NONBLOCK));
	n = 1;
	CHECK(write(much, &n, sizeof(n)) < 0 && errno == EAGAIN);
	CHECK(take(much) == UINT64_MAX - 1);
	for (int i = 0; i < 3; i++)
		CHECK(take(semaphore) == 1);
	CHECK(read(semaphore, &n, sizeof(n)) < 0 && errno == EAGAIN);
	give(one, 1);
	CHECK(take(one) == 1 && take(one) == 1);
	CHECK(read(none, &n, sizeof(n)) < 0 && errno == EAGAIN);
	give(none, 2);
	CHECK(take(none) == 1);
}

/* two that are not the same, one of them in two processes */
static void shared(void)
{
	int a = eventfd(2, 0), b = eventfd(2, 0), copy = dup(a);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		subject_wait_go();
		give(a, 40);
		_exit(0);
	}
	subject_checkpoint();
	subject_check_exit(pid, 0);
	CHECK(take(copy) == 42);
	CHECK(take(b) == 2);
}

static void waiter(void)
{
	int fd = eventfd(0, 0);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(take(fd) != 5);
	subject_wait_call(pid, SYS_read);
	subject_checkpoint();
	give(fd, 5);
	subject_check_exit(pid, 0);
}

static unsigned long id_of(int fd)
{
	char path[40], line[128];
	unsigned long id = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(path, "re");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "eventfd-id: %lu", &id) == 1)
			break;
	fclose(f);
	return id;
}

static void outsider(void)
{
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		setsid();
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		subject_mark("outside");
		subject_wait_go();
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
	subject_wait("outside");
}

/* what takes its place at restart is no eventfd, and need not be one */
static void external(void)
{
	int fd = eventfd(0, 0);

	subject_options("checkpoint", "--external eventfd:[%lu]=bell", id_of(fd));
	subject_options("restart", "--external bell=/dev/null");
	outsider();
	subject_checkpoint();
	give(fd, 1);
}

static void leak(void)
{
	CHECK(eventfd(0, 0) >= 0);
	outsider();
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(counts), CASE(shared), CASE(waiter), CASE(external),
	                     CASE(leak));
}
