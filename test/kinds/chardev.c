/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices without state.
 *
 * TEST all round-trip -- all
 * TEST chroot round-trip -- node
 * TEST gone restart-refuse code=chardev.changed before="rm node" -- node
 * TEST other restart-refuse code=chardev.changed before="rm node; mknod node c 1 5" -- node
 * TEST fifo restart-refuse code=chardev.changed before="rm node; mkfifo node" -- node
 * TEST deleted refuse code=chardev.changed -- deleted
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cases.h"

static void all(void)
{
	static const char *const paths[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
		                             "/dev/urandom" };
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };
	static const int flags[] = { O_RDWR, O_RDONLY | O_NONBLOCK, O_WRONLY | O_APPEND };
	int fds[5][3], shown[5][3];
	struct stat st;
	char buffer[16];

	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 3; k++) {
			fds[i][k] = open(paths[i], flags[k]);
			CHECK(fds[i][k] >= 0);
			shown[i][k] = fcntl(fds[i][k], F_GETFL);
		}
	}
	subject_checkpoint();
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 3; k++) {
			CHECK_EQ(fstat(fds[i][k], &st), 0);
			CHECK(S_ISCHR(st.st_mode));
			CHECK_EQ(st.st_rdev, makedev(1, minors[i]));
			CHECK_EQ(fcntl(fds[i][k], F_GETFL), shown[i][k]);
		}
	}
	CHECK_EQ(read(fds[0][0], buffer, sizeof(buffer)), 0);
	CHECK_EQ(read(fds[1][0], buffer, sizeof(buffer)), sizeof(buffer));
	CHECK_EQ(write(fds[2][0], buffer, 1), -1);
	CHECK_EQ(errno, ENOSPC);
}

/* another node of a device, elsewhere */
static void node(void)
{
	struct stat st;

	CHECK_EQ(mknod("node", S_IFCHR | 0600, makedev(1, 3)), 0);
	int fd = open("node", O_RDWR);
	CHECK(fd >= 0);
	subject_checkpoint();
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode, S_IFCHR | 0600);
}

static void deleted(void)
{
	CHECK_EQ(mknod("node", S_IFCHR | 0600, makedev(1, 3)), 0);
	CHECK(open("node", O_RDWR) >= 0);
	CHECK_EQ(unlink("node"), 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(all), CASE(node), CASE(deleted));
}
