/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private anonymous memory: contents, protections, what was never touched, zero pages.
 *
 * TEST contents round-trip -- contents
 * TEST protections round-trip -- protections
 * TEST sparse round-trip -- sparse
 * TEST zero round-trip -- zero
 * TEST noreserve round-trip -- noreserve
 * TEST untouched-accounting round-trip -- accounting
 * TEST large round-trip -- large
 * TEST checkerboard round-trip -- checkerboard
 * TEST write-only round-trip -- write_only
 * TEST swapped round-trip observe=no -- swapped
 *
 * swapped is not observed: reading brings the pages back, and Pss counts those only.
 */
#include "cases.h"
#include "mm.h"

static void contents(void)
{
	char *p = mm_anon(300, PROT_READ | PROT_WRITE, 0);
	char *low = mmap((void *)0x10000, PAGE, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	char *first_4g = mmap((void *)0xfffff000, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	char *last = mmap((void *)0x7fffffffe000, PAGE, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(low != MAP_FAILED && first_4g != MAP_FAILED);
	mm_fill(p, 300, 1);
	mm_fill(low, 1, 2);
	mm_fill(first_4g, 2, 3);
	if (last != MAP_FAILED)
		mm_fill(last, 1, 4);
	subject_checkpoint();
	mm_check(p, 300, 1);
	mm_check(low, 1, 2);
	mm_check(first_4g, 2, 3);
	if (last != MAP_FAILED)
		mm_check(last, 1, 4);
	mm_fill(p, 300, 5);
	mm_check(p, 300, 5);
}

/* contents behind each protection; PROT_NONE keeps its contents, and keeps them from the program */
static void protections(void)
{
	static const int prots[] = { PROT_NONE,
		                     PROT_READ,
		                     PROT_WRITE,
		                     PROT_EXEC,
		                     PROT_READ | PROT_EXEC,
		                     PROT_READ | PROT_WRITE | PROT_EXEC };
	char *p[6], *never;

	for (int i = 0; i < 6; i++) {
		p[i] = mm_anon(8, PROT_READ | PROT_WRITE, 0);
		mm_fill(p[i], 5, i);
		CHECK(mprotect(p[i], 8 * PAGE, prots[i]) == 0);
	}
	never = mm_anon(8, PROT_NONE, 0);
	/* a page of every protection in one row, the mappings side by side */
	char *row = mm_anon(6, PROT_READ | PROT_WRITE, 0);
	mm_fill(row, 6, 77);
	for (int i = 0; i < 6; i++)
		CHECK(mprotect(row + i * PAGE, PAGE, prots[i]) == 0);
	subject_checkpoint();
	CHECK(write(2, p[0], 1) == -1 && errno == EFAULT);
	CHECK(write(2, never, 1) == -1 && errno == EFAULT);
	for (int i = 0; i < 6; i++) {
		CHECK(mprotect(p[i], 8 * PAGE, PROT_READ | PROT_WRITE) == 0);
		mm_check(p[i], 5, i);
		mm_check_zero(p[i] + 5 * PAGE, 3);
	}
	CHECK(mprotect(row, 6 * PAGE, PROT_READ) == 0);
	mm_check(row, 6, 77);
}

static void sparse(void)
{
	const uint64_t n = 1ul << 20; /* 4 GiB of addresses */
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, MAP_NORESERVE);

	CHECK(madvise(p, n * PAGE, MADV_NOHUGEPAGE) == 0);
	for (uint64_t i = 0; i < n; i += n / 64)
		mm_fill(p + i * PAGE, 1, i);
	subject_checkpoint();
	for (uint64_t i = 0; i < n; i += n / 64) {
		mm_check(p + i * PAGE, 1, i);
		CHECK_EQ(mm_present(p + (i + 1) * PAGE, 3), 0);
	}
}

/*
 * pages that were only read are the kernel's zero page; those written with zeros read as zero, too
 */
static void zero(void)
{
	char *p = mm_anon(64, PROT_READ | PROT_WRITE, 0), *file;
	int fd = open("zeros", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	for (int i = 0; i < 16; i++)
		CHECK(((volatile char *)p)[i * PAGE] == 0);
	memset(p + 16 * PAGE, 0, 16 * PAGE);
	mm_fill(p + 32 * PAGE, 1, 1);
	/* zeros over a file's contents are no hole */
	CHECK(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0);
	file = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(file != MAP_FAILED);
	for (uint64_t i = 0; i < 4; i++) {
		char page[PAGE];
		mm_fill(page, 1, i);
		CHECK(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE);
	}
	close(fd);
	memset(file + PAGE, 0, 2 * PAGE);
	subject_checkpoint();
	CHECK_EQ(mm_present(p, 32), 32);
	CHECK_EQ(mm_present(p + 33 * PAGE, 31), 0);
	mm_check_zero(p, 32);
	mm_check(p + 32 * PAGE, 1, 1);
	mm_check(file, 1, 0);
	mm_check_zero(file + PAGE, 2);
	mm_check(file + 3 * PAGE, 1, 3);
}

static void noreserve(void)
{
	char *p = mm_anon(64, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	char *q = mm_anon(64, PROT_READ, MAP_NORESERVE);

	mm_fill(p, 64, 9);
	subject_checkpoint();
	CHECK(mm_flag(p, "nr") && mm_flag(q, "nr"));
	mm_check(p, 64, 9);
	mm_check_zero(q, 64);
}

/*
 * accounted for and then made read-only, with pages, without, and without any longer: VmFlags "ac"
 */
static void accounting(void)
{
	char *p = mm_anon(16, PROT_READ | PROT_WRITE, 0), *q, *r;

	q = mm_anon(16, PROT_READ | PROT_WRITE, 0);
	r = mm_anon(16, PROT_READ | PROT_WRITE, 0);
	*p = 1;
	CHECK(mprotect(p, 16 * PAGE, PROT_READ) == 0);
	CHECK(mprotect(q, 16 * PAGE, PROT_READ) == 0);
	mm_fill(r, 16, 1);
	CHECK(mprotect(r, 16 * PAGE, PROT_NONE) == 0);
	CHECK(madvise(r, 16 * PAGE, MADV_DONTNEED) == 0);
	bool accounted[] = { mm_flag(p, "ac"), mm_flag(q, "ac"), mm_flag(r, "ac") };
	subject_checkpoint();
	CHECK_EQ(mm_flag(p, "ac"), accounted[0]);
	CHECK_EQ(mm_flag(q, "ac"), accounted[1]);
	CHECK_EQ(mm_flag(r, "ac"), accounted[2]);
	CHECK_EQ(*p, 1);
	CHECK_EQ(mm_present(r, 16), 0);
}

static void large(void)
{
	const uint64_t n = 65536; /* 256 MiB */
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, n, 3);
	memset(p + 1000 * PAGE, 0, 5000 * PAGE);
	subject_checkpoint();
	mm_check(p, 1000, 3);
	mm_check_zero(p + 1000 * PAGE, 5000);
	for (uint64_t i = 6000; i < n; i += 1000)
		CHECK_EQ(*(uint64_t *)(p + i * PAGE), mm_word(3, i, 0));
	mm_check(p, 1000, 3);
}

/* every other page: as many runs as there are pages */
static void checkerboard(void)
{
	const uint64_t n = 4096;
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, 0);

	CHECK(madvise(p, n * PAGE, MADV_NOHUGEPAGE) == 0);
	for (uint64_t i = 0; i < n; i += 2)
		mm_fill(p + i * PAGE, 1, i);
	for (uint64_t i = 1; i < n; i += 4)
		CHECK(((volatile char *)p)[i * PAGE] == 0);
	subject_checkpoint();
	for (uint64_t i = 0; i < n; i++) {
		CHECK_EQ(mm_present(p + i * PAGE, 1), i % 4 != 3);
		if (i % 2 == 0)
			mm_check(p + i * PAGE, 1, i);
		else
			mm_check_zero(p + i * PAGE, 1);
	}
}

/* mapped without PROT_READ: cannot be read in the ordinary way */
static void write_only(void)
{
	char *p = mm_anon(700, PROT_READ | PROT_WRITE, 0), *q = mm_anon(2, PROT_WRITE, 0);

	mm_fill(p, 700, 1);
	for (uint64_t i = 0; i < 700; i += 7)
		CHECK(mprotect(p + i * PAGE, PAGE, i % 2 ? PROT_NONE : PROT_WRITE) == 0);
	*q = 5;
	subject_checkpoint();
	CHECK(mprotect(p, 700 * PAGE, PROT_READ) == 0);
	mm_check(p, 700, 1);
	CHECK(mprotect(q, PAGE, PROT_READ) == 0);
	CHECK_EQ(*q, 5);
}

/* where the machine has swap these pages are there: read back, and still shared with the child */
static void swapped(void)
{
	char *p = mm_anon(512, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, 512, 1);
	pid_t child = fork();
	if (child == 0) {
		mm_fill(p, 200, 2);
		madvise(p, 200 * PAGE, MADV_PAGEOUT);
		subject_mark("child");
		subject_wait_go();
		mm_check(p, 200, 2);
		for (uint64_t i = 200; i < 512; i++)
			CHECK_EQ(*(uint64_t *)(p + i * PAGE), mm_word(1, i, 0));
		_exit(0);
	}
	subject_wait("child");
	madvise(p, 400 * PAGE, MADV_PAGEOUT);
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	mm_check(p, 512, 1);
	mm_reap(child);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(protections), CASE(sparse), CASE(zero),
	                     CASE(noreserve), CASE(accounting), CASE(large), CASE(checkerboard),
	                     CASE(write_only), CASE(swapped), CASE(contents));
}
