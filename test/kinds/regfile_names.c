/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files with other names than that by which they are open, or without any (O_TMPFILE).
 *
 * Exceptions: the inode number of a file that is made again is new, and is part of the name that
 * O_TMPFILE shows (fd); a name that is taken at restart cannot be shown again (fd).
 *
 * TEST unnamed round-trip except=fd/? -- unnamed
 * TEST unnamed-append round-trip except=fd/? -- unnamed-append
 * TEST unnamed-closed round-trip except=fd/? -- unnamed-closed
 * TEST linked round-trip -- linked
 * TEST linked-taken round-trip except=fd/? -- linked-taken
 * TEST linked-changed restart-refuse code=regfile.changed before="echo >>other" -- linked
 * TEST folder-gone-linked round-trip -- folder-gone-linked
 * TEST two-names round-trip -- two-names
 * TEST two-names-tmpfs round-trip -- two-names-tmpfs
 * TEST two-mounts round-trip -- two-mounts
 * TEST two-names-unnamed round-trip except=fd/? -- two-names-unnamed
 * TEST two-names-taken round-trip except=fd/?,map/7* before="touch other" -- two-names-taken
 * TEST unnamed-later round-trip except=fd/??? -- unnamed-later
 * TEST unnamed-linked round-trip except=fdinfo/?/flags -- unnamed-linked
 * TEST unnamed-mounts refuse code=regfile.deleted -- unnamed-mounts
 */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "regfile.h"

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
	check_attributes(&before, &after);
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
	int fd = make_file("file", O_RDWR);

	CHECK_EQ(link("file", "other"), 0);
	CHECK_EQ(unlink("file"), 0);
	if (taken)
		close(make_file("file", O_WRONLY));
	CHECK_EQ(fstat(fd, &before), 0);
	subject_checkpoint();
	CHECK_EQ(fstat(fd, &after), 0);
	check_attributes(&before, &after);
	CHECK_EQ(before.st_ino, after.st_ino);
	check_text(fd);
	if (!taken)
		check_link(fd, "file (deleted)");
}

/* the name and its directory are gone, the file is not */
static void test_folder_gone_linked(void)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(mkdir("folder/inner", 0755), 0);
	int fd = make_file("folder/inner/file", O_RDWR);
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
	int a = make_file(first, O_RDWR);

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
	check_attributes(&before, &after);
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
	int a = make_file("a/file", O_RDWR), b = open("b/file", O_RDONLY);

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

int main(int argc, char **argv)
{
	RUN("unnamed", test_unnamed(O_RDWR, false))
	RUN("unnamed-append", test_unnamed(O_WRONLY | O_APPEND, false))
	RUN("unnamed-closed", test_unnamed(O_RDWR, true))
	RUN("linked", test_linked(false))
	RUN("linked-taken", test_linked(true))
	RUN("folder-gone-linked", test_folder_gone_linked())
	RUN("two-names", test_two_names(false))
	RUN("two-names-taken", test_two_names(true))
	RUN("two-names-tmpfs", test_two_names_tmpfs())
	RUN("two-mounts", test_two_mounts())
	RUN("two-names-unnamed", test_two_names_unnamed(false))
	RUN("unnamed-later", test_two_names_unnamed(true))
	RUN("unnamed-linked", test_unnamed_linked())
	RUN("unnamed-mounts", test_unnamed_mounts())
	FAIL("no test \"%s\"", argc > 1 ? argv[1] : "");
}
