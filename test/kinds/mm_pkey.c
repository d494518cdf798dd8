/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory protection keys, pkeys(7): which are allocated, which mappings have one, what the thread's
 * register says of each, and the one that the kernel takes for execute-only memory.
 *
 * TEST allocated round-trip needs=pkeys -- allocated
 * TEST freed round-trip needs=pkeys -- freed
 * TEST execute-only round-trip needs=pkeys -- execute_only
 * TEST execute-only-file round-trip needs=pkeys -- execute_only_file
 * TEST child round-trip needs=pkeys -- child
 * TEST unexamined refuse code=not.supported needs=pkeys without=pkeys -- allocated
 * TEST not-here restart-refuse code=not.supported needs=pkeys without=pkeys -- allocated
 */
#include "cases.h"
#include "mm.h"

static bool readable(const void *p)
{
	int fds[2];

	CHECK(pipe(fds) == 0);
	bool ret = write(fds[1], p, 1) == 1;
	CHECK(ret || errno == EFAULT);
	close(fds[0]);
	close(fds[1]);
	return ret;
}

static bool writable(void *p)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	bool ret = read(fd, p, 1) == 1;
	CHECK(ret || errno == EFAULT);
	close(fd);
	return ret;
}

/* keys 1, 3 and 4 are allocated */
static void check_free_keys(void)
{
	CHECK_EQ(pkey_alloc(0, 0), 2);
	CHECK_EQ(pkey_alloc(0, 0), 5);
}

static void allocated(void)
{
	char *locked = mm_anon(2, PROT_READ | PROT_WRITE, 0);
	char *hidden = mm_anon(2, PROT_READ | PROT_WRITE, 0);

	for (int key = 1; key <= 4; key++)
		CHECK_EQ(pkey_alloc(0, 0), key);
	mm_fill(locked, 2, 1);
	mm_fill(hidden, 2, 2);
	CHECK(pkey_mprotect(locked, 2 * PAGE, PROT_READ | PROT_WRITE, 3) == 0);
	CHECK(pkey_mprotect(hidden, 2 * PAGE, PROT_READ | PROT_WRITE, 4) == 0);
	CHECK(pkey_free(2) == 0);
	CHECK(pkey_set(3, PKEY_DISABLE_WRITE) == 0);
	CHECK(pkey_set(4, PKEY_DISABLE_ACCESS) == 0);
	subject_checkpoint();
	CHECK_EQ(pkey_get(3), PKEY_DISABLE_WRITE);
	CHECK_EQ(pkey_get(4), PKEY_DISABLE_ACCESS);
	CHECK(readable(locked) && !writable(locked) && !readable(hidden));
	mm_check(locked, 2, 1);
	CHECK(pkey_set(4, 0) == 0);
	mm_check(hidden, 2, 2);
	check_free_keys();
}

/* a mapping keeps a key that is not allocated any more */
static void freed(void)
{
	char *p = mm_anon(2, PROT_READ | PROT_WRITE, 0);

	for (int key = 1; key <= 4; key++)
		CHECK_EQ(pkey_alloc(0, 0), key);
	mm_fill(p, 2, 1);
	CHECK(pkey_mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE, 2) == 0);
	CHECK(pkey_free(2) == 0);
	CHECK(pkey_set(2, PKEY_DISABLE_WRITE) == 0);
	subject_checkpoint();
	CHECK(readable(p) && !writable(p));
	mm_check(p, 2, 1);
	CHECK(pkey_mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE, 2) == -1 && errno == EINVAL);
	check_free_keys();
}

static void execute_only_check(char *p, const char *more)
{
	for (int key = 1; key <= 2; key++)
		CHECK_EQ(pkey_alloc(0, 0), key);
	CHECK(mprotect(p, 2 * PAGE, PROT_EXEC) == 0); /* takes key 3 */
	CHECK(pkey_free(1) == 0);
	CHECK(!readable(p));
	subject_checkpoint();
	CHECK(!readable(p) && !readable(more));
	CHECK_EQ(pkey_alloc(0, 0), 1);
	CHECK_EQ(pkey_alloc(0, 0), 4);
	/* the key is the kernel's, and gone with the protection that it was taken for */
	CHECK(mprotect(p, 2 * PAGE, PROT_READ) == 0);
	mm_check(p, 2, 1);
}

static void execute_only(void)
{
	char *p = mm_anon(2, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, 2, 1);
	execute_only_check(p, p + PAGE);
}

static void execute_only_file(void)
{
	int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
	char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(shared != MAP_FAILED && p != MAP_FAILED);
	mm_fill(shared, 2, 1);
	CHECK(mprotect(shared, 2 * PAGE, PROT_READ) == 0);
	execute_only_check(p, p + PAGE);
}

/* each process has keys of its own, which begin as the parent's */
static void child(void)
{
	char *p = mm_anon(2, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, 2, 1);
	for (int key = 1; key <= 4; key++)
		CHECK_EQ(pkey_alloc(0, 0), key);
	CHECK(pkey_mprotect(p, PAGE, PROT_READ | PROT_WRITE, 1) == 0);
	CHECK(pkey_set(1, PKEY_DISABLE_WRITE) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(pkey_free(2) == 0);
		subject_settle("child");
		CHECK(readable(p) && !writable(p));
		check_free_keys();
		_exit(0);
	}
	subject_wait("child");
	CHECK(pkey_free(3) == 0);
	subject_checkpoint();
	subject_check_exit(pid, 0);
	CHECK(readable(p) && !writable(p));
	CHECK_EQ(pkey_alloc(0, 0), 3);
	CHECK_EQ(pkey_alloc(0, 0), 5);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(allocated), CASE(freed), CASE(execute_only),
	                     CASE(execute_only_file), CASE(child));
}
