/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that work for one caller. See crew.h. */
#include "core/crew.h"

#include <stdlib.h>
#include <unistd.h>

#include "image/image.h"
#include "util/alloc.h"

#define PAGE 4096u

void crew_init(struct crew *c)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	c->n_wanted = n < 1 ? 1 : n > CREW_MAX ? CREW_MAX : (unsigned)n;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
}

void crew_hire(struct crew *c, void *(*work)(void *), void *context)
{
	if (c->n < c->n_wanted && pthread_create(&c->threads[c->n], NULL, work, context) == 0)
		c->n++;
}

void crew_fail(struct crew *c, int r, const struct error *err)
{
	pthread_mutex_lock(&c->lock);
	if (c->failed == 0) {
		c->failed = r;
		c->error = *err;
	}
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

int crew_check(const struct crew *c, struct error *err)
{
	if (c->failed < 0)
		*err = c->error;
	return c->failed;
}

void crew_end(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->end = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	while (c->n)
		pthread_join(c->threads[--c->n], NULL);
}

void crew_done(struct crew *c)
{
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
}

char *crew_buffer(void)
{
	void *buffer;

	if (posix_memalign(&buffer, PAGE, (size_t)IMAGE_BLOCK_PAGES * PAGE))
		buffer = xmalloc(SIZE_MAX); /* ends the program with its message */
	return buffer;
}
