/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects of kind mm share: memory that can be told apart, and what the kernel says of
 * it. */
#pragma once

#include <linux/prctl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "subject.h"

#define PAGE 4096ul

/* every word of a page differs from those of other pages and of other seeds */
static inline uint64_t mm_word(uint64_t seed, uint64_t page, uint64_t word)
{
	return (seed + 1) * 0x9e3779b97f4a7c15ull ^ (page * 512 + word) * 0xbf58476d1ce4e5b9ull;
}

static inline void mm_fill(void *p, uint64_t n_pages, uint64_t seed)
{
	for (uint64_t i = 0; i < n_pages * 512; i++)
		((volatile uint64_t *)p)[i] = mm_word(seed, i / 512, i % 512);
}

static inline void mm_check(const void *p, uint64_t n_pages, uint64_t seed)
{
	for (uint64_t i = 0; i < n_pages * 512; i++)
		if (((const volatile uint64_t *)p)[i] != mm_word(seed, i / 512, i % 512))
			FAIL("page %llu of %p has other contents", (unsigned long long)i / 512, p);
}

static inline void mm_check_zero(const void *p, uint64_t n_pages)
{
	for (uint64_t i = 0; i < n_pages * 512; i++)
		if (((const volatile uint64_t *)p)[i])
			FAIL("page %llu of %p is not zero", (unsigned long long)i / 512, p);
}

static inline void *mm_anon(uint64_t n_pages, int prot, int flags)
{
	void *p = mmap(NULL, n_pages * PAGE, prot,
	               (flags & (MAP_SHARED | MAP_PRIVATE) ? 0 : MAP_PRIVATE) | MAP_ANONYMOUS |
	                       flags,
	               -1, 0);

	if (p == MAP_FAILED)
		FAIL("mmap of %lu pages: %s", (unsigned long)n_pages, strerror(errno));
	return p;
}

/* the entry of pagemap, Documentation/admin-guide/mm/pagemap.rst */
static inline uint64_t mm_pagemap(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)) == 8);
	close(fd);
	return entry;
}

/* how many pages of a range are present or swapped */
static inline uint64_t mm_present(const void *p, uint64_t n_pages)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < n_pages; i++)
		n += mm_pagemap((const char *)p + i * PAGE) >> 62 != 0;
	return n;
}

/* whether the mapping at p has this word in its VmFlags */
static inline bool mm_flag(const void *p, const char *word)
{
	char line[4096], text[8];
	bool here = false, found = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	CHECK(f);
	snprintf(text, sizeof(text), " %s ", word);
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (here && !strncmp(line, "VmFlags:", 8)) {
			line[7] = ' ';
			found = strstr(line, text);
		}
	}
	fclose(f);
	return found;
}

/* a child that has ended well */
static inline void mm_reap(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		FAIL("child %d ended with wait status 0x%x", (int)pid, status);
}

/* a process outside of the set, which has what we have mapped until we end */
static inline void mm_leave_outside(void)
{
	int subject = pidfd_open(getpid(), 0);
	pid_t child = fork();

	if (child == 0) {
		if (fork())
			_exit(0);
		subject_mark("outside");
		while (poll(&(struct pollfd){ .fd = subject, .events = POLLIN }, 1, -1) < 0)
			;
		_exit(0);
	}
	mm_reap(child);
	close(subject);
	subject_wait("outside");
}
