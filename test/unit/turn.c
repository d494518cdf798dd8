/* SPDX-License-Identifier: GPL-2.0-or-later */
/* host/turn.h: who waits for whom, and for how long. In a /proc of our own: others take turns, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/turn.h"

/* whether somebody else could take one now */
static bool is_free(bool alone)
{
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ret = flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0;

	assert_true(ret || errno == EWOULDBLOCK);
	close(fd);
	return ret;
}

static void excludes(void **state)
{
	int fd = turn_take(true);

	assert_true(fd >= 0 && !is_free(true) && !is_free(false));
	close(fd);
	assert_true(is_free(true));
	fd = turn_take(false);
	assert_true(fd >= 0 && !is_free(true) && is_free(false));
	close(fd);
	assert_true(is_free(true));
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void gives_up(void **state)
{
	int fd = turn_take(true);
	double before = now();

	assert_int_equal(turn_take(false), -1);
	assert_true(now() - before >= 2);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(excludes),
		                            cmocka_unit_test(gives_up) };

	if (geteuid() != 0)
		return 77;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
