/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in which directories of file systems that are made anew list their entries, and where
 * those that were read in part go on.
 *
 * except=fdinfo/?/pos: positions mean something in one directory only.
 *
 * TEST order round-trip restart="--mntns new" -- order
 * TEST order-ramfs round-trip restart="--mntns new" -- order_ramfs
 * TEST in-part round-trip restart="--mntns new" except=fdinfo/?/pos -- in_part
 * TEST at-ends round-trip restart="--mntns new" except=fdinfo/?/pos -- at_ends
 * TEST next-deleted refuse code=file.listing -- next_deleted
 * TEST counted refuse code=file.listing -- counted
 * TEST overlay-merged refuse code=file.listing -- overlay_merged
 * TEST overlay-end round-trip restart="--mntns new" except=fdinfo/?/pos -- overlay_end
 * TEST overlay-upper round-trip restart="--mntns new" except=fdinfo/?/pos -- overlay_upper
 * TEST overlay-of-stasis refuse code=file.listing -- overlay_shared
 * TEST may-not refuse code=capability.missing under="setpriv --bounding-set=-dac_override,-dac_read_search" -- may_not
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "cases.h"
#include "mounts.h"

#define N_ENTRIES 300
#define MUCH      65536

/* names one after the other, as a directory lists them from where @fd stands */
static void list(int fd, char names[MUCH])
{
	char entries[4096];
	size_t at = 0;
	ssize_t n;

	while ((n = getdents64(fd, entries, sizeof(entries))) > 0)
		for (ssize_t i = 0; i < n;) {
			const struct dirent64 *d = (void *)(entries + i);
			at += (size_t)snprintf(names + at, MUCH - at, "%s\n", d->d_name);
			i += d->d_reclen;
		}
	CHECK(n == 0);
}

static void list_path(const char *path, char names[MUCH])
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(fd >= 0);
	list(fd, names);
	close(fd);
}

static void make_entry(const char *folder, unsigned i)
{
	char path[64], other[64];

	/* names whose alphabetic order is another one */
	snprintf(path, sizeof(path), "%s/%u", folder, i * 7919 % 1000);
	snprintf(other, sizeof(other), "%s/%u", folder, (i - 1) * 7919 % 1000);
	switch (i % 5) {
	case 0:
		CHECK_EQ(mkdir(path, 0755), 0);
		break;
	case 1:
		CHECK_EQ(symlink("nowhere", path), 0);
		break;
	case 3:
		CHECK_EQ(link(other, path), 0);
		break;
	default:
		write_text(path, "text");
	}
}

/* of all sorts, some of which have gone or got another name since */
static void make_entries(const char *folder)
{
	char from[64], to[64];

	for (unsigned i = 0; i < N_ENTRIES; i++)
		make_entry(folder, i);
	for (unsigned i = 7; i < N_ENTRIES; i += 50) {
		snprintf(from, sizeof(from), "%s/%u", folder, i * 7919 % 1000);
		snprintf(to, sizeof(to), "%s/renamed%u", folder, i);
		CHECK_EQ(rename(from, to), 0);
		snprintf(from, sizeof(from), "%s/%u", folder, (i + 2) * 7919 % 1000);
		CHECK_EQ(unlink(from), 0);
	}
}

static void check_order(void)
{
	static char before[2][MUCH], after[2][MUCH];

	CHECK_EQ(mkdir("t/5", 0755), 0);
	make_entries("t/5");
	make_entries("t/5/0");
	list_path("t/5", before[0]);
	list_path("t/5/0", before[1]);
	subject_checkpoint();
	list_path("t/5", after[0]);
	list_path("t/5/0", after[1]);
	CHECK_EQ(strcmp(before[0], after[0]), 0);
	CHECK_EQ(strcmp(before[1], after[1]), 0);
	/* and what is made last stands where it did */
	write_text("t/5/last", "");
	list_path("t/5", after[0]);
	CHECK(!strncmp(after[0] + strlen(".\n..\n"), "last\n", 5) ||
	      !strcmp(after[0] + strlen(after[0]) - 5, "last\n"));
}

static void test_order(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	check_order();
}

static void test_order_ramfs(void)
{
	private_mounts();
	CHECK_EQ(mkdir("t", 0755), 0);
	CHECK_EQ(mount("stasis-test", "t", "ramfs", 0, NULL), 0);
	check_order();
}

/* before Linux 6.6 all that is read in part is refused, as test_counted has it */
static void need_offsets(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	CHECK(uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2);
	if (major < 6 || (major == 6 && minor < 6))
		SKIP("this kernel counts the entries of a tmpfs\n");
}

/* reads some 20 entries; their names are deleted if @remove */
static int read_in_part(bool remove)
{
	int fd = open("t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char entries[500];

	CHECK(fd >= 0);
	ssize_t n = getdents64(fd, entries, sizeof(entries));
	CHECK(n > 300);
	for (ssize_t i = 0; i < n;) {
		const struct dirent64 *d = (void *)(entries + i);
		if (remove && d->d_name[0] != '.')
			CHECK_EQ(unlinkat(fd, d->d_name, d->d_type == DT_DIR ? AT_REMOVEDIR : 0),
			         0);
		i += d->d_reclen;
	}
	return fd;
}

/* what rm(1) does with a directory of many entries, and find(1) */
static void test_in_part(void)
{
	static char rest[2][MUCH], after[2][MUCH];

	need_offsets();
	private_mounts();
	mount_tmpfs("t", NULL);
	make_entries("t");
	int fds[] = { read_in_part(true), read_in_part(false) };
	for (int i = 0; i < 2; i++) {
		off_t position = lseek(fds[i], 0, SEEK_CUR);
		list(fds[i], rest[i]);
		CHECK_EQ(lseek(fds[i], position, SEEK_SET), position);
	}
	CHECK(strlen(rest[1]) > 100 && strlen(rest[1]) < strlen(rest[0]));
	subject_checkpoint();
	for (int i = 0; i < 2; i++) {
		list(fds[i], after[i]);
		CHECK_EQ(strcmp(rest[i], after[i]), 0);
	}
}

static void test_at_ends(void)
{
	static char all[MUCH], after[MUCH];

	private_mounts();
	mount_tmpfs("t", NULL);
	make_entries("t");
	list_path("t", all);
	int begin = open("t", O_RDONLY | O_DIRECTORY);
	int end = open("t", O_RDONLY | O_DIRECTORY);
	CHECK(begin >= 0 && end >= 0);
	list(end, after);
	subject_checkpoint();
	after[0] = 0;
	list(end, after);
	CHECK_EQ(after[0], 0);
	list(begin, after);
	CHECK_EQ(strcmp(all, after), 0);
}

/* the kernel goes on with what was made after it, and was read before */
static void test_next_deleted(void)
{
	static char rest[MUCH];

	need_offsets();
	private_mounts();
	mount_tmpfs("t", NULL);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(rest, sizeof(rest), "t/%u", i);
		write_text(rest, "");
	}
	int fd = read_in_part(false);
	off_t position = lseek(fd, 0, SEEK_CUR);
	list(fd, rest);
	CHECK_EQ(lseek(fd, position, SEEK_SET), position);
	*strchr(rest, '\n') = 0;
	CHECK_EQ(unlinkat(fd, rest, 0), 0);
	subject_checkpoint();
}

static void test_counted(void)
{
	private_mounts();
	CHECK_EQ(mkdir("t", 0755), 0);
	CHECK_EQ(mount("stasis-test", "t", "ramfs", 0, NULL), 0);
	make_entries("t");
	read_in_part(false);
	subject_checkpoint();
}

/* at "t"; "t/only" is in the upper layer alone */
static void mount_overlay(void)
{
	mount_tmpfs("/mnt", NULL);
	CHECK(mkdir("/mnt/l", 0755) == 0 && mkdir("/mnt/u", 0755) == 0);
	CHECK(mkdir("/mnt/w", 0755) == 0 && mkdir("/mnt/u/only", 0755) == 0);
	make_entries("/mnt/l");
	make_entries("/mnt/u/only");
	CHECK(mkdir("t", 0755) == 0);
	CHECK_EQ(mount("o", "t", "overlay", 0, "lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w"),
	         0);
}

static void test_overlay_merged(void)
{
	private_mounts();
	mount_overlay();
	read_in_part(true);
	subject_checkpoint();
}

static void test_overlay_shared(void)
{
	mount_overlay();
	read_in_part(true);
	subject_checkpoint();
}

static void test_overlay_end(void)
{
	static char names[MUCH];

	private_mounts();
	mount_overlay();
	int fd = open("t", O_RDONLY | O_DIRECTORY);
	list(fd, names);
	CHECK(unlink("t/1") == 0 || errno == ENOENT);
	subject_checkpoint();
	names[0] = 0;
	list(fd, names);
	CHECK_EQ(names[0], 0);
}

/* which is that layer's own directory */
static void test_overlay_upper(void)
{
	static char rest[MUCH], after[MUCH];
	char entries[500];

	need_offsets();
	private_mounts();
	mount_overlay();
	int fd = open("t/only", O_RDONLY | O_DIRECTORY);
	CHECK(getdents64(fd, entries, sizeof(entries)) > 0);
	off_t position = lseek(fd, 0, SEEK_CUR);
	list(fd, rest);
	CHECK_EQ(lseek(fd, position, SEEK_SET), position);
	subject_checkpoint();
	list(fd, after);
	CHECK(rest[0] && !strcmp(rest, after));
}

static void test_may_not(void)
{
	private_mounts();
	mount_tmpfs("t", "mode=755");
	make_entries("t");
	read_in_part(false);
	CHECK_EQ(chmod("t", 0), 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, TEST_CASE(order), TEST_CASE(order_ramfs),
	                     TEST_CASE(in_part), TEST_CASE(at_ends), TEST_CASE(next_deleted),
	                     TEST_CASE(counted), TEST_CASE(overlay_merged),
	                     TEST_CASE(overlay_shared), TEST_CASE(overlay_end),
	                     TEST_CASE(overlay_upper), TEST_CASE(may_not));
}
