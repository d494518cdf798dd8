/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that is not the first calls execve(2), some 300 times a second, for ever. The file
 * "execs" counts.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void *stay(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void count(void)
{
	unsigned n = 0;
	int fd = open("execs", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || pread(fd, &n, sizeof(n), 0) < 0)
		exit(1);
	n++;
	if (pwrite(fd, &n, sizeof(n), 0) != sizeof(n))
		exit(1);
	close(fd);
}

static void *go_on(void *name)
{
	char *const args[] = { name, NULL };

	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	count();
	execv("/proc/self/exe", args);
	exit(1);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, stay, NULL);
	pthread_create(&thread, NULL, go_on, argv[0]);
	stay(NULL);
}
