/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapped files: private ones, of which only changed pages are saved, shared ones, and the file that
 * /proc/self/exe shows.
 *
 * TEST private round-trip -- private
 * TEST shared round-trip -- shared
 * TEST read-only round-trip -- read_only
 * TEST beyond-end round-trip -- beyond_end
 * TEST many round-trip -- many
 * TEST zero-device round-trip -- zero_device
 * TEST exe round-trip -- exe
 * TEST odd-name round-trip needs=map_files -- odd_name
 *
 * Without map_files (the dates of a deleted file that is only mapped nobody sees):
 * TEST descriptor round-trip without=map_files -- descriptor
 * TEST seen round-trip without=map_files -- seen
 * TEST other-name round-trip without=map_files except=map* -- other_name
 * TEST seen-private refuse without=map_files code=mm.file-link -- seen_private
 * TEST seen-part refuse without=map_files code=mm.shared-parts -- seen_part
 * TEST seen-outsider refuse without=map_files code=leak -- seen_outsider
 */
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "cases.h"
#include "mm.h"

static int file(const char *name, uint64_t n_pages, uint64_t seed)
{
	char *page = malloc(PAGE);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && page);
	for (uint64_t i = 0; i < n_pages; i++) {
		mm_fill(page, 1, seed + i);
		CHECK(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE);
	}
	free(page);
	return fd;
}

static void *map(int fd, uint64_t n_pages, int prot, int flags, uint64_t offset)
{
	void *p = mmap(NULL, n_pages * PAGE, prot, flags, fd, (off_t)(offset * PAGE));

	CHECK(p != MAP_FAILED);
	return p;
}

static void private(void)
{
	int fd = file("f", 600, 100);
	char *p = map(fd, 512, PROT_READ | PROT_WRITE, MAP_PRIVATE, 3);
	char *r = map(fd, 16, PROT_READ, MAP_PRIVATE, 0);

	close(fd);
	for (uint64_t i = 0; i < 512; i += 50)
		mm_fill(p + i * PAGE, 1, i);
	CHECK(mprotect(p + 200 * PAGE, 100 * PAGE, PROT_READ) == 0);
	subject_checkpoint();
	struct stat st;
	for (uint64_t i = 0; i < 512; i++)
		mm_check(p + i * PAGE, 1, i % 50 ? 103 + i : i);
	for (uint64_t i = 0; i < 16; i++)
		mm_check(r + i * PAGE, 1, 100 + i);
	/* the file has not got what was written, and the image not what was not */
	fd = open("f", O_RDWR | O_CLOEXEC);
	char page[PAGE];
	CHECK(pread(fd, page, PAGE, 3 * PAGE) == (ssize_t)PAGE);
	mm_check(page, 1, 103);
	mm_fill(page, 1, 5000);
	CHECK(pwrite(fd, page, PAGE, 4 * PAGE) == (ssize_t)PAGE);
	mm_check(p + PAGE, 1, 5000);
	CHECK(stat("../image", &st) == 0 && st.st_size < 2 << 20);
}

static void shared(void)
{
	int fd = file("f", 64, 0);
	char *p = map(fd, 64, PROT_READ | PROT_WRITE, MAP_SHARED, 0), page[PAGE];
	char *none = map(fd, 8, PROT_NONE, MAP_SHARED, 8);

	mm_fill(p + 5 * PAGE, 1, 1000);
	subject_checkpoint();
	mm_check(p + 5 * PAGE, 1, 1000);
	CHECK(fd == open("g", O_RDONLY | O_CREAT, 0600) || fcntl(fd, F_GETFD) >= 0);
	mm_fill(p + 6 * PAGE, 1, 1001);
	CHECK(pread(fd, page, PAGE, 6 * PAGE) == (ssize_t)PAGE);
	mm_check(page, 1, 1001);
	CHECK(msync(p, 64 * PAGE, MS_SYNC) == 0);
	CHECK(mprotect(none, 8 * PAGE, PROT_READ | PROT_WRITE) == 0);
	mm_check(none, 1, 8);
	mm_fill(none, 1, 1002);
	mm_check(p + 8 * PAGE, 1, 1002);
}

/* shared, of a descriptor opened for reading: cannot be made writable, before or after */
static void read_only(void)
{
	close(file("f", 8, 0));
	int fd = open("f", O_RDONLY | O_CLOEXEC);
	char *p = map(fd, 8, PROT_READ, MAP_SHARED, 0);

	close(fd);
	subject_checkpoint();
	mm_check(p + PAGE, 1, 1);
	CHECK(mprotect(p, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
}

/* a mapping that reaches beyond the end of its file */
static void beyond_end(void)
{
	int fd = file("f", 2, 0);
	char *p = map(fd, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	char *s = map(fd, 8, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	mm_fill(p + PAGE, 1, 50);
	CHECK(ftruncate(fd, PAGE + 100) == 0);
	close(fd);
	subject_checkpoint();
	mm_check(p, 1, 0);
	CHECK_EQ(*(uint64_t *)(s + PAGE), mm_word(1, 0, 0));
	fd = open("f", O_RDWR | O_CLOEXEC);
	CHECK(ftruncate(fd, 8 * PAGE) == 0);
	mm_check_zero(s + 3 * PAGE, 5);
	mm_check_zero(p + 3 * PAGE, 5);
}

/* more files than one batch of descriptors has, each mapped several times */
static void many(void)
{
	char name[32], *p[600], *q[600];

	for (uint64_t i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "f%d", (int)i);
		int fd = file(name, 2, i);
		p[i] = map(fd, 2, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
		q[i] = map(fd, 1, PROT_READ | PROT_WRITE, MAP_SHARED, 1);
		close(fd);
		mm_fill(p[i], 1, 10000 + i);
	}
	subject_checkpoint();
	for (uint64_t i = 0; i < 600; i++) {
		mm_check(p[i], 1, 10000 + i);
		mm_check(p[i] + PAGE, 1, i + 1);
		mm_check(q[i], 1, i + 1);
	}
}

static void zero_device(void)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	char *p = map(fd, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	char *s = map(fd, 8, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	close(fd);
	mm_fill(p, 2, 1);
	mm_fill(s + PAGE, 2, 2);
	subject_checkpoint();
	mm_check(p, 2, 1);
	mm_check_zero(p + 2 * PAGE, 6);
	mm_check(s + PAGE, 2, 2);
	mm_check_zero(s, 1);
}

static void exe(void)
{
	char before[4096] = "", after[4096] = "";
	struct stat a, b;

	CHECK(readlink("/proc/self/exe", before, sizeof(before) - 1) > 0);
	CHECK(stat("/proc/self/exe", &a) == 0);
	subject_checkpoint();
	CHECK(readlink("/proc/self/exe", after, sizeof(after) - 1) > 0);
	CHECK(stat("/proc/self/exe", &b) == 0);
	CHECK(!strcmp(before, after) && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	/* it is executed: nobody may write to it */
	CHECK(open(after, O_WRONLY | O_CLOEXEC) == -1 && errno == ETXTBSY);
}

static void odd_name(void)
{
	static const char *const names[] = { "new\nline", "back\\012slash", " blank (deleted)",
		                             "[heap]", "\xff\xfe" };
	char *p[5];

	for (int i = 0; i < 5; i++) {
		int fd = file(names[i], 1, i);
		p[i] = map(fd, 1, PROT_READ, MAP_PRIVATE, 0);
		close(fd);
	}
	subject_checkpoint();
	for (int i = 0; i < 5; i++)
		mm_check(p[i], 1, i);
}

/* deleted, and mapped as a whole; the descriptor is the caller's */
static char *deleted(int flags, int *ret_fd)
{
	*ret_fd = file("deleted", 4, 1);
	char *p = map(*ret_fd, 4, PROT_READ | PROT_WRITE, flags, 0);

	CHECK(unlink("deleted") == 0);
	return p;
}

/* another process has that, and has not mapped it */
static void descriptor(void)
{
	int fd;
	char *p = deleted(MAP_SHARED, &fd);
	pid_t child = fork();

	if (child == 0) {
		CHECK(munmap(p, 4 * PAGE) == 0);
		subject_mark("child");
		subject_wait_go();
		uint64_t word = 0;
		while (word != 7)
			CHECK(pread(fd, &word, 8, 0) == 8);
		_exit(0);
	}
	close(fd);
	subject_wait("child");
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	CHECK_EQ(*(uint64_t *)(p + PAGE), mm_word(2, 0, 0));
	*(volatile uint64_t *)p = 7;
	mm_reap(child);
}

static void seen(void)
{
	int fd;
	volatile uint64_t *p = (void *)deleted(MAP_SHARED, &fd);
	pid_t child;

	close(fd);
	p[1] = 0;
	child = fork();
	if (child == 0) {
		subject_wait_go();
		p[1] = 7;
		_exit(0);
	}
	subject_wait_call(child, SYS_clock_nanosleep);
	subject_checkpoint();
	mm_reap(child);
	CHECK_EQ(p[1], 7);
	for (uint64_t i = 1; i < 4; i++)
		CHECK_EQ(p[i * 512], mm_word(1 + i, 0, 0));
}

/* as sem_open(3) does it; nothing tells then under which it was opened */
static void other_name(void)
{
	int fd = file("temporary", 1, 1);
	char *p = map(fd, 1, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	close(fd);
	CHECK(link("temporary", "name") == 0 && unlink("temporary") == 0);
	subject_checkpoint();
	mm_fill(p, 1, 5);
	fd = open("name", O_RDWR);
	CHECK(fd >= 0);
	mm_check(map(fd, 1, PROT_READ, MAP_SHARED, 0), 1, 5);
}

static void seen_private(void)
{
	int fd;
	char *p = deleted(MAP_PRIVATE, &fd);

	close(fd);
	subject_checkpoint();
	CHECK_EQ(*(uint64_t *)p, mm_word(1, 0, 0));
}

static void seen_part(void)
{
	int fd;
	char *p = deleted(MAP_SHARED, &fd);

	close(fd);
	CHECK(munmap(p + 2 * PAGE, 2 * PAGE) == 0);
	subject_checkpoint();
	CHECK_EQ(*(uint64_t *)p, mm_word(1, 0, 0));
}

/* a child has left the set, since its parent has ended */
static void seen_outsider(void)
{
	int fd;
	char *p = deleted(MAP_SHARED, &fd);

	close(fd);
	mm_leave_outside();
	subject_checkpoint();
	CHECK_EQ(*(uint64_t *)p, mm_word(1, 0, 0));
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(shared), CASE(read_only), CASE(beyond_end),
	                     CASE(many), CASE(zero_device), CASE(exe), CASE(odd_name),
	                     CASE(private), CASE(descriptor), CASE(seen), CASE(other_name),
	                     CASE(seen_private), CASE(seen_part), CASE(seen_outsider));
}
