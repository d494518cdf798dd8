/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far the work is: core and kinds count, cli/ draws. Drawing happens in whoever counts, at most
 * every 100 ms: no thread is needed, which must not exist when the tracer is forked.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct progress {
	const char *phase; /* "freeze", "save": a literal */
	uint64_t total;    /* bytes of the phase, 0 = unknown */
	_Atomic uint64_t done;
	uint64_t started_us; /* CLOCK_MONOTONIC: of the whole, of the phase */
	uint64_t phase_started_us;
	_Atomic uint64_t drawn_us; /* when last drawn */
	void (*draw)(struct progress *p);
};

/* a new phase of @total bytes; takes NULL */
void progress_phase(struct progress *p, const char *phase, uint64_t total);
/* @bytes more are done; thread-safe; takes NULL */
void progress_add(struct progress *p, uint64_t bytes);
