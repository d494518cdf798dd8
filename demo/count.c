/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts: a child sends numbers through a pipe, the parent prints what arrives. For `make demo`. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void send_numbers(int fd)
{
	const struct timespec pause = { .tv_nsec = 200000000 };

	for (unsigned n = 1;; n++) {
		if (write(fd, &n, sizeof(n)) != sizeof(n))
			exit(1);
		nanosleep(&pause, NULL);
	}
}

int main(void)
{
	int fds[2];
	unsigned n;

	if (pipe(fds) < 0)
		return 1;
	pid_t child = fork();
	if (child < 0)
		return 1;
	if (child == 0) {
		close(fds[0]);
		send_numbers(fds[1]);
	}
	close(fds[1]);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
		printf("%u: counted by %d, sent by its child %d\n", n, getpid(), child);
		fflush(stdout);
	}
	return 0;
}
