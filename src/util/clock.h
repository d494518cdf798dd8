/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times as numbers. */
#pragma once

#include <stdint.h>
#include <time.h>

#define SECOND_NS 1000000000ll

/* of a time that is not negative, and below 584 years */
static inline uint64_t timespec_to_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * SECOND_NS + (uint64_t)t->tv_nsec;
}

static inline struct timespec timespec_from_ns(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / SECOND_NS),
		                  .tv_nsec = (long)(ns % SECOND_NS) };
}

/* CLOCK_MONOTONIC: for how long something took, and for deadlines */
static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return timespec_to_ns(&now);
}

static inline uint64_t now_us(void)
{
	return now_ns() / 1000;
}

static inline uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}
