/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same for many things at once, by as many threads as there are CPUs. */
#pragma once

#include <stddef.h>

#include "util/error.h"

/* one of them; -errno, then no more are begun */
typedef int parallel_fn(void *context, size_t i, struct error *err);

/**
 * parallel() - do it for 0 to n - 1, in any order
 * The threads are made for this call and have ended when it returns: whoever forks need not fear
 * that one of them holds a lock. Returns 0 or the first error.
 */
int parallel(size_t n, parallel_fn *fn, void *context, struct error *err);
