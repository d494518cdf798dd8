/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 100 forked children that share memory copy-on-write and shared mappings; each changes some pages
 * of its own, counts in the shared ones, and at the end everybody checks everything.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 100, PAGES = 4096, ROUNDS = 200 };

struct shared {
	pthread_mutex_t lock;
	uint64_t rounds[CHILDREN], total;
};

static uint64_t pattern(uint64_t page, uint64_t who)
{
	return (page * 0x9e3779b97f4a7c15ull) ^ (who * 0xbf58476d1ce4e5b9ull);
}

static int child(uint64_t who, volatile uint64_t *memory, struct shared *shared)
{
	for (uint64_t p = who; p < PAGES; p += CHILDREN)
		memory[p * 512] = pattern(p, who + 1);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&shared->lock);
		shared->rounds[who]++;
		shared->total++;
		pthread_mutex_unlock(&shared->lock);
		for (uint64_t p = 0; p < PAGES; p++)
			if (memory[p * 512] != pattern(p, p % CHILDREN == who ? who + 1 : 0))
				return 1;
		usleep(10000);
	}
	return 0;
}

int main(void)
{
	uint64_t *memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
	                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attr;
	int failed = 0;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&shared->lock, &attr);
	for (uint64_t p = 0; p < PAGES; p++)
		memory[p * 512] = pattern(p, 0);
	for (int i = 0; i < CHILDREN; i++)
		if (fork() == 0)
			_exit(child(i, memory, shared));
	for (int i = 0; i < CHILDREN; i++) {
		int status;
		if (wait(&status) < 0 || status)
			failed++;
		printf("x");
		fflush(stdout);
	}
	printf("\n%d failed, %lu rounds\n", failed, (unsigned long)shared->total);
	return failed ? 1 : 0;
}
