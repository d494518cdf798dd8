/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that have become immutable or append-only (chattr(1)) since they were opened, on an ext4 of
 * the host's, or in a tmpfs that is made anew, where the attribute comes last.
 *
 * TEST immutable refuse code=regfile.immutable -- immutable
 * TEST immutable-mapped refuse code=regfile.immutable -- immutable_mapped
 * TEST append-only refuse code=regfile.immutable -- append_only
 * TEST read-only round-trip -- readers
 * TEST appending round-trip -- appending
 * TEST anew round-trip restart="--mntns new" except=map/???????????? -- anew
 */
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "cases.h"
#include "mounts.h"

/* the loop device goes with the last mount */
static void mount_disk(void)
{
	if (system("truncate -s 8M disk && mkfs.ext4 -q -F disk && mount -o loop disk /mnt") != 0)
		SKIP("no loop device can be used");
}

static int open_file(int flags)
{
	write_text("/mnt/file", "text");
	int fd = open("/mnt/file", flags | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static void set(int attribute)
{
	int fd = open("/mnt/file", O_RDONLY | O_CLOEXEC);

	if (ioctl(fd, FS_IOC_SETFLAGS, &attribute) < 0)
		SKIP("no attributes here");
	close(fd);
}

static void immutable(void)
{
	mount_disk();
	int fd = open_file(O_RDWR);
	set(FS_IMMUTABLE_FL);
	subject_checkpoint();
	set(0);
	CHECK(write(fd, "still", 5) == 5);
}

static void immutable_mapped(void)
{
	mount_disk();
	int fd = open_file(O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	close(fd);
	set(FS_IMMUTABLE_FL);
	subject_checkpoint();
	CHECK(!memcmp(map, "text", 4));
}

static void append_only(void)
{
	mount_disk();
	int fd = open_file(O_WRONLY);
	set(FS_APPEND_FL);
	subject_checkpoint();
	CHECK(pwrite(fd, "still", 5, 0) == 5);
}

static void readers(void)
{
	char text[8] = "";

	mount_disk();
	int fd = open_file(O_RDONLY);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED);
	set(FS_IMMUTABLE_FL);
	subject_checkpoint();
	CHECK(read(fd, text, 8) == 4 && !memcmp(map, "text", 4));
	CHECK(open("/mnt/file", O_RDWR) < 0 && errno == EPERM);
}

static void appending(void)
{
	mount_disk();
	int fd = open_file(O_WRONLY | O_APPEND);
	set(FS_APPEND_FL);
	subject_checkpoint();
	CHECK(write(fd, "!", 1) == 1);
	check_text("/mnt/file", "text!");
}

static void anew(void)
{
	private_mounts();
	mount_tmpfs("/mnt", NULL);
	int fd = open_file(O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	set(FS_IMMUTABLE_FL);
	subject_checkpoint();
	CHECK(open("/mnt/file", O_RDWR) < 0 && errno == EPERM);
	map[0] = 'T';
	check_text("/mnt/file", "Text");
	CHECK(pwrite(fd, "T", 1, 3) == 1);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(immutable), CASE(immutable_mapped), CASE(append_only),
	                     CASE(readers), CASE(appending), CASE(anew));
}
