/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of an address space exist: ioctl PAGEMAP_SCAN of /proc/PID/pagemap (Linux 6.7), or
 * the file's own entries before that. Documentation/admin-guide/mm/pagemap.rst.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct page_range {
	uint64_t start, end; /* addresses */
	bool zero;           /* the kernel's zero page: read, never written */
	bool guard;          /* MADV_GUARD_INSTALL; no contents */
	bool huge;           /* huge pages, transparent ones or of hugetlbfs; whole ones */
};

/**
 * pagemap_scan() - the private anonymous pages (present or swapped) within an address range
 * @fd:		/proc/PID/pagemap, open for reading
 * @files:	whether a file is mapped there
 * @ret:	ranges in ascending order, appended to *ret (array_push); the caller's
 * Pages of shared mappings and unchanged pages of files are not among them. Mappings of the
 * kernel's own (vvar) may be. Before PAGEMAP_SCAN huge pages are told by their frames, to root
 * alone. Guard regions are told from Linux 6.15 on; before that they look like swapped pages and
 * reading them fails with EFAULT.
 */
int pagemap_scan(int fd, uint64_t start, uint64_t end, bool files, struct page_range **ret,
                 size_t *ret_n, struct error *err);

#define PAGEMAP_HUGE_SIZE (2ull << 20) /* of a transparent huge page, x86-64 */

#define PAGEMAP_PRESENT   (1ull << 63)
#define PAGEMAP_SWAPPED   (1ull << 62)
#define PAGEMAP_FILE      (1ull << 61)
#define PAGEMAP_GUARD     (1ull << 58) /* Linux 6.15 */
#define PAGEMAP_EXCLUSIVE (1ull << 56)
#define PAGEMAP_FRAME \
	((1ull << 55) - 1) /* 0 without CAP_SYS_ADMIN; swap type and offset when swapped */

/* reads the entries of n pages from address on; -EIO when fewer are to be had */
int pagemap_entries(int fd, uint64_t start, uint64_t *entries, size_t n, struct error *err);
