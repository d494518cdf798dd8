/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pages of an address space exist. See pagemap.h. */
#include "proc/pagemap.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/features.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

#define PAGE          4096ull
#define SCAN_REGIONS  1024
#define ENTRIES_BATCH 4096
#define HUGE_ENTRIES  (PAGEMAP_HUGE_SIZE / PAGE)
#define KPF_THP       (1ull << 22) /* linux/kernel-page-flags.h */
#define KPF_ZERO_PAGE (1ull << 24)

/* appends, growing the last range where it goes on */
static void append(struct page_range **ret, size_t *ret_n, struct page_range range)
{
	struct page_range *last = *ret_n > 0 ? &(*ret)[*ret_n - 1] : NULL;

	if (last && last->end == range.start && last->zero == range.zero &&
	    last->guard == range.guard && last->huge == range.huge)
		last->end = range.end;
	else
		*array_push(*ret, *ret_n) = range;
}

static int scan_ioctl(int fd, uint64_t start, uint64_t end, bool files, struct page_range **ret,
                      size_t *ret_n, struct error *err)
{
	bool guards = feature(FEATURE_pagemap_scan_guard);
	/* the kernel looks at each page for it, not at its entry alone: half as fast */
	uint64_t not_of_files = files ? PAGE_IS_FILE : 0;
	struct page_region regions[SCAN_REGIONS];

	while (start < end) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = SCAN_REGIONS,
			/* not of a file: inverted, so the bit must be "set" after inversion */
			.category_inverted = not_of_files,
			.category_mask = not_of_files,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO |
			               PAGE_IS_HUGE | (guards ? PAGE_IS_GUARD : 0),
		};
		int n = ioctl(fd, PAGEMAP_SCAN, &arg);

		if (n < 0)
			return error_raise(err, errno, "PAGEMAP_SCAN of %llx-%llx",
			                   (unsigned long long)start, (unsigned long long)end);
		for (int i = 0; i < n; i++)
			append(ret, ret_n,
			       (struct page_range){
				       .start = regions[i].start,
				       .end = regions[i].end,
				       .zero = regions[i].categories & PAGE_IS_PFNZERO,
				       .guard = regions[i].categories & PAGE_IS_GUARD,
				       .huge = regions[i].categories & PAGE_IS_HUGE &&
			                       !(regions[i].categories & PAGE_IS_PFNZERO),
			       });
		/*
		 * walk_end may lie before the last region, or, with the array full, behind the next
		 * one (both seen on 6.18)
		 */
		if (n == SCAN_REGIONS || (n > 0 && arg.walk_end < regions[n - 1].end))
			arg.walk_end = regions[n - 1].end;
		if (arg.walk_end <= start)
			return error_raise(err, EIO, "PAGEMAP_SCAN does not advance at %llx",
			                   (unsigned long long)start);
		start = arg.walk_end;
	}
	return 0;
}

int pagemap_entries(int fd, uint64_t start, uint64_t *entries, size_t n, struct error *err)
{
	size_t done = 0, size = n * sizeof(entries[0]);

	while (done < size) {
		ssize_t got = pread(fd, (char *)entries + done, size - done,
		                    (off_t)(start / PAGE * sizeof(entries[0]) + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return error_raise(err, got < 0 ? errno : EIO, "reading pagemap at %llx",
			                   (unsigned long long)start);
		done += got;
	}
	return 0;
}

/* whether so many entries, the first at an address that a huge page may have, are those of one */
static bool is_huge(const uint64_t *entries, int kpageflags)
{
	uint64_t frame = entries[0] & PAGEMAP_FRAME, flags = 0;

	if (!frame || frame % HUGE_ENTRIES)
		return false;
	for (size_t i = 0; i < HUGE_ENTRIES; i++)
		if (!(entries[i] & PAGEMAP_PRESENT) || (entries[i] & PAGEMAP_FRAME) != frame + i)
			return false;
	return pread(kpageflags, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) ==
	               sizeof(flags) &&
	       (flags & (KPF_THP | KPF_ZERO_PAGE)) == KPF_THP;
}

static int scan_entries(int fd, uint64_t start, uint64_t end, bool files, struct page_range **ret,
                        size_t *ret_n, struct error *err)
{
	uint64_t entries[ENTRIES_BATCH] = { 0 };
	_cleanup_(close_p) int kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	while (start < end) {
		/* a batch ends where a huge page may */
		size_t n = ENTRIES_BATCH - start / PAGE % HUGE_ENTRIES, step;
		n = (end - start) / PAGE < n ? (end - start) / PAGE : n;
		int r = pagemap_entries(fd, start, entries, n, err);
		if (r < 0)
			return error_trace(err, r);
		for (size_t i = 0; i < n; i += step) {
			uint64_t at = start + i * PAGE;
			bool huge = kpageflags >= 0 && at % PAGEMAP_HUGE_SIZE == 0 &&
			            n - i >= HUGE_ENTRIES && is_huge(&entries[i], kpageflags);
			step = huge ? HUGE_ENTRIES : 1;
			if (!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED | PAGEMAP_GUARD)) ||
			    (files && entries[i] & PAGEMAP_FILE))
				continue;
			append(ret, ret_n,
			       (struct page_range){ .start = at,
			                            .end = at + step * PAGE,
			                            /* where no file is: the huge zero page */
			                            .zero = entries[i] & PAGEMAP_FILE,
			                            .guard = entries[i] & PAGEMAP_GUARD,
			                            .huge = huge });
		}
		start += n * PAGE;
	}
	return 0;
}

int pagemap_scan(int fd, uint64_t start, uint64_t end, bool files, struct page_range **ret,
                 size_t *ret_n, struct error *err)
{
	if (!feature(FEATURE_pagemap_scan))
		return scan_entries(fd, start, end, files, ret, ret_n, err);
	return scan_ioctl(fd, start, end, files, ret, ret_n, err);
}
