/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing pages into the address space of a stub. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/image.h"
#include "util/error.h"

/* a stub's memory; both for any thread */
struct fill_target {
	pid_t pid;
	int mem; /* /proc/PID/mem, for what is not writable */
};

/* writes the packed data of runs (addresses / 4096, none of them zero) */
int fill_data(const struct fill_target *target, const struct page_run *runs, uint32_t n,
              const void *data, struct error *err);
/* @n_pages pages of anonymous memory become the kernel's zero page, as if they had been read */
int fill_touch(const struct fill_target *target, uint64_t start, uint64_t n_pages);
/* writes zeros over pages that may have other contents: of a file, or inherited */
int fill_zero(const struct fill_target *target, uint64_t start, uint64_t n_pages,
              struct error *err);
