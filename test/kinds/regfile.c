/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files by path, renamed and changed; what stands behind descriptors.
 *
 * Exceptions: the inode number of a file that is made again is new, and is part of the name that
 * O_TMPFILE shows (fd); a name that is taken at restart cannot be shown again (fd).
 *
 * TEST plain round-trip -- plain
 * TEST odd-name round-trip -- odd-name
 * TEST directory round-trip -- directory
 * TEST path round-trip -- path
 * TEST nofollow round-trip -- nofollow
 * TEST deleted-nofollow round-trip -- deleted-nofollow
 * TEST renamed round-trip -- renamed
 * TEST renamed-since round-trip except=fd/? before="mv file other" -- plain
 * TEST grown restart-refuse code=regfile.changed before="echo >>file" -- plain
 * TEST touched restart-refuse code=regfile.changed before="touch file" -- plain
 * TEST replaced restart-refuse code=regfile.changed before="cp -p file other; mv other file" -- plain
 * TEST gone restart-refuse code=regfile.changed before="rm file" -- plain
 * TEST other-type restart-refuse code=regfile.changed before="rm file; mkdir file" -- plain
 * TEST other-directory restart-refuse code=regfile.changed before="mkdir new; rmdir folder; mv new folder" -- empty-directory
 * TEST changed-allow round-trip restart="--files-changed allow" before="echo >>file" -- changed-allow
 * TEST replaced-allow round-trip restart="--files-changed allow" before="cp file other; mv other file" -- plain
 * TEST no-handle refuse code=regfile.linked -- no-handle
 * TEST deep refuse code=regfile.path -- deep
 * TEST shadowed refuse code=regfile.path -- shadowed
 * TEST unmounted refuse code=regfile.path -- unmounted
 */
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "regfile.h"

static void test_plain(const char *name)
{
	struct stat before, after;
	int fd = make_file(name, O_RDWR);

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
	int fd = make_file("file", O_RDWR);

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
		close(make_file(name, O_WRONLY));
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

	close(make_file("file", O_WRONLY));
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
	close(make_file("file", O_RDWR));
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

static void test_renamed(void)
{
	int fd = make_file("file", O_RDWR);

	CHECK_EQ(rename("file", "other"), 0);
	subject_checkpoint();
	check_text(fd);
	check_link(fd, "other");
}

/* its path is longer than any that can be given */
static void test_deep(void)
{
	char name[256] = "";

	memset(name, 'x', 255);
	for (int i = 0; i < 20; i++)
		CHECK(mkdir(name, 0755) == 0 && chdir(name) == 0);
	make_file("file", O_RDWR);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(chdir(".."), 0);
	subject_checkpoint();
}

static void test_no_handle(void)
{
	CHECK_EQ(mkdir("mount", 0755), 0);
	CHECK_EQ(mount("ramfs", "mount", "ramfs", 0, NULL), 0);
	int fd = make_file("mount/file", O_RDWR);
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
	int fd = make_file("mount/file", O_RDWR);
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
	RUN("plain", test_plain("file"))
	RUN("odd-name", test_plain("a name with\nnewline, \\ and \303\244 \377"))
	RUN("changed-allow", test_changed_allow())
	RUN("directory", test_directory())
	RUN("empty-directory", test_empty_directory())
	RUN("path", test_path())
	RUN("nofollow", test_nofollow(false))
	RUN("deleted-nofollow", test_nofollow(true))
	RUN("renamed", test_renamed())
	RUN("no-handle", test_no_handle())
	RUN("deep", test_deep())
	RUN("shadowed", test_shadowed(false))
	RUN("unmounted", test_shadowed(true))
	FAIL("no test \"%s\"", argc > 1 ? argv[1] : "");
}
