/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies pages between address spaces and the image, in parallel: threads take stretches of at most
 * 1 MiB from a list of ranges. Threads are made per call; they hold no references when it returns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/image.h"
#include "proc/pagemap.h"
#include "util/error.h"

struct progress;

struct task;
struct pages_source {
	pid_t pid;   /* whose memory; any thread of the process */
	int mem;     /* its /proc/PID/mem */
	int pagemap; /* its /proc/PID/pagemap */
	const struct page_range
		*shared; /* where PAGEMAP_EXCLUSIVE says nothing; ascending; not owned */
	size_t n_shared;
};

#define PAGES_SOURCE_INIT ((struct pages_source){ .mem = -1, .pagemap = -1 })
/* opens both files of the task's process; pages_source_close() takes one that is not open */
int pages_source_open(struct pages_source *source, const struct task *task, struct error *err);
void pages_source_close(struct pages_source *source);

/*
 * Reads the data runs of a block (addresses / 4096) into @buffer, packed. Changes nothing of the
 * task's memory: process_vm_readv(2) pins what it reads, and for that the kernel gives the task its
 * own copy of every page that it shares copy-on-write (or by KSM), so those go another way.
 */
int pages_read(const struct pages_source *source, const struct page_run *runs, uint32_t n_runs,
               void *buffer, struct error *err);

/* fills a block of at most 1 MiB of data; runs are given; the same @context for all threads */
typedef int (*pages_fetch)(void *context, const struct page_run *runs, uint32_t n_runs,
                           void *buffer, struct error *err);

/* the first of ascending ranges that ends above an address; n: none does */
size_t pages_above(const struct page_range *ranges, size_t n, uint64_t address);
/* whether any of ascending ranges has a page of [start, end) */
bool pages_overlap(const struct page_range *ranges, size_t n, uint64_t start, uint64_t end);
uint64_t pages_bytes(const struct page_range *ranges, size_t n); /* without those that are .zero */

/**
 * pages_save() - write ranges as page blocks
 * @ranges:	ascending; those with .zero are written as zero runs, without data
 * Returns when all blocks are with the writer.
 */
int pages_save(struct image_writer *image, uint32_t object, uint32_t page_set,
               const struct page_range *ranges, size_t n, pages_fetch fetch, void *context,
               struct progress *progress, struct error *err);
