/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of a lower layer. See copied_up.h. */
#include "kind/mm/copied_up.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mount.h"
#include "proc/pagemap.h"
#include "task/task.h"
#include "util/cleanup.h"

#define PAGE    4096u
#define ENTRIES 512u /* of pagemap, read at once */
#define TRIES   3u   /* the kernel may move a page between two looks at it */

int mm_open_merged(struct checkpoint *c, int fd)
{
	char link[40];

	if (mount_magic(c, fd) != OVERLAYFS_SUPER_MAGIC)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	int merged = open(link, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	/* who may not hide that it was read at least does no more than the program that mapped it
	 */
	return merged < 0 && errno == EPERM ? open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
	                                    : merged;
}

/* one mapping that is being looked at */
struct look {
	const struct task *task;
	const struct proc_map *map;
	int merged;       /* the file, by its name */
	int theirs, ours; /* /proc/PID/pagemap */
	int mem;          /* the task's: reads what is mapped without PROT_READ, too */
};

static bool is_of_file(uint64_t entry)
{
	return entry & PAGEMAP_PRESENT && entry & PAGEMAP_FILE;
}

static off_t offset_of(const struct look *l, uint64_t address)
{
	return (off_t)(l->map->offset + (address - l->map->start));
}

/* the frame of the file's page; 0: it has none there any more */
static uint64_t frame_by_name(const struct look *l, uint64_t address)
{
	struct error ignored = ERROR_INIT;
	uint64_t entry = 0;
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, l->merged, offset_of(l, address));

	if (p == MAP_FAILED)
		return 0;
	/* unlike a touch it fails beyond the end, and does not raise SIGBUS */
	if (madvise(p, PAGE, MADV_POPULATE_READ) == 0 &&
	    pagemap_entries(l->ours, (uintptr_t)p, &entry, 1, &ignored) < 0)
		entry = 0;
	munmap(p, PAGE);
	return is_of_file(entry) ? entry & PAGEMAP_FRAME : 0;
}

static bool same_frame(const struct look *l, uint64_t address, uint64_t entry)
{
	struct error ignored = ERROR_INIT;

	for (unsigned i = 0; i < TRIES; i++) {
		if (frame_by_name(l, address) == (entry & PAGEMAP_FRAME))
			return true;
		/* what the program has written to, or is mapped no more, says nothing now */
		if (pagemap_entries(l->theirs, address, &entry, 1, &ignored) < 0 ||
		    !is_of_file(entry))
			return true;
	}
	return false;
}

static bool same_contents(const struct look *l, uint64_t address)
{
	char here[PAGE] = { 0 }, there[PAGE];

	if (pread(l->mem, there, PAGE, (off_t)address) != PAGE)
		return true;
	ssize_t n = pread(l->merged, here, PAGE, offset_of(l, address));
	return n >= 0 && !memcmp(here, there, PAGE);
}

/* 1: all are the file's that has the name; 0: some are not; -EAGAIN: none is mapped; other errors
 */
static int look_at_pages(const struct look *l, struct error *err)
{
	uint64_t entries[ENTRIES], end = l->map->end;
	bool any = false;

	for (uint64_t at = l->map->start; at < end; at += (uint64_t)ENTRIES * PAGE) {
		size_t n = (end - at) / PAGE < ENTRIES ? (end - at) / PAGE : ENTRIES;
		int r = pagemap_entries(l->theirs, at, entries, n, err);
		if (r < 0)
			return error_trace(err, r);
		for (size_t i = 0; i < n; i++) {
			uint64_t address = at + i * PAGE;
			if (!is_of_file(entries[i]))
				continue;
			if (entries[i] & PAGEMAP_FRAME)
				return same_frame(l, address, entries[i]);
			if (!same_contents(l, address))
				return 0;
			any = true;
		}
	}
	return any ? 1 : -EAGAIN;
}

static int look(const struct look *l, struct error *err)
{
	char byte;
	int r = look_at_pages(l, err);

	if (r == -EAGAIN && pread(l->mem, &byte, 1, (off_t)l->map->start) == 1)
		r = look_at_pages(l, err);
	return r == -EAGAIN ? 1 : r;
}

int mm_judge_copied_up(const struct task *task, const struct proc_map *map, int merged,
                       struct error *err)
{
	_cleanup_(close_p) int theirs = task_openat(task, "pagemap", O_RDONLY | O_CLOEXEC);
	_cleanup_(close_p) int ours = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	_cleanup_(close_p) int mem = task_openat(task, "mem", O_RDONLY | O_CLOEXEC);
	const struct look l = { task, map, merged, theirs, ours, mem };

	if (theirs < 0 || ours < 0)
		return error_raise(err, theirs < 0 ? -theirs : errno, "open pagemap");
	int r = look(&l, err);
	if (r)
		return r < 0 ? error_trace(err, r) : 0;
	error_refuse(err, CODE_mm_copied_up,
	             "it was mapped before the overlay's file was written to first, and shows what "
	             "that was like then");
	return -EOPNOTSUPP;
}
