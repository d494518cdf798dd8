/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files by path, deleted, renamed and changed; what stands behind descriptors and mappings.
 *
 * Exceptions: the inode number of a file that is made again is new, and is part of the name that
 * O_TMPFILE shows (fd); a name that is taken at restart cannot be shown again (fd).
 *
 * TEST plain round-trip -- plain
 * TEST odd-name round-trip -- odd-name
 * TEST directory round-trip -- directory
 * TEST path round-trip -- path
 * TEST nofollow round-trip -- nofollow
 * TEST deleted round-trip -- deleted
 * TEST deleted-tmpfs round-trip -- deleted-tmpfs
 * TEST deleted-nofollow round-trip -- deleted-nofollow
 * TEST deleted-mapped round-trip -- deleted-mapped
 * TEST deleted-running round-trip -- deleted-running
 * TEST deleted-taken round-trip except=fd/? -- deleted-taken
 * TEST deleted-named round-trip -- deleted-named
 * TEST deleted-attributes round-trip -- deleted-attributes
 * TEST unnamed round-trip except=fd/? -- unnamed
 * TEST unnamed-append round-trip except=fd/? -- unnamed-append
 * TEST unnamed-closed round-trip except=fd/? -- unnamed-closed
 * TEST linked round-trip -- linked
 * TEST linked-taken round-trip except=fd/? -- linked-taken
 * TEST renamed round-trip -- renamed
 * TEST renamed-since round-trip except=fd/? before="mv file other" -- plain
 * TEST grown restart-refuse code=regfile.changed before="echo >>file" -- plain
 * TEST touched restart-refuse code=regfile.changed before="touch file" -- plain
 * TEST replaced restart-refuse code=regfile.changed before="cp -p file other; mv other file" -- plain
 * TEST gone restart-refuse code=regfile.changed before="rm file" -- plain
 * TEST other-type restart-refuse code=regfile.changed before="rm file; mkdir file" -- plain
 * TEST other-directory restart-refuse code=regfile.changed before="mkdir new; rmdir folder; mv new folder" -- empty-directory
 * TEST linked-changed restart-refuse code=regfile.changed before="echo >>other" -- linked
 * TEST folder-gone-since round-trip before="rm -r folder" -- deleted-in-folder
 * TEST folder-taken restart-refuse code=regfile.directory before="rm -r folder; touch folder" -- deleted-in-folder
 * TEST changed-allow round-trip restart="--files-changed allow" before="echo >>file" -- changed-allow
 * TEST replaced-allow round-trip restart="--files-changed allow" before="cp file other; mv other file" -- plain
 * TEST folder-gone round-trip -- folder-gone
 * TEST folder-gone-linked round-trip -- folder-gone-linked
 * TEST two-names round-trip -- two-names
 * TEST two-names-tmpfs round-trip -- two-names-tmpfs
 * TEST two-mounts round-trip -- two-mounts
 * TEST two-names-unnamed round-trip except=fd/? -- two-names-unnamed
 * TEST two-names-taken round-trip except=fd/?,map/7* before="touch other" -- two-names-taken
 * TEST unnamed-later round-trip except=fd/??? -- unnamed-later
 * TEST unnamed-linked round-trip except=fdinfo/?/flags -- unnamed-linked
 * TEST unnamed-mounts refuse code=regfile.deleted -- unnamed-mounts
 * TEST deleted-nodes round-trip -- deleted-nodes
 * TEST deleted-nodes-twice round-trip -- deleted-nodes-twice
 * TEST linked-nodes round-trip -- linked-nodes
 * TEST bound-socket refuse code=regfile.deleted -- bound-socket
 * TEST append-only round-trip -- append-only
 * TEST append-only-unprivileged restart-refuse code=regfile.attributes without=cap_linux_immutable -- append-only
 * TEST deleted-nodes-unprivileged restart-refuse code=regfile.deleted without=cap_mknod -- deleted-nodes
 * TEST immutable round-trip -- immutable
 * TEST attributes refuse code=regfile.attributes -- attributes
 * TEST no-handle refuse code=regfile.linked -- no-handle
 * TEST deep refuse code=regfile.path -- deep
 * TEST shadowed refuse code=regfile.path -- shadowed
 * TEST unmounted refuse code=regfile.path -- unmounted
 * TEST proc refuse code=regfile.filesystem -- proc
 * TEST sys refuse code=regfile.filesystem -- sys
 */
#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "cases.h"

#define MIB (1 << 20)

static const char text[] = "what was written before the checkpoint\n";

static int make(const char *name, int flags)
{
	int fd = open(name, O_CREAT | O_EXCL | flags, 0644);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
	return fd;
}

static void check_text(int fd)
{
	char buffer[sizeof(text)];

	CHECK_EQ(pread(fd, buffer, sizeof(buffer), 0), sizeof(buffer));
	CHECK_EQ(memcmp(buffer, text, sizeof(text)), 0);
}

static void check_link(int fd, const char *suffix)
{
	char path[40], link[4096], cwd[4096], expected[8192];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = 0;
	CHECK(getcwd(cwd, sizeof(cwd)));
	snprintf(expected, sizeof(expected), "%s/%s", cwd, suffix);
	if (strcmp(link, expected) != 0)
		FAIL("the link is \"%s\", not \"%s\"", link, expected);
}

static void test_plain(const char *name)
{
	struct stat before, after;
	int fd = make(name, O_RDWR);

	CHECK_EQ(fstat(fd, &before), 0);
	subject_checkpoint();
	CHECK_EQ(fstat(fd, &after), 0);
	if (access("other", F_OK) != 0 && access(name, F_OK) == 0 && after.st_ino == before.st_ino)
		check_link(fd, name);
	CHECK_EQ(before.st_dev, after.st_dev);
	check_text(fd);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), sizeof(text));
	CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
}

static void test_changed_allow(void)
{
	struct stat st;
	int fd = make("file", O_RDWR);

	subject_checkpoint();
	check_text(fd);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(st.st_size >= (off_t)sizeof(text));
}

/* read half, then the other half: the position is the file system's cookie */
static void test_directory(void)
{
	char seen[300] = { 0 }, name[16];
	unsigned n;

	CHECK_EQ(mkdir("folder", 0755), 0);
	for (unsigned i = 0; i < sizeof(seen); i++) {
		snprintf(name, sizeof(name), "folder/%u", i);
		close(make(name, O_WRONLY));
	}
	DIR *dir = opendir("folder");
	CHECK(dir);
	struct dirent *entry;
	for (n = 0; n < 100 && (entry = readdir(dir)); n++)
		seen[atoi(entry->d_name)]++;
	long position = telldir(dir);
	/* so that the C library has no entries left in its buffer */
	CHECK_EQ(lseek(dirfd(dir), position, SEEK_SET), position);
	int fd = dup(dirfd(dir));
	subject_checkpoint();
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), position);
	dir = fdopendir(fd);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			seen[atoi(entry->d_name)]++, n++;
	for (unsigned i = 1; i < sizeof(seen); i++)
		CHECK_EQ(seen[i], 1);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_DIRECTORY, O_DIRECTORY);
}

static void test_empty_directory(void)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK(open("folder", O_RDONLY | O_DIRECTORY) >= 0);
	subject_checkpoint();
}

/* O_PATH descriptors refer to a name and open nothing */
static void test_path(void)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR };
	static const char *const names[] = { "file", "folder", "symlink", "fifo", "null" };
	struct stat st;
	int fds[5];

	close(make("file", O_WRONLY));
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(symlink("nowhere", "symlink"), 0);
	CHECK_EQ(mkfifo("fifo", 0644), 0);
	CHECK_EQ(mknod("null", S_IFCHR | 0666, 0x103), 0);
	for (int i = 0; i < 5; i++) {
		fds[i] = open(names[i], O_PATH | O_NOFOLLOW | (i == 1 ? O_DIRECTORY : 0));
		CHECK(fds[i] >= 0);
	}
	subject_checkpoint();
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(fstat(fds[i], &st), 0);
		CHECK_EQ(st.st_mode & S_IFMT, types[i]);
		CHECK_EQ(fcntl(fds[i], F_GETFL), O_PATH | O_NOFOLLOW | (i == 1 ? O_DIRECTORY : 0));
		check_link(fds[i], names[i]);
	}
}

static void test_nofollow(bool deleted)
{
	close(make("file", O_RDWR));
	int fd = open("file", O_RDONLY | O_NOFOLLOW);

	CHECK(fd >= 0);
	if (deleted)
		CHECK_EQ(unlink("file"), 0);
	int flags = fcntl(fd, F_GETFL);
	CHECK(flags & O_NOFOLLOW);
	subject_checkpoint();
	CHECK_EQ(fcntl(fd, F_GETFL), flags);
	check_text(fd);
}

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

static void check_same(const struct stat *a, const struct stat *b)
{
	CHECK_EQ(a->st_dev, b->st_dev);
	CHECK_EQ(a->st_mode, b->st_mode);
	CHECK_EQ(a->st_nlink, b->st_nlink);
	CHECK_EQ(a->st_uid, b->st_uid);
	CHECK_EQ(a->st_gid, b->st_gid);
	CHECK_EQ(a->st_size, b->st_size);
	CHECK_EQ(a->st_atim.tv_sec, b->st_atim.tv_sec);
	CHECK_EQ(a->st_atim.tv_nsec, b->st_atim.tv_nsec);
	CHECK_EQ(a->st_mtim.tv_sec, b->st_mtim.tv_sec);
	CHECK_EQ(a->st_mtim.tv_nsec, b->st_mtim.tv_nsec);
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
	check_same(&before, &after);
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
	int fd = make("file", O_RDWR);

	CHECK_EQ(unlink("file"), 0);
	close(make("file", O_WRONLY | O_APPEND));
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
	int fd = make("file (deleted)", O_RDWR);

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
	int fd = make("file", O_RDWR);

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
	int fd = make("file", O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	CHECK_EQ(unlink("file"), 0);
	CHECK_EQ(fsetxattr(fd, "trusted.stasis", "value", 5, 0), 0);
	set_flag(fd, FS_APPEND_FL);
	CHECK_EQ(fstat(fd, &before), 0);
	subject_checkpoint();
	check_flag(fd, FS_APPEND_FL);
	CHECK_EQ(fstat(fd, &after), 0);
	check_same(&before, &after);
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
	int fd = make("file", O_RDWR);
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
	check_same(&before, &after);
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

/* open(O_TMPFILE) can be given a name later, a deleted file cannot */
static void test_unnamed(int flags, bool close_first)
{
	char path[40];
	struct stat before, after;
	int fd = open(".", O_TMPFILE | flags, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY);
	CHECK(again >= 0);
	if (close_first)
		close(fd);
	int shown = fcntl(fd, F_GETFL);
	CHECK_EQ(fstat(again, &before), 0);
	subject_checkpoint();
	CHECK_EQ(fcntl(fd, F_GETFL), shown);
	CHECK_EQ(fstat(again, &after), 0);
	check_same(&before, &after);
	check_text(again);
	if (!close_first) {
		CHECK_EQ(write(fd, "more", 4), 4);
		CHECK_EQ(fstat(again, &after), 0);
		CHECK_EQ(after.st_size, sizeof(text) + 4);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", again);
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
}

static void test_linked(bool taken)
{
	struct stat before, after;
	int fd = make("file", O_RDWR);

	CHECK_EQ(link("file", "other"), 0);
	CHECK_EQ(unlink("file"), 0);
	if (taken)
		close(make("file", O_WRONLY));
	CHECK_EQ(fstat(fd, &before), 0);
	subject_checkpoint();
	CHECK_EQ(fstat(fd, &after), 0);
	check_same(&before, &after);
	CHECK_EQ(before.st_ino, after.st_ino);
	check_text(fd);
	if (!taken)
		check_link(fd, "file (deleted)");
}

static void test_renamed(void)
{
	int fd = make("file", O_RDWR);

	CHECK_EQ(rename("file", "other"), 0);
	subject_checkpoint();
	check_text(fd);
	check_link(fd, "other");
}

static void test_in_folder(bool remove)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	int fd = make("folder/file", O_RDWR);
	CHECK_EQ(unlink("folder/file"), 0);
	if (remove)
		CHECK_EQ(rmdir("folder"), 0);
	subject_checkpoint();
	check_text(fd);
	check_link(fd, "folder/file (deleted)");
	CHECK(!remove || access("folder", F_OK) < 0);
}

/* the name and its directory are gone, the file is not */
static void test_folder_gone_linked(void)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(mkdir("folder/inner", 0755), 0);
	int fd = make("folder/inner/file", O_RDWR);
	CHECK_EQ(rename("folder/inner/file", "kept"), 0);
	CHECK_EQ(link("kept", "folder/inner/file"), 0);
	int second = open("folder/inner/file", O_RDWR);
	CHECK_EQ(unlink("folder/inner/file"), 0);
	CHECK_EQ(rmdir("folder/inner"), 0);
	CHECK_EQ(rmdir("folder"), 0);
	subject_checkpoint();
	check_text(fd);
	check_text(second);
	check_link(fd, "kept");
	check_link(second, "folder/inner/file (deleted)");
	CHECK(access("folder", F_OK) < 0);
}

/* one file, by two names that are gone; and in use by a mapping of each */
static void check_two_names(const char *first, const char *second, bool taken)
{
	struct stat before, after, other;
	char name[64];
	int a = make(first, O_RDWR);

	CHECK_EQ(link(first, second), 0);
	int b = open(second, O_RDWR | O_NOFOLLOW), path = open(second, O_PATH);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
	CHECK(b >= 0 && path >= 0 && map != MAP_FAILED);
	CHECK_EQ(unlink(first), 0);
	CHECK_EQ(unlink(second), 0);
	CHECK_EQ(fstat(a, &before), 0);
	subject_checkpoint();
	CHECK_EQ(fstat(a, &after), 0);
	CHECK_EQ(fstat(b, &other), 0);
	check_same(&before, &after);
	CHECK_EQ(after.st_ino, other.st_ino);
	CHECK_EQ(fstat(path, &other), 0);
	CHECK_EQ(after.st_ino, other.st_ino);
	snprintf(name, sizeof(name), "%s (deleted)", first);
	check_link(a, name);
	snprintf(name, sizeof(name), "%s (deleted)", second);
	if (!taken) {
		check_link(b, name);
		check_link(path, name);
	}
	check_text(a);
	check_text(b);
	map[0] = 'm';
	char c;
	CHECK_EQ(pread(a, &c, 1, 0), 1);
	CHECK_EQ(c, 'm');
	CHECK_EQ(access(first, F_OK), -1);
	CHECK_EQ(access(second, F_OK), taken ? 0 : -1);
}

static void test_two_names(bool taken)
{
	if (!taken) {
		CHECK_EQ(mkdir("folder", 0755), 0);
		check_two_names("file", "folder/other", false);
	} else {
		check_two_names("file", "other", true);
	}
}

static void test_two_names_tmpfs(void)
{
	CHECK_EQ(mkdir("mount", 0755), 0);
	CHECK_EQ(mount("tmpfs", "mount", "tmpfs", 0, NULL), 0);
	check_two_names("mount/file", "mount/other", false);
}

/* two names on two mounts of one file system, between which there are no links */
static void test_two_mounts(void)
{
	CHECK_EQ(mkdir("a", 0755), 0);
	CHECK_EQ(mkdir("b", 0755), 0);
	CHECK_EQ(mount("tmpfs", "a", "tmpfs", 0, NULL), 0);
	CHECK_EQ(mount("a", "b", NULL, MS_BIND, NULL), 0);
	int a = make("a/file", O_RDWR), b = open("b/file", O_RDONLY);

	CHECK(b >= 0);
	CHECK_EQ(unlink("a/file"), 0);
	subject_checkpoint();
	check_text(a);
	check_text(b);
	check_link(a, "a/file (deleted)");
	check_link(b, "b/file (deleted)");
	CHECK_EQ(pwrite(a, "other", 5, 0), 5);
	char seen[6] = "";
	CHECK_EQ(pread(b, seen, 5, 0), 5);
	CHECK_EQ(strcmp(seen, "other"), 0);
}

/* the name that O_TMPFILE gives is of the inode, and in the subject's directory */
static void check_unnamed(int fd)
{
	struct stat st;
	char name[64];

	CHECK_EQ(fstat(fd, &st), 0);
	snprintf(name, sizeof(name), "#%lu (deleted)", (unsigned long)st.st_ino);
	check_link(fd, name);
}

/* it has kept its name */
static void test_unnamed_linked(void)
{
	char path[40];
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "folder/file", AT_SYMLINK_FOLLOW), 0);
	int flags = fcntl(fd, F_GETFL);
	subject_checkpoint();
	check_text(fd);
	check_unnamed(fd);
	CHECK_EQ(fcntl(fd, F_GETFL) | O_TMPFILE, flags);
	CHECK_EQ(pwrite(fd, "other", 5, 0), 5);
}

/* by a handle on a second mount it is open there as well */
static void test_unnamed_mounts(void)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	int fd = open(".", O_TMPFILE | O_RDWR, 0600), id;

	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(mount(".", "folder", NULL, MS_BIND, NULL), 0);
	CHECK_EQ(name_to_handle_at(fd, "", &handle.head, &id, AT_EMPTY_PATH), 0);
	int folder = open("folder", O_RDONLY | O_DIRECTORY);
	int other = open_by_handle_at(folder, &handle.head, O_RDONLY);
	if (other < 0)
		SKIP("no handle of a file without a name: %s", strerror(errno));
	close(folder);
	subject_checkpoint();
}

/* made without a name, given one, opened by that, and deleted */
static void test_two_names_unnamed(bool later)
{
	char path[40];
	int fd = open(".", O_TMPFILE | O_RDWR, 0600), high = -1;

	CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "folder/file", AT_SYMLINK_FOLLOW), 0);
	if (later) {
		high = fcntl(fd, F_DUPFD, 100);
		close(fd);
	}
	int named = open("folder/file", O_RDONLY);
	CHECK_EQ(unlink("folder/file"), 0);
	fd = later ? high : fd;
	int flags = fcntl(fd, F_GETFL);
	subject_checkpoint();
	check_text(fd);
	check_text(named);
	check_link(named, "folder/file (deleted)");
	check_unnamed(fd);
	CHECK_EQ(fcntl(fd, F_GETFL), flags);
	CHECK_EQ(pwrite(fd, "other", 5, 0), 5);
	char seen[6] = "";
	CHECK_EQ(pread(named, seen, 5, 0), 5);
	CHECK_EQ(strcmp(seen, "other"), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW), -1);
}

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
		check_same(&before[i], &a);
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
		check_same(&before[i], &after);
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

/* its path is longer than any that can be given */
static void test_deep(void)
{
	char name[256] = "";

	memset(name, 'x', 255);
	for (int i = 0; i < 20; i++)
		CHECK(mkdir(name, 0755) == 0 && chdir(name) == 0);
	make("file", O_RDWR);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(chdir(".."), 0);
	subject_checkpoint();
}

static void test_no_handle(void)
{
	CHECK_EQ(mkdir("mount", 0755), 0);
	CHECK_EQ(mount("ramfs", "mount", "ramfs", 0, NULL), 0);
	int fd = make("mount/file", O_RDWR);
	struct file_handle handle = { .handle_bytes = 0 };
	int mount_id;
	if (name_to_handle_at(fd, "", &handle, &mount_id, AT_EMPTY_PATH) < 0 && errno == EOVERFLOW)
		SKIP("ramfs has handles here");
	CHECK_EQ(link("mount/file", "mount/other"), 0);
	CHECK_EQ(unlink("mount/file"), 0);
	subject_checkpoint();
	check_text(fd);
}

static void test_shadowed(bool unmount)
{
	CHECK_EQ(mkdir("mount", 0755), 0);
	if (unmount)
		CHECK_EQ(mount("tmpfs", "mount", "tmpfs", 0, NULL), 0);
	int fd = make("mount/file", O_RDWR);
	if (unmount)
		CHECK_EQ(umount2("mount", MNT_DETACH), 0);
	else
		CHECK_EQ(mount("tmpfs", "mount", "tmpfs", 0, NULL), 0);
	subject_checkpoint();
	check_text(fd);
}

static void test_open(const char *path)
{
	CHECK(open(path, O_RDONLY) >= 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
#define RUN(what, call)            \
	if (!strcmp(name, what)) { \
		call;              \
		return 0;          \
	}
	RUN("plain", test_plain("file"))
	RUN("odd-name", test_plain("a name with\nnewline, \\ and \303\244 \377"))
	RUN("changed-allow", test_changed_allow())
	RUN("directory", test_directory())
	RUN("empty-directory", test_empty_directory())
	RUN("path", test_path())
	RUN("nofollow", test_nofollow(false))
	RUN("deleted", test_deleted("file"))
	RUN("deleted-tmpfs", test_deleted_tmpfs())
	RUN("deleted-nofollow", test_nofollow(true))
	RUN("deleted-mapped", test_deleted_mapped())
	RUN("deleted-running", test_deleted_running(argv))
	RUN("deleted-taken", test_deleted_taken())
	RUN("deleted-named", test_deleted_named())
	RUN("deleted-attributes", test_deleted_attributes())
	RUN("deleted-in-folder", test_in_folder(false))
	RUN("unnamed", test_unnamed(O_RDWR, false))
	RUN("unnamed-append", test_unnamed(O_WRONLY | O_APPEND, false))
	RUN("unnamed-closed", test_unnamed(O_RDWR, true))
	RUN("linked", test_linked(false))
	RUN("linked-taken", test_linked(true))
	RUN("renamed", test_renamed())
	RUN("folder-gone", test_in_folder(true))
	RUN("folder-gone-linked", test_folder_gone_linked())
	RUN("two-names", test_two_names(false))
	RUN("two-names-taken", test_two_names(true))
	RUN("two-names-tmpfs", test_two_names_tmpfs())
	RUN("two-mounts", test_two_mounts())
	RUN("two-names-unnamed", test_two_names_unnamed(false))
	RUN("unnamed-later", test_two_names_unnamed(true))
	RUN("unnamed-linked", test_unnamed_linked())
	RUN("unnamed-mounts", test_unnamed_mounts())
	RUN("deleted-nodes", test_deleted_nodes(false))
	RUN("deleted-nodes-twice", test_deleted_nodes(true))
	RUN("linked-nodes", test_linked_nodes())
	RUN("bound-socket", test_bound_socket())
	RUN("append-only", test_append_only())
	RUN("immutable", test_immutable())
	RUN("attributes", test_attributes())
	RUN("no-handle", test_no_handle())
	RUN("deep", test_deep())
	RUN("shadowed", test_shadowed(false))
	RUN("unmounted", test_shadowed(true))
	RUN("proc", test_open("/proc/self/status"))
	RUN("sys", test_open("/sys/kernel/mm/transparent_hugepage/enabled"))
	FAIL("no test \"%s\"", name);
}
