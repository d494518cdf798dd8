/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress counters. See progress.h. */
#include "core/progress.h"

#include <stddef.h>
#include <time.h>

#include "util/clock.h"

#define DRAW_INTERVAL_US 100000

/* of several threads one draws: the one that moves drawn_us on */
static void draw(struct progress *p, uint64_t now)
{
	uint64_t last = atomic_load(&p->drawn_us);

	if (now - last < DRAW_INTERVAL_US ||
	    !atomic_compare_exchange_strong(&p->drawn_us, &last, now))
		return;
	p->draw(p);
}

void progress_phase(struct progress *p, const char *phase, uint64_t total)
{
	if (!p)
		return;
	uint64_t now = now_us();
	if (!p->started_us)
		p->started_us = now;
	p->phase = phase;
	p->total = total;
	p->phase_started_us = now;
	atomic_store(&p->done, 0);
	draw(p, now);
}

void progress_add(struct progress *p, uint64_t bytes)
{
	if (!p)
		return;
	atomic_fetch_add(&p->done, bytes);
	draw(p, now_us());
}
