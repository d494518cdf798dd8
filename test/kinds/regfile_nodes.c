/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Symbolic links, devices and sockets that were deleted (O_PATH).
 *
 * TEST deleted-nodes round-trip -- deleted-nodes
 * TEST deleted-nodes-twice round-trip -- deleted-nodes-twice
 * TEST linked-nodes round-trip -- linked-nodes
 * TEST bound-socket refuse code=regfile.deleted -- bound-socket
 * TEST deleted-nodes-unprivileged restart-refuse code=regfile.deleted without=cap_mknod -- deleted-nodes
 */
#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "regfile.h"

#define N_NODES 4
static const char *const nodes[N_NODES] = { "symlink", "zero", "block", "socket" };

static void make_nodes(void)
{
	const struct timespec times[] = { { 1000000000, 123456789 }, { 1100000000, 987654321 } };

	CHECK_EQ(symlink("where/it/leads", "symlink"), 0);
	CHECK_EQ(mknod("zero", S_IFCHR | 0600, makedev(1, 5)), 0);
	CHECK_EQ(mknod("block", S_IFBLK | 0600, makedev(7, 3)), 0);
	CHECK_EQ(mknod("socket", S_IFSOCK | 0600, 0), 0);
	for (int i = 0; i < N_NODES; i++) {
		CHECK_EQ(lchown(nodes[i], 12, 34), 0);
		if (i)
			CHECK_EQ(chmod(nodes[i], 02751), 0);
		CHECK_EQ(lsetxattr(nodes[i], "trusted.stasis", "value", 5, 0), 0);
		CHECK_EQ(utimensat(AT_FDCWD, nodes[i], times, AT_SYMLINK_NOFOLLOW), 0);
	}
}

static void check_node(int fd, const char *name, const struct stat *before)
{
	char link[64], value[16];
	struct stat after;

	CHECK_EQ(fstat(fd, &after), 0);
	CHECK_EQ(before->st_rdev, after.st_rdev);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	CHECK_EQ(getxattr(link, "trusted.stasis", value, sizeof(value)), 5);
	snprintf(link, sizeof(link), "%s (deleted)", name);
	check_link(fd, link);
	if (S_ISLNK(after.st_mode)) {
		CHECK_EQ(readlinkat(fd, "", value, 15), 14);
		CHECK_EQ(memcmp(value, "where/it/leads", 14), 0);
	}
}

/* what O_PATH leads to when it was deleted; @twice: under two names, which both are */
static void test_deleted_nodes(bool twice)
{
	struct stat before[N_NODES];
	int fds[N_NODES], others[N_NODES], folder;
	char other[16];

	make_nodes();
	CHECK_EQ(mkdir("folder", 0755), 0);
	folder = open("folder", O_PATH | O_DIRECTORY);
	CHECK_EQ(rmdir("folder"), 0);
	for (int i = 0; i < N_NODES; i++) {
		snprintf(other, sizeof(other), "other%d", i);
		if (twice)
			CHECK_EQ(link(nodes[i], other), 0);
		fds[i] = open(nodes[i], O_PATH | O_NOFOLLOW);
		others[i] = twice ? open(other, O_PATH | O_NOFOLLOW) : dup(fds[i]);
		CHECK(fds[i] >= 0 && others[i] >= 0);
		CHECK_EQ(unlink(nodes[i]), 0);
		CHECK_EQ(twice ? unlink(other) : 0, 0);
		CHECK_EQ(fstat(fds[i], &before[i]), 0);
	}
	subject_checkpoint();
	for (int i = 0; i < N_NODES; i++) {
		struct stat a, b;
		snprintf(other, sizeof(other), "other%d", i);
		CHECK_EQ(fcntl(fds[i], F_GETFL), O_PATH | O_NOFOLLOW);
		CHECK_EQ(fstat(fds[i], &a), 0);
		check_attributes(&before[i], &a);
		check_node(fds[i], nodes[i], &before[i]);
		check_node(others[i], twice ? other : nodes[i], &before[i]);
		CHECK_EQ(fstat(others[i], &b), 0);
		CHECK_EQ(a.st_ino, b.st_ino);
	}
	check_link(folder, "folder (deleted)");
	CHECK_EQ(fcntl(folder, F_GETFL), O_PATH | O_DIRECTORY);
}

/* they have other names */
static void test_linked_nodes(void)
{
	struct stat before[N_NODES], after;
	int fds[N_NODES];
	char other[16];

	make_nodes();
	for (int i = 0; i < N_NODES; i++) {
		snprintf(other, sizeof(other), "other%d", i);
		CHECK_EQ(link(nodes[i], other), 0);
		fds[i] = open(nodes[i], O_PATH | O_NOFOLLOW);
		CHECK_EQ(unlink(nodes[i]), 0);
		CHECK_EQ(fstat(fds[i], &before[i]), 0);
	}
	subject_checkpoint();
	for (int i = 0; i < N_NODES; i++) {
		CHECK_EQ(fstat(fds[i], &after), 0);
		check_attributes(&before[i], &after);
		CHECK_EQ(before[i].st_ino, after.st_ino);
		check_node(fds[i], nodes[i], &before[i]);
	}
}

/* the listener is outside: it has closed its own descriptor of nothing, but can be connected to */
static void test_bound_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };

	pid_t child = fork();
	if (child == 0 && fork() == 0) {
		setsid();
		int s = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK_EQ(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
		CHECK_EQ(listen(s, 1), 0);
		subject_mark("bound");
		subject_wait_go();
		_exit(0);
	} else if (child == 0) {
		_exit(0);
	}
	CHECK_EQ(waitpid(child, NULL, 0), child);
	subject_wait("bound");
	CHECK(open("socket", O_PATH) >= 0);
	CHECK_EQ(unlink("socket"), 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	RUN("deleted-nodes", test_deleted_nodes(false))
	RUN("deleted-nodes-twice", test_deleted_nodes(true))
	RUN("linked-nodes", test_linked_nodes())
	RUN("bound-socket", test_bound_socket())
	FAIL("no test \"%s\"", argc > 1 ? argv[1] : "");
}
