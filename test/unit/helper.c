/* SPDX-License-Identifier: GPL-2.0-or-later */
/* host/helper.h: what a helper in our memory leaves there, and who is ended while one runs. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/helper.h"

static int set_and_open(void *arg, struct error *err)
{
	int *number = arg;

	(void)err;
	*number = 4711;
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int end_badly(void *arg, struct error *err)
{
	(void)arg;
	return error_raise(err, EXDEV, "fail");
}

static void test_here(void **state)
{
	struct error err = ERROR_INIT;
	int number = 0, fd = helper_run_here(set_and_open, &number, &err);

	assert_true(fd >= 0);
	assert_int_equal(number, 4711);
	assert_int_equal(close(fd), 0);
	assert_int_equal(helper_run_here(end_badly, NULL, &err), -EXDEV);
	assert_int_equal(err.errnum, EXDEV);
}

static int hang(void *arg, struct error *err)
{
	const int *to = arg;

	(void)err;
	if (write(*to, "x", 1) != 1)
		return 0;
	for (;;)
		pause();
}

/* both ends of the pipe are closed when the helper has ended as well */
static void test_ended(void **state)
{
	int ends[2], status;
	char byte;

	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct error err;
		close(ends[0]);
		helper_run_here(hang, &ends[1], &err);
		_exit(1);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_here),
		                            cmocka_unit_test(test_ended) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
