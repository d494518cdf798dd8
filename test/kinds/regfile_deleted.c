/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that were deleted, and their folders with them.
 *
 * Exceptions: the inode number of a file that is made again is new, and is part of the name that
 * O_TMPFILE shows (fd); a name that is taken at restart cannot be shown again (fd).
 *
 * TEST deleted round-trip -- deleted
 * TEST deleted-tmpfs round-trip -- deleted-tmpfs
 * TEST deleted-mapped round-trip -- deleted-mapped
 * TEST deleted-running round-trip -- deleted-running
 * TEST deleted-taken round-trip except=fd/? -- deleted-taken
 * TEST deleted-named round-trip -- deleted-named
 * TEST deleted-attributes round-trip -- deleted-attributes
 * TEST folder-gone-since round-trip before="rm -r folder" -- deleted-in-folder
 * TEST folder-taken restart-refuse code=regfile.directory before="rm -r folder; touch folder" -- deleted-in-folder
 * TEST folder-gone round-trip -- folder-gone
 * TEST append-only round-trip -- append-only
 * TEST append-only-unprivileged restart-refuse code=regfile.attributes without=cap_linux_immutable -- append-only
 * TEST immutable round-trip -- immutable
 * TEST attributes refuse code=regfile.attributes -- attributes
 */
#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "regfile.h"

#define MIB (1 << 20)

/* data, a hole of 1 MiB, data across a page's end, a hole up to an odd size */
static const struct {
	off_t at;
	size_t size;
} pieces[] = { { 0, 100 }, { MIB + 4000, 200 }, { 3 * MIB, 70000 } };
#define SPARSE_SIZE (9 * MIB + 1234)

static void fill_sparse(int fd)
{
	static char data[70000];

	for (size_t i = 0; i < 3; i++) {
		memset(data, 'a' + (int)i, sizeof(data));
		CHECK_EQ(pwrite(fd, data, pieces[i].size, pieces[i].at), pieces[i].size);
	}
	CHECK_EQ(ftruncate(fd, SPARSE_SIZE), 0);
}

static void check_sparse(int fd)
{
	static char expected[SPARSE_SIZE], found[SPARSE_SIZE];
	struct stat st;

	for (size_t i = 0; i < 3; i++)
		memset(expected + pieces[i].at, 'a' + (int)i, pieces[i].size);
	CHECK_EQ(pread(fd, found, sizeof(found), 0), sizeof(found));
	CHECK_EQ(memcmp(expected, found, sizeof(found)), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(st.st_blocks * 512 < MIB);
}

static void set_attributes(int fd)
{
	const struct timespec times[] = { { 1000000000, 123456789 }, { 1100000000, 987654321 } };

	CHECK_EQ(fchown(fd, 12, 34), 0);
	CHECK_EQ(fchmod(fd, 06751), 0);
	CHECK_EQ(fsetxattr(fd, "trusted.stasis", "value", 5, 0), 0);
	CHECK_EQ(fsetxattr(fd, "trusted.empty", "", 0, 0), 0);
	CHECK_EQ(futimens(fd, times), 0);
}

static void check_xattrs(int fd)
{
	char value[16];

	CHECK_EQ(fgetxattr(fd, "trusted.stasis", value, sizeof(value)), 5);
	CHECK_EQ(memcmp(value, "value", 5), 0);
	CHECK_EQ(fgetxattr(fd, "trusted.empty", value, sizeof(value)), 0);
}

/* two descriptions, one of them shared with a child: one file, saved once */
static void test_deleted(const char *name)
{
	struct stat before, after, other;
	int fd = open(name, O_CREAT | O_RDWR, 0600), reader = open(name, O_RDONLY | O_NOATIME);

	CHECK(fd >= 0 && reader >= 0);
	fill_sparse(fd);
	CHECK_EQ(unlink(name), 0);
	CHECK_EQ(lseek(reader, 77, SEEK_SET), 77);
	set_attributes(fd);
	CHECK_EQ(fstat(fd, &before), 0);
	pid_t child = fork();
	if (child == 0) {
		subject_settle("child");
		check_sparse(reader);
		CHECK_EQ(pwrite(fd, "child", 5, 50), 5);
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK_EQ(fstat(fd, &after), 0);
	CHECK_EQ(fstat(reader, &other), 0);
	check_attributes(&before, &after);
	CHECK_EQ(after.st_ino, other.st_ino);
	check_xattrs(reader);
	CHECK_EQ(lseek(reader, 0, SEEK_CUR), 77);
	char link[64];
	snprintf(link, sizeof(link), "%s (deleted)", name);
	check_link(fd, link);
	CHECK_EQ(access(name, F_OK), -1);
	subject_check_exit(child, 0);
	char seen[6] = "";
	CHECK_EQ(pread(reader, seen, 5, 50), 5);
	CHECK_EQ(strcmp(seen, "child"), 0);
}

static void test_deleted_tmpfs(void)
{
	CHECK_EQ(mkdir("mount", 0755), 0);
	CHECK_EQ(mount("tmpfs", "mount", "tmpfs", 0, NULL), 0);
	test_deleted("mount/file");
}

static void test_deleted_mapped(void)
{
	int fd = open("file", O_CREAT | O_RDWR, 0600);

	fill_sparse(fd);
	char *shared = mmap(NULL, SPARSE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *private = mmap(NULL, SPARSE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED);
	shared[5 * MIB] = 's';
	private[6 * MIB] = 'p';
	CHECK_EQ(unlink("file"), 0);
	close(fd);
	subject_checkpoint();
	CHECK_EQ(shared[5 * MIB], 's');
	CHECK_EQ(private[5 * MIB], 's');
	CHECK_EQ(private[6 * MIB], 'p');
	CHECK_EQ(shared[6 * MIB], 0);
	CHECK_EQ(shared[MIB + 4100], 'b');
	shared[7 * MIB] = 'n';
	CHECK_EQ(private[7 * MIB], 'n');
}

/* the executable itself is deleted while it runs: the exe link, and no writer may be left */
static void test_deleted_running(char **argv)
{
	char link[4096];

	if (!strstr(argv[0], "copy")) {
		CHECK_EQ(system("cp /proc/$PPID/exe copy"), 0);
		execl("copy", "copy", argv[1], NULL);
		FAIL("execl: %s", strerror(errno));
	}
	CHECK_EQ(unlink("copy"), 0);
	subject_checkpoint();
	ssize_t n = readlink("/proc/self/exe", link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = 0;
	CHECK(strstr(link, "/copy (deleted)"));
	CHECK_EQ(open("/proc/self/exe", O_RDWR), -1);
	CHECK_EQ(errno, ETXTBSY);
	CHECK(open("/proc/self/exe", O_RDONLY) >= 0);
}

static void test_deleted_taken(void)
{
	struct stat old, new;
	int fd = make_file("file", O_RDWR);

	CHECK_EQ(unlink("file"), 0);
	close(make_file("file", O_WRONLY | O_APPEND));
	subject_checkpoint();
	check_text(fd);
	CHECK_EQ(fstat(fd, &old), 0);
	CHECK_EQ(stat("file", &new), 0);
	CHECK_EQ(old.st_nlink, 0);
	CHECK(old.st_ino != new.st_ino);
}

/* a name that looks like the mark of a deleted one */
static void test_deleted_named(void)
{
	int fd = make_file("file (deleted)", O_RDWR);

	subject_checkpoint();
	check_text(fd);
	CHECK_EQ(access("file (deleted)", F_OK), 0);
}

static void set_flag(int fd, unsigned flag)
{
	unsigned flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		SKIP("this file system has no attributes");
	flags |= flag;
	CHECK_EQ(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
}

static void test_deleted_attributes(void)
{
	unsigned flags = 0;
	int fd = make_file("file", O_RDWR);

	set_flag(fd, FS_NODUMP_FL);
	CHECK_EQ(unlink("file"), 0);
	subject_checkpoint();
	check_text(fd);
	CHECK_EQ(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
	CHECK(flags & FS_NODUMP_FL);
}

static void check_flag(int fd, unsigned flag)
{
	unsigned flags = 0;

	CHECK_EQ(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
	CHECK(flags & flag);
}

/* what was open for writing, and mapped, before the file was append-only stays so */
static void test_append_only(void)
{
	struct stat before, after;
	int fd = make_file("file", O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	CHECK_EQ(unlink("file"), 0);
	CHECK_EQ(fsetxattr(fd, "trusted.stasis", "value", 5, 0), 0);
	set_flag(fd, FS_APPEND_FL);
	CHECK_EQ(fstat(fd, &before), 0);
	subject_checkpoint();
	check_flag(fd, FS_APPEND_FL);
	CHECK_EQ(fstat(fd, &after), 0);
	check_attributes(&before, &after);
	check_text(fd);
	CHECK_EQ(memcmp(map, text, sizeof(text)), 0);
	map[0] = 'm';
	CHECK_EQ(fcntl(fd, F_GETFL) & O_APPEND, 0);
	CHECK_EQ(ftruncate(fd, 0), -1);
	CHECK_EQ(errno, EPERM);
}

static void test_immutable(void)
{
	struct stat before, after;
	int fd = make_file("file", O_RDWR);
	CHECK_EQ(mkdir("folder", 0755), 0);
	int folder = open("folder", O_RDONLY | O_DIRECTORY);

	CHECK_EQ(unlink("file"), 0);
	CHECK_EQ(rmdir("folder"), 0);
	set_flag(fd, FS_IMMUTABLE_FL);
	set_flag(folder, FS_IMMUTABLE_FL | FS_APPEND_FL);
	CHECK_EQ(fstat(fd, &before), 0);
	subject_checkpoint();
	check_flag(fd, FS_IMMUTABLE_FL);
	check_flag(folder, FS_IMMUTABLE_FL);
	check_flag(folder, FS_APPEND_FL);
	CHECK_EQ(fstat(fd, &after), 0);
	check_attributes(&before, &after);
	check_text(fd);
	CHECK_EQ(fchmod(fd, 0600), -1);
}

/* one that is about where subdirectories would be put: ext4's */
static void test_attributes(void)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	int fd = open("folder", O_RDONLY | O_DIRECTORY);
	set_flag(fd, FS_TOPDIR_FL);
	CHECK_EQ(rmdir("folder"), 0);
	subject_checkpoint();
	check_flag(fd, FS_TOPDIR_FL);
}

static void test_in_folder(bool remove)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	int fd = make_file("folder/file", O_RDWR);
	CHECK_EQ(unlink("folder/file"), 0);
	if (remove)
		CHECK_EQ(rmdir("folder"), 0);
	subject_checkpoint();
	check_text(fd);
	check_link(fd, "folder/file (deleted)");
	CHECK(!remove || access("folder", F_OK) < 0);
}

int main(int argc, char **argv)
{
	RUN("deleted", test_deleted("file"))
	RUN("deleted-tmpfs", test_deleted_tmpfs())
	RUN("deleted-mapped", test_deleted_mapped())
	RUN("deleted-running", test_deleted_running(argv))
	RUN("deleted-taken", test_deleted_taken())
	RUN("deleted-named", test_deleted_named())
	RUN("deleted-attributes", test_deleted_attributes())
	RUN("deleted-in-folder", test_in_folder(false))
	RUN("folder-gone", test_in_folder(true))
	RUN("append-only", test_append_only())
	RUN("immutable", test_immutable())
	RUN("attributes", test_attributes())
	FAIL("no test \"%s\"", argc > 1 ? argv[1] : "");
}
