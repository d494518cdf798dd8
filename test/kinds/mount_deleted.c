/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts that show what has been deleted: cases 21 to 27 of the design; and files of a tmpfs that
 * no mounted name leads to.
 *
 * TEST directory round-trip restart="--mntns new" -- directory
 * TEST file round-trip restart="--mntns new" -- file
 * TEST name-reused round-trip restart="--mntns new" -- reused
 * TEST two-of-one-name round-trip restart="--mntns new" -- two
 * TEST several-directories round-trip restart="--mntns new" -- several_directories
 * TEST other-link-alive round-trip restart="--mntns new" -- linked
 * TEST deleted-parent round-trip restart="--mntns new" -- parent
 * TEST parent-replaced round-trip restart="--mntns new" -- parent_replaced
 * TEST special round-trip restart="--mntns new" -- special
 * TEST nothing-else-left round-trip restart="--mntns new" -- alone
 * TEST full round-trip restart="--mntns new" -- full
 * A file of a tmpfs has a new inode number, which its name shows while it is deleted:
 * TEST mounted-and-open round-trip restart="--mntns new" except=map/???????????? -- open_too
 * TEST directory-open round-trip restart="--mntns new" -- directory_open
 * TEST open-with-other-link round-trip restart="--mntns new" -- open_linked
 * TEST file-without-directory round-trip restart="--mntns new" -- stray
 * TEST other-link-not-mounted refuse code=mount.deleted -- unseen_link
 * TEST of-the-host refuse code=mount.deleted -- of_host
 */
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "cases.h"
#include "mounts.h"

/* a tmpfs on /mnt, and a second one on /opt for things to mount on */
static void own_namespace(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mount("points", "/opt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/opt/d", 0755) == 0 && mkdir("/opt/e", 0755) == 0);
	write_text("/opt/f", "");
	write_text("/opt/g", "");
}

static void roots_of(const char *point, char *room, size_t size)
{
	char line[4096], root[2048], at[2048];
	FILE *f = fopen("/proc/self/mountinfo", "re");

	CHECK(f);
	*room = 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*d %*d %*s %2047s %2047s", root, at) == 2 && !strcmp(at, point))
			snprintf(room, size, "%s", root);
	fclose(f);
}

static void check_root(const char *point, const char *root)
{
	char seen[2048];

	roots_of(point, seen, sizeof(seen));
	if (strcmp(seen, root) != 0)
		FAIL("%s shows %s, not %s", point, seen, root);
}

/* nothing of ours stays behind */
static void check_names(const char *path, const char *names)
{
	char command[256], seen[256] = "";

	snprintf(command, sizeof(command), "ls -A %s | tr '\\n' ' '", path);
	FILE *f = popen(command, "re");
	CHECK(f);
	if (!fgets(seen, sizeof(seen), f))
		*seen = 0;
	pclose(f);
	if (strcmp(seen, names) != 0)
		FAIL("%s has '%s', not '%s'", path, seen, names);
}

static void directory(void)
{
	const struct timespec times[2] = { { 1000000000, 1 }, { 900000000, 2 } };
	struct stat st;
	char value[4];

	own_namespace();
	CHECK(mkdir("/mnt/gone", 0755) == 0 && chown("/mnt/gone", 7, 8) == 0);
	CHECK(chmod("/mnt/gone", 02751) == 0);
	CHECK(setxattr("/mnt/gone", "trusted.mine", "v", 1, 0) == 0);
	CHECK(utimensat(AT_FDCWD, "/mnt/gone", times, 0) == 0);
	bind_mount("/mnt/gone", "/opt/d");
	bind_mount("/mnt/gone", "/opt/e");
	CHECK(rmdir("/mnt/gone") == 0);
	CHECK(utimensat(AT_FDCWD, "/mnt", times, 0) == 0);
	subject_checkpoint();
	check_root("/opt/d", "/gone//deleted");
	CHECK(stat("/opt/d", &st) == 0 && st.st_uid == 7 && st.st_gid == 8 && st.st_nlink == 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 02751);
	CHECK_EQ(st.st_mtim.tv_nsec, 2);
	CHECK(getxattr("/opt/e", "trusted.mine", value, 4) == 1 && value[0] == 'v');
	ino_t inode = st.st_ino;
	CHECK(stat("/opt/e", &st) == 0 && st.st_ino == inode);
	CHECK(open("/opt/d/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == ENOENT);
	CHECK(stat("/mnt", &st) == 0 && st.st_mtim.tv_nsec == 2);
	check_names("/mnt", "");
}

static void file(void)
{
	struct stat st;

	own_namespace();
	write_text("/mnt/gone", "what was in it");
	CHECK(chmod("/mnt/gone", 0604) == 0);
	bind_mount("/mnt/gone", "/opt/f");
	CHECK(unlink("/mnt/gone") == 0);
	subject_checkpoint();
	check_root("/opt/f", "/gone//deleted");
	check_text("/opt/f", "what was in it");
	CHECK(stat("/opt/f", &st) == 0 && st.st_nlink == 0 && (st.st_mode & 0777) == 0604);
	int fd = open("/opt/f", O_WRONLY | O_APPEND);
	CHECK(write(fd, "!", 1) == 1 && close(fd) == 0);
	check_text("/opt/f", "what was in it!");
	check_names("/mnt", "");
}

static void reused(void)
{
	own_namespace();
	write_text("/mnt/name", "the old one");
	bind_mount("/mnt/name", "/opt/f");
	CHECK(unlink("/mnt/name") == 0);
	CHECK(mkdir("/mnt/name", 0755) == 0);
	write_text("/mnt/name/in", "in the new one");
	bind_mount("/mnt/name", "/opt/d");
	subject_checkpoint();
	check_root("/opt/f", "/name//deleted");
	check_root("/opt/d", "/name");
	check_text("/opt/f", "the old one");
	check_text("/opt/d/in", "in the new one");
	check_names("/mnt", "name ");
}

static void two(void)
{
	own_namespace();
	write_text("/mnt/name", "first");
	bind_mount("/mnt/name", "/opt/f");
	CHECK(unlink("/mnt/name") == 0);
	write_text("/mnt/name", "second");
	bind_mount("/mnt/name", "/opt/g");
	CHECK(unlink("/mnt/name") == 0);
	subject_checkpoint();
	check_root("/opt/f", "/name//deleted");
	check_root("/opt/g", "/name//deleted");
	check_text("/opt/f", "first");
	check_text("/opt/g", "second");
}

static void set_attributes(const char *path, int attributes)
{
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &attributes) == 0 && close(fd) == 0);
}

static int attributes_of(const char *path)
{
	int fd = open(path, O_RDONLY), attributes;

	CHECK(fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &attributes) == 0 && close(fd) == 0);
	return attributes & (FS_NODUMP_FL | FS_IMMUTABLE_FL);
}

static void check_time(const char *path, time_t seconds)
{
	struct stat st;

	CHECK(stat(path, &st) == 0 && st.st_mtim.tv_sec == seconds && st.st_nlink == 0);
}

/* with times and attributes, which are set when they have no names any more */
static void several_directories(void)
{
	const struct timespec first[2] = { { 1, 2 }, { 3, 4 } }, second[2] = { { 5, 6 }, { 7, 8 } };

	own_namespace();
	CHECK(mkdir("/mnt/a", 0755) == 0 && mkdir("/mnt/b", 0700) == 0);
	CHECK(mkdir("/opt/a", 0755) == 0 && mkdir("/opt/b", 0755) == 0);
	write_text("/mnt/name", "text");
	bind_mount("/mnt/a", "/opt/a");
	bind_mount("/mnt/b", "/opt/b");
	bind_mount("/mnt/name", "/opt/f");
	CHECK(utimensat(AT_FDCWD, "/mnt/a", first, 0) == 0);
	CHECK(utimensat(AT_FDCWD, "/mnt/b", second, 0) == 0);
	CHECK(rmdir("/mnt/a") == 0 && rmdir("/mnt/b") == 0 && unlink("/mnt/name") == 0);
	set_attributes("/opt/a", FS_NODUMP_FL);
	set_attributes("/opt/f", FS_IMMUTABLE_FL);
	subject_checkpoint();
	check_time("/opt/a", 3);
	check_time("/opt/b", 7);
	CHECK(attributes_of("/opt/a") == FS_NODUMP_FL && attributes_of("/opt/b") == 0);
	CHECK(attributes_of("/opt/f") == FS_IMMUTABLE_FL);
	check_text("/opt/f", "text");
	check_names("/mnt", "");
}

static void linked(void)
{
	struct stat st;

	own_namespace();
	CHECK(mkdir("/mnt/dir", 0755) == 0);
	write_text("/mnt/name", "one inode");
	CHECK(link("/mnt/name", "/mnt/dir/other") == 0);
	bind_mount("/mnt/name", "/opt/f");
	CHECK(unlink("/mnt/name") == 0);
	subject_checkpoint();
	check_root("/opt/f", "/name//deleted");
	CHECK(stat("/opt/f", &st) == 0 && st.st_nlink == 1);
	int fd = open("/opt/f", O_WRONLY | O_APPEND);
	CHECK(write(fd, "!", 1) == 1 && close(fd) == 0);
	check_text("/mnt/dir/other", "one inode!");
	check_names("/mnt", "dir ");
}

static void parent(void)
{
	own_namespace();
	CHECK(mkdir("/mnt/p", 0750) == 0 && mkdir("/mnt/p/q", 0750) == 0);
	write_text("/mnt/p/q/name", "deep");
	bind_mount("/mnt/p/q/name", "/opt/f");
	bind_mount("/mnt/p/q", "/opt/d");
	CHECK(unlink("/mnt/p/q/name") == 0 && rmdir("/mnt/p/q") == 0 && rmdir("/mnt/p") == 0);
	subject_checkpoint();
	check_root("/opt/f", "/p/q/name//deleted");
	check_root("/opt/d", "/p/q//deleted");
	check_text("/opt/f", "deep");
	check_names("/mnt", "");
}

/* a file, and a link to nowhere, are where the directories were */
static void parent_replaced(void)
{
	own_namespace();
	CHECK(mkdir("/mnt/p", 0750) == 0 && mkdir("/mnt/p/q", 0750) == 0);
	write_text("/mnt/p/q/name", "deep");
	bind_mount("/mnt/p/q/name", "/opt/f");
	CHECK(unlink("/mnt/p/q/name") == 0 && rmdir("/mnt/p/q") == 0);
	CHECK(symlink("/nowhere", "/mnt/p/q") == 0);
	CHECK(mkdir("/mnt/r", 0755) == 0);
	write_text("/mnt/r/name", "other");
	bind_mount("/mnt/r/name", "/opt/g");
	CHECK(unlink("/mnt/r/name") == 0 && rmdir("/mnt/r") == 0);
	write_text("/mnt/r", "a file");
	subject_checkpoint();
	check_root("/opt/f", "/p/q/name//deleted");
	check_root("/opt/g", "/r/name//deleted");
	check_text("/opt/f", "deep");
	check_text("/opt/g", "other");
	check_text("/mnt/r", "a file");
	check_names("/mnt", "p r ");
	check_names("/mnt/p", "q ");
}

static void special(void)
{
	struct stat st;

	own_namespace();
	CHECK(mkfifo("/mnt/fifo", 0606) == 0 && chmod("/mnt/fifo", 0606) == 0);
	CHECK(mknod("/mnt/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
	bind_mount("/mnt/fifo", "/opt/f");
	bind_mount("/mnt/null", "/opt/g");
	CHECK(unlink("/mnt/fifo") == 0 && unlink("/mnt/null") == 0);
	subject_checkpoint();
	CHECK(stat("/opt/f", &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0606);
	int fd = open("/opt/g", O_WRONLY);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
}

/* of a tmpfs nothing but a deleted directory is mounted any more */
static void alone(void)
{
	struct stat st;

	own_namespace();
	CHECK(mount("other", "/srv", "tmpfs", 0, "size=1m,mode=700") == 0);
	CHECK(mkdir("/srv/gone", 0711) == 0);
	bind_mount("/srv/gone", "/opt/d");
	CHECK(rmdir("/srv/gone") == 0 && umount("/srv") == 0);
	subject_checkpoint();
	CHECK(stat("/opt/d", &st) == 0 && (st.st_mode & 0777) == 0711);
}

static void open_too(void)
{
	char text[16] = "";

	own_namespace();
	write_text("/mnt/gone", "one inode");
	int fd = open("/mnt/gone", O_RDWR | O_APPEND);
	bind_mount("/mnt/gone", "/opt/f");
	int other = open("/opt/f", O_RDONLY);
	CHECK(fd >= 0 && other >= 0 && unlink("/mnt/gone") == 0);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	subject_checkpoint();
	CHECK(write(fd, "!", 1) == 1);
	check_text("/opt/f", "one inode!");
	CHECK(read(other, text, 15) == 10 && !memcmp(text, "one inode!", 10));
	CHECK(!memcmp(map, "one inode!", 10));
	check_names("/mnt", "");
}

static void directory_open(void)
{
	struct stat st, there;

	own_namespace();
	CHECK(mkdir("/mnt/gone", 0755) == 0);
	int fd = open("/mnt/gone", O_RDONLY | O_DIRECTORY);
	bind_mount("/mnt/gone", "/opt/d");
	CHECK(fd >= 0 && rmdir("/mnt/gone") == 0);
	subject_checkpoint();
	CHECK(fstat(fd, &st) == 0 && stat("/opt/d", &there) == 0 && st.st_ino == there.st_ino);
	CHECK(fchmod(fd, 0700) == 0 && stat("/opt/d", &there) == 0);
	CHECK_EQ(there.st_mode & 0777, 0700);
}

/* not mounted; but its file system is made anew, where no handle leads to it */
static void open_linked(void)
{
	own_namespace();
	CHECK(mkdir("/mnt/dir", 0755) == 0);
	write_text("/mnt/name", "one inode");
	CHECK(link("/mnt/name", "/mnt/dir/other") == 0);
	int fd = open("/mnt/name", O_RDWR | O_APPEND);
	CHECK(fd >= 0 && unlink("/mnt/name") == 0);
	write_text("/mnt/second", "two");
	CHECK(link("/mnt/second", "/mnt/dir/second") == 0);
	int reused = open("/mnt/dir/second", O_RDWR | O_APPEND);
	CHECK(reused >= 0 && unlink("/mnt/dir/second") == 0);
	subject_checkpoint();
	CHECK(write(fd, "!", 1) == 1 && write(reused, "!", 1) == 1);
	check_text("/mnt/dir/other", "one inode!");
	check_text("/mnt/second", "two!");
	check_names("/mnt", "dir second ");
	check_names("/mnt/dir", "other ");
}

static void stray(void)
{
	own_namespace();
	CHECK(mount("other", "/srv", "tmpfs", 0, NULL) == 0 && mkdir("/srv/a", 0755) == 0);
	write_text("/srv/a/file", "by itself");
	write_text("/srv/second", "and another");
	bind_mount("/srv/a/file", "/opt/f");
	bind_mount("/srv/second", "/opt/g");
	write_text("/opt/h", "");
	bind_mount("/srv/a/file", "/opt/h");
	CHECK(umount("/srv") == 0);
	int fd = open("/opt/f", O_WRONLY | O_APPEND);
	subject_checkpoint();
	check_root("/opt/f", "/a/file");
	CHECK(write(fd, "!", 1) == 1);
	check_text("/opt/h", "by itself!");
	check_text("/opt/g", "and another");
}

static void unseen_link(void)
{
	own_namespace();
	CHECK(mount("other", "/srv", "tmpfs", 0, NULL) == 0 && mkdir("/srv/a", 0755) == 0);
	write_text("/srv/name", "x");
	CHECK(link("/srv/name", "/srv/other") == 0);
	bind_mount("/srv/name", "/opt/f");
	bind_mount("/srv/a", "/opt/d");
	CHECK(unlink("/srv/name") == 0 && umount("/srv") == 0);
	subject_checkpoint();
}

static void of_host(void)
{
	own_namespace();
	write_text("file", "x");
	bind_mount("file", "/opt/f");
	CHECK(unlink("file") == 0);
	subject_checkpoint();
}

/* not a page and not an inode more than there is room for; what has been deleted counts */
static void full(void)
{
	static char page[4096] = "data";
	int n = 0, fd;

	own_namespace();
	CHECK(mount("full", "/mnt", "tmpfs", 0, "size=64k,nr_inodes=20") == 0);
	CHECK(mkdir("/mnt/gone", 0755) == 0);
	write_text("/mnt/file", "deleted");
	bind_mount("/mnt/gone", "/opt/d");
	bind_mount("/mnt/file", "/opt/f");
	CHECK(rmdir("/mnt/gone") == 0 && unlink("/mnt/file") == 0);
	for (char name[32];; n++) {
		snprintf(name, sizeof(name), "/mnt/%d", n);
		fd = open(name, O_WRONLY | O_CREAT, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	CHECK(n > 2 && errno == ENOSPC);
	fd = open("/mnt/0", O_WRONLY | O_APPEND);
	while (write(fd, page, sizeof(page)) == sizeof(page))
		;
	CHECK(errno == ENOSPC && close(fd) == 0);
	subject_checkpoint();
	check_text("/opt/f", "deleted");
	CHECK(mkdir("/mnt/more", 0755) < 0 && errno == ENOSPC);
	fd = open("/mnt/1", O_WRONLY);
	CHECK(write(fd, page, sizeof(page)) < 0 && errno == ENOSPC);
	CHECK(unlink("/mnt/0") == 0 && write(fd, page, sizeof(page)) == sizeof(page));
	CHECK(mkdir("/mnt/more", 0755) == 0 && mkdir("/mnt/most", 0755) < 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(directory), CASE(file), CASE(reused), CASE(two),
	                     CASE(several_directories), CASE(linked), CASE(parent),
	                     CASE(parent_replaced), CASE(special), CASE(alone), CASE(full),
	                     CASE(open_too), CASE(directory_open), CASE(open_linked), CASE(stray),
	                     CASE(unseen_link), CASE(of_host));
}
