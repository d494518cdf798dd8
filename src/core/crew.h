/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that work for one caller until it ends them, and the first failure of any. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "util/error.h"

#define CREW_MAX 16u

struct crew {
	pthread_t threads[CREW_MAX];
	unsigned n, n_wanted; /* wanted: one per processor */

	pthread_mutex_t lock;   /* for what follows, and what the caller's own state needs */
	pthread_cond_t changed; /* any of it */
	bool end;               /* no more will come */
	int failed;
	struct error error; /* the first failure's */
};

void crew_init(struct crew *c); /* takes zeroed memory; nobody is hired yet */
/* one thread more, if that many are wanted and can be had */
void crew_hire(struct crew *c, void *(*work)(void *), void *context);
/* by a thread: notes a failure, @r < 0, if it is the first; all others see it in crew_check() */
void crew_fail(struct crew *c, int r, const struct error *err);
/* under the lock: 0 or the first failure, into @err */
int crew_check(const struct crew *c, struct error *err);
/* sets end, and waits for all threads; may be called again */
void crew_end(struct crew *c);
void crew_done(struct crew *c); /* after crew_end() */

/* a buffer for one block of pages, aligned to a page; free() */
char *crew_buffer(void);
