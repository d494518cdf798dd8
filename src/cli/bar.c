/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The progress bar. See bar.h. */
#include "cli/bar.h"

#include <stdio.h>

#include "cli/cli.h"

#define PATIENCE_US 500000
#define BAR_WIDTH   24

/* "  34.1 MiB of 1.0 GiB, 812.0 MiB/s, 1.22 s left": nothing that is not known */
static void print_bytes(FILE *f, const struct progress *p, uint64_t done, uint64_t elapsed_us)
{
	fprintf(f, " %s", human_bytes(done).text);
	if (p->total)
		fprintf(f, " of %s", human_bytes(p->total).text);
	if (!elapsed_us)
		return;
	double rate = (double)done * 1e6 / (double)elapsed_us;
	fprintf(f, ", %s/s", human_bytes((uint64_t)rate).text);
	if (p->total > done && rate >= 1)
		fprintf(f, ", %s left",
		        human_time((uint64_t)((double)(p->total - done) / rate * 1e6)).text);
}

void bar_draw(struct progress *p)
{
	uint64_t now = p->drawn_us, done = p->done;

	if (now - p->started_us < PATIENCE_US)
		return;
	flockfile(stderr);
	fprintf(stderr, "\r\033[K%-8s", p->phase);
	if (p->total) {
		uint64_t filled = done >= p->total ? BAR_WIDTH : done * BAR_WIDTH / p->total;
		fputs(" [", stderr);
		for (uint64_t i = 0; i < BAR_WIDTH; i++)
			fputc(i < filled ? '#' : '.', stderr);
		fputc(']', stderr);
	}
	if (done || p->total)
		print_bytes(stderr, p, done, now - p->phase_started_us);
	fflush(stderr);
	funlockfile(stderr);
}

void bar_clear(struct progress *p)
{
	if (p->started_us && p->drawn_us - p->started_us >= PATIENCE_US)
		fputs("\r\033[K", stderr);
}
