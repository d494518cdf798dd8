/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The layout of an address space: stacks that grow, the heap and its exact end, what PR_SET_MM_MAP
 * sets, the auxiliary vector, the vDSO. The observer compares /proc/PID/stat, cmdline, environ,
 * auxv.
 *
 * TEST stack round-trip -- stack
 * TEST grows-down round-trip -- grows_down
 * TEST brk round-trip -- heap
 * TEST no-heap round-trip -- no_heap
 * TEST fields round-trip -- fields
 * TEST vdso round-trip -- vdso
 */
#include <linux/auxvec.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include "cases.h"
#include "mm.h"

static unsigned deep(unsigned n, volatile char *above)
{
	volatile char here[PAGE];

	here[0] = (char)n;
	unsigned sum = n ? deep(n - 1, here) : 0;
	CHECK_EQ(here[0], (char)n);
	return sum + (unsigned char)here[0] + (above ? 0 : 1);
}

/* the main stack goes on growing */
static void stack(void)
{
	volatile char here = 7;

	deep(40, NULL);
	subject_checkpoint();
	CHECK_EQ(here, 7);
	deep(400, NULL);
	CHECK(mm_flag((void *)&here, "gd"));
}

static void grows_down(void)
{
	/* room below, so that it can grow: above stack_guard_gap */
	char *room = mm_anon(2048, PROT_NONE, 0);
	CHECK(munmap(room, 2048 * PAGE) == 0);
	char *p = mmap(room + 2044 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(p != MAP_FAILED);
	mm_fill(p, 4, 1);
	mm_fill(p - PAGE, 1, 2); /* it grows */
	subject_checkpoint();
	mm_check(p, 4, 1);
	mm_check(p - PAGE, 1, 2);
	mm_fill(p - 2 * PAGE, 1, 3);
	mm_check(p - 2 * PAGE, 1, 3);
	CHECK(mm_flag(p - 2 * PAGE, "gd"));
}

static void *brk_to(void *to)
{
	return (void *)syscall(SYS_brk, to);
}

static void heap(void)
{
	char *start = brk_to(NULL), *end = start + 10 * PAGE + 123;

	CHECK(brk_to(end) == end);
	memset(start, 'h', (size_t)(end - start));
	subject_checkpoint();
	CHECK(brk_to(NULL) == end);
	for (char *p = start; p < end; p++)
		CHECK(*p == 'h');
	/* goes on growing, as one mapping, and shrinks */
	CHECK(brk_to(end + 100 * PAGE) == end + 100 * PAGE);
	memset(end, 'i', 100 * PAGE);
	CHECK(mremap(start, 0, PAGE, MREMAP_MAYMOVE) ==
	      MAP_FAILED); /* private: no second mapping */
	CHECK(brk_to(start + PAGE) == start + PAGE);
	CHECK(brk_to(end) == end);
	mm_check_zero((void *)(((uintptr_t)start + 2 * PAGE) & ~(PAGE - 1)), 5);
}

/* a program that has given its heap back altogether */
static void no_heap(void)
{
	char *end = brk_to(NULL), *start = end;
	char text[1024], *p;
	FILE *f = fopen("/proc/self/stat", "re");

	setvbuf(f, NULL, _IONBF, 0);
	CHECK(f && fgets(text, sizeof(text), f));
	p = strrchr(text, ')') + 2;
	for (int i = 0; i < 44; i++)
		p = strchr(p, ' ') + 1;
	start = (char *)strtoul(p, NULL, 10); /* start_brk */
	CHECK(start <= end && (uintptr_t)(end - start) < 1 << 24);
	close(fileno(f));
	CHECK(brk_to(start) == start);
	subject_mark("ready"); /* nothing here may use the heap */
	subject_wait("go");
	CHECK(brk_to(NULL) == start);
	CHECK(brk_to(start + 3 * PAGE) == start + 3 * PAGE);
	memset(start, 1, 3 * PAGE);
	_exit(0);
}

/* every field of PR_SET_MM_MAP other than execve(2) has set it */
static void fields(void)
{
	char *strings = mm_anon(4, PROT_READ | PROT_WRITE, 0);
	uint64_t auxv[44] = { AT_HWCAP, 0x1234, AT_PAGESZ, 4096, 4711, 815 };
	struct prctl_mm_map map = { 0 };
	uint64_t heap_start = 0, heap_end = (uint64_t)brk_to(NULL);
	char text[1024], *p;
	FILE *f = fopen("/proc/self/stat", "re");
	uint64_t field[60];

	CHECK(f && fgets(text, sizeof(text), f));
	fclose(f);
	p = strrchr(text, ')') + 2;
	for (int i = 3; i < 52; i++) {
		field[i] = strtoull(p, NULL, 10);
		p = strchr(p, ' ');
		p = p ? p + 1 : text + strlen(text);
	}
	heap_start = field[47];
	strcpy(strings, "a new name");
	strcpy(strings + 100, "KEY=value");
	map = (struct prctl_mm_map){
		.start_code = field[26] + 16,
		.end_code = field[27] - 16,
		.start_data = field[45] + 8,
		.end_data = field[46] - 8,
		.start_brk = heap_start,
		.brk = heap_end,
		.start_stack = field[28] - 32,
		.arg_start = (uint64_t)strings,
		.arg_end = (uint64_t)strings + 11,
		.env_start = (uint64_t)strings + 100,
		.env_end = (uint64_t)strings + 110,
		.auxv = (void *)auxv,
		.auxv_size = sizeof(auxv),
		.exe_fd = (uint32_t)-1,
	};
	CHECK(prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) == 0);
	subject_checkpoint();
	char got[400] = "";
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	CHECK(read(fd, got, sizeof(got)) == 11 && !strcmp(got, "a new name"));
	close(fd);
	fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
	CHECK(read(fd, got, sizeof(got)) == 10 && !strcmp(got, "KEY=value"));
	close(fd);
	fd = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
	CHECK(read(fd, got, sizeof(got)) >= 64 && !memcmp(got, auxv, 48));
}

static void vdso(void)
{
	uint64_t address = getauxval(AT_SYSINFO_EHDR), hash = 0, after = 0;
	struct timespec before, now;

	for (int i = 0; i < 512; i++)
		hash = hash * 31 + ((uint64_t *)address)[i];
	clock_gettime(CLOCK_MONOTONIC, &before);
	subject_checkpoint();
	CHECK_EQ(getauxval(AT_SYSINFO_EHDR), address);
	for (int i = 0; i < 512; i++)
		after = after * 31 + ((uint64_t *)address)[i];
	CHECK_EQ(after, hash);
	for (int i = 0; i < 1000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		CHECK(now.tv_sec > before.tv_sec ||
		      (now.tv_sec == before.tv_sec && now.tv_nsec >= before.tv_nsec));
		before = now;
	}
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(grows_down), CASE(heap), CASE(no_heap), CASE(fields),
	                     CASE(vdso), CASE(stack));
}
