/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tools/sweep disturbs: a process with a child, a thread, a pipe between them with bytes in
 * it, a timer and a timed sleep. It counts what arrives, so that a lost byte or tick is seen; ends
 * with 0 after "go".
 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "../kinds/subject.h"

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static void *thread(void *arg)
{
	*(volatile int *)arg = 1;
	subject_wait_go();
	return NULL;
}

int main(void)
{
	int fds[2], started = 0;
	char buffer[64];
	pthread_t t;

	CHECK(pipe(fds) == 0);
	CHECK(write(fds[1], "unread", 6) == 6);
	CHECK(signal(SIGALRM, tick) != SIG_ERR);
	pid_t child = fork();
	if (child == 0) {
		subject_wait_go();
		CHECK(write(fds[1], " and more", 9) == 9);
		_exit(3);
	}
	CHECK(pthread_create(&t, NULL, thread, &started) == 0);
	while (!*(volatile int *)&started)
		usleep(1000);
	struct itimerval timer = { .it_value = { .tv_sec = 3600 } };
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
	subject_checkpoint();
	int status;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(read(fds[0], buffer, sizeof(buffer)) == 15 && !memcmp(buffer, "unread and more", 15));
	CHECK(getitimer(ITIMER_REAL, &timer) == 0 && timer.it_value.tv_sec > 3000 && ticks == 0);
	return 0;
}
