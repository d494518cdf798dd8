/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts of every kind of root, name, option, flag and file system; the observer compares the lines
 * of mountinfo. Numbers are those of the cases in the design, see test/mounts.cases.
 *
 * TEST special-binds round-trip restart="--mntns new" -- special_binds
 * TEST options round-trip restart="--mntns new" -- options
 * TEST each-flag round-trip restart="--mntns new" -- each_flag
 * TEST nosymfollow round-trip restart="--mntns new" -- no_symlinks
 * TEST long-source refuse code=mount.attributes -- long_source
 * TEST longest-source round-trip restart="--mntns new" -- longest_source
 * TEST names round-trip restart="--mntns new" -- names
 * TEST chain round-trip restart="--mntns new" -- chain
 * TEST disjoint-roots round-trip restart="--mntns new" -- disjoint
 * TEST dead-group round-trip restart="--mntns new" -- dead_group
 * TEST unbindable round-trip restart="--mntns new" -- unbindable
 * TEST masked-proc round-trip restart="--mntns new" -- masked_proc
 * TEST kernel round-trip restart="--mntns new" -- kernel
 * TEST kernel-own round-trip restart="--mntns new" -- kernel_own
 * TEST own-terminals round-trip start=container -- own_terminals
 * TEST empty-instances round-trip restart="--mntns new" -- instances
 * TEST pivoted round-trip needs=statmount_ns restart="--mntns new" -- pivoted
 * TEST chrooted round-trip restart="--mntns new" -- chrooted
 * TEST point-missing restart-refuse code=mount.point-missing restart="--mntns new" before="rmdir m" -- point
 * TEST point-replaced restart-refuse code=mount.point-missing restart="--mntns new" before="rmdir m; ln -s . m" -- point
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

/* 2: a file, a FIFO and a device */
static void special_binds(void)
{
	struct stat st;

	private_mounts();
	mount_tmpfs("t", NULL);
	write_text("t/file", "text");
	CHECK(mkfifo("t/fifo", 0600) == 0 && mknod("t/null", S_IFCHR | 0666, 0x103) == 0);
	write_text("a", "");
	write_text("b", "");
	write_text("c", "");
	bind_mount("t/file", "a");
	bind_mount("t/fifo", "b");
	bind_mount("t/null", "c");
	subject_checkpoint();
	write_text("t/file", "changed");
	check_text("a", "changed");
	CHECK(stat("b", &st) == 0 && S_ISFIFO(st.st_mode));
	CHECK(stat("c", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
	int fd = open("c", O_WRONLY);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
}

/* 3 */
static void options(void)
{
	private_mounts();
	mount_tmpfs("t", "size=64k,nr_inodes=77,mode=1750,uid=5,gid=6,huge=within_size");
	subject_checkpoint();
	static char much[128 << 10];
	int fd = open("t/much", O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0 && write(fd, much, sizeof(much)) == 64 << 10);
}

/* 4 */
static void each_flag(void)
{
	static const unsigned long flags[] = { MS_RDONLY,  MS_NOSUID,     MS_NODEV,      MS_NOEXEC,
		                               MS_NOATIME, MS_NODIRATIME, MS_STRICTATIME };
	char path[8];

	private_mounts();
	mount_tmpfs("t", NULL);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		snprintf(path, sizeof(path), "b%zu", i);
		CHECK(mkdir(path, 0755) == 0);
		bind_mount("t", path);
		CHECK(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | flags[i], NULL) == 0);
	}
	subject_checkpoint();
}

/* 5 */
static void no_symlinks(void)
{
	struct mount_attr attr = { .attr_set = 0x00200000 /* MOUNT_ATTR_NOSYMFOLLOW */ };

	private_mounts();
	mount_tmpfs("t", NULL);
	write_text("t/file", "text");
	CHECK(symlink("file", "t/link") == 0);
	CHECK(mount_setattr(AT_FDCWD, "t", 0, &attr, sizeof(attr)) == 0);
	subject_checkpoint();
	check_text("t/file", "text");
	CHECK(open("t/link", O_RDONLY) < 0 && errno == ELOOP);
}

static void with_source(size_t size)
{
	char source[1000];

	memset(source, 's', size);
	source[size] = 0;
	private_mounts();
	CHECK(mkdir("t", 0755) == 0 && mount(source, "t", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
}

static void long_source(void)
{
	with_source(256);
}

static void longest_source(void)
{
	with_source(255);
}

/* 8 */
static void names(void)
{
	static const char *const all[] = { "with space", "back\\slash",   "new\nline", "#hash",
		                           "tab\there",  "comma,equals=", "\"quoted\"" };

	private_mounts();
	mount_tmpfs("t", NULL);
	CHECK(chdir("t") == 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		CHECK(mkdir(all[i], 0755) == 0);
		CHECK(mount(i % 2 ? all[i] : "", all[i], "tmpfs", 0, NULL) == 0);
	}
	CHECK(mkdir("part", 0755) == 0 && mkdir("with space/#1\\", 0755) == 0);
	bind_mount("with space/#1\\", "part");
	write_text("part/file", "text");
	CHECK(chdir("..") == 0);
	subject_checkpoint();
	check_text("t/with space/#1\\/file", "text");
}

/* runs @setup in a child's own copy of the namespace, and @after when it goes on */
static pid_t in_child(const char *name, void (*setup)(void), void (*after)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS) == 0);
		setup();
		subject_settle(name);
		after();
		_exit(0);
	}
	subject_wait(name);
	return pid;
}

static void see_arrival(void)
{
	subject_wait("mounted");
	check_text("t/point/seen", "x");
}

static void be_last(void)
{
	CHECK(mount(NULL, "t", NULL, MS_SLAVE, NULL) == 0);
}

static pid_t last;

static void be_between(void)
{
	be_last();
	CHECK(mount(NULL, "t", NULL, MS_SHARED, NULL) == 0);
	last = in_child("third", be_last, see_arrival);
}

static void see_arrival_between(void)
{
	see_arrival();
	subject_check_exit(last, 0);
}

/* 15: shared in one namespace, slave and shared in the next, slave in the third */
static void chain(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	CHECK(mkdir("t/point", 0755) == 0 && mount(NULL, "t", NULL, MS_SHARED, NULL) == 0);
	pid_t pid = in_child("second", be_between, see_arrival_between);
	subject_checkpoint();
	mount_tmpfs("t/point", NULL);
	write_text("t/point/seen", "x");
	subject_mark("mounted");
	subject_check_exit(pid, 0);
}

/* 16: one group, whose members show parts that have nothing in common */
static void disjoint(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	CHECK(mkdir("t/a", 0755) == 0 && mkdir("t/b", 0755) == 0 && mkdir("t/a/p", 0755) == 0);
	CHECK(mount(NULL, "t", NULL, MS_SHARED, NULL) == 0);
	CHECK(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0 && mkdir("c", 0755) == 0);
	bind_mount("t/a", "a");
	bind_mount("t/b", "b");
	bind_mount("t/a", "c");
	CHECK(umount("t") == 0);
	subject_checkpoint();
	mount_tmpfs("a/p", NULL);
	write_text("a/p/seen", "x");
	check_text("c/p/seen", "x");
}

/* 18: the last peer of its master has gone: it receives nothing any more */
static void dead_group(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	CHECK(mount(NULL, "t", NULL, MS_SHARED, NULL) == 0 && mkdir("s", 0755) == 0);
	bind_mount("t", "s");
	CHECK(mount(NULL, "s", NULL, MS_SLAVE, NULL) == 0 && umount("t") == 0);
	write_text("s/file", "text");
	subject_checkpoint();
	check_text("s/file", "text");
}

/* 19 */
static void unbindable(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	write_text("t/file", "text");
	CHECK(mount(NULL, "t", NULL, MS_UNBINDABLE, NULL) == 0 && mkdir("b", 0755) == 0);
	subject_checkpoint();
	check_text("t/file", "text");
	CHECK(mount("t", "b", NULL, MS_BIND, NULL) < 0 && errno == EINVAL);
}

/* 33: as container engines do it */
static void masked_proc(void)
{
	private_mounts();
	CHECK(mkdir("p", 0755) == 0 && mount("proc", "p", "proc", 0, "hidepid=2,gid=7") == 0);
	bind_mount("p/sys", "p/sys");
	CHECK(mount(NULL, "p/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
	bind_mount("/dev/null", "p/meminfo");
	CHECK(mkdir("q", 0755) == 0 && mount("proc", "q", "proc", 0, "subset=pid") == 0);
	subject_checkpoint();
	CHECK(open("p/sys/kernel/hostname", O_WRONLY) < 0 && errno == EROFS);
	CHECK(access("q/meminfo", F_OK) < 0 && access("q/self/stat", F_OK) == 0);
}

/* 40: those that there is one of; what this kernel has */
static void kernel(void)
{
	static const char *const types[] = { "debugfs",  "tracefs",     "securityfs",
		                             "devtmpfs", "pstore",      "configfs",
		                             "fusectl",  "binfmt_misc", "cgroup2" };
	char path[16];
	unsigned mounted = 0;

	/* the host has them, too */
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(path, sizeof(path), "k%zu", i);
		CHECK(mkdir(path, 0755) == 0);
		mounted += mount("none", path, types[i], 0, NULL) == 0;
	}
	CHECK(mounted > 0);
	private_mounts();
	subject_checkpoint();
}

/* 40: and the host has not mounted them */
static void kernel_own(void)
{
	static const char *const types[] = { "debugfs", "tracefs", "securityfs", "fusectl",
		                             "binfmt_misc" };
	char path[16];
	unsigned mounted = 0;

	private_mounts();
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(path, sizeof(path), "k%zu", i);
		CHECK(mkdir(path, 0755) == 0);
		mounted += mount("mine", path, types[i], MS_NOEXEC, NULL) == 0;
	}
	CHECK(mounted > 0);
	subject_checkpoint();
}

/* 37: terminals of one's own, none of them open */
static void own_terminals(void)
{
	CHECK(mkdir("d", 0755) == 0);
	CHECK(mount("d", "d", "devpts", 0, "newinstance,mode=620,gid=5,ptmxmode=666,max=9") == 0);
	CHECK(chown("d", 3, 4) == 0 && chmod("d", 0711) == 0 && chown("d/ptmx", 5, 6) == 0);
	subject_checkpoint();
	struct stat st;
	CHECK(stat("d", &st) == 0 && st.st_uid == 3 && st.st_gid == 4);
	CHECK_EQ(st.st_mode, S_IFDIR | 0711);
	CHECK(stat("d/ptmx", &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
	CHECK(access("d/ptmx", R_OK | W_OK) == 0);
}

/* 36, 41, 42: empty ones */
static void instances(void)
{
	private_mounts();
	CHECK(mkdir("b", 0755) == 0 && mkdir("h", 0755) == 0 && mkdir("q", 0755) == 0);
	CHECK(mount("bpf", "b", "bpf", 0, "mode=0700") == 0);
	CHECK(mount("h", "h", "hugetlbfs", 0, "pagesize=2M,size=8M,mode=711") == 0);
	CHECK(mount("q", "q", "mqueue", 0, NULL) == 0);
	subject_checkpoint();
}

static void pivot(void)
{
	mount_tmpfs("root", NULL);
	CHECK(chdir("root") == 0 && mkdir("old", 0755) == 0);
	write_text("inside", "text");
	CHECK(syscall(SYS_pivot_root, ".", "old") == 0 && chdir("/old") == 0);
	CHECK(chdir(getenv("WORK") + 1) == 0); /* where the test's files are */
}

static void check_inside(void)
{
	check_text("/inside", "text");
}

static void in_work(char room[4096])
{
	CHECK(getcwd(room, 4096) && setenv("WORK", room, 1) == 0);
}

/* 51 */
static void pivoted(void)
{
	char work[4096];

	in_work(work);
	private_mounts();
	pid_t pid = in_child("pivoted", pivot, check_inside);
	subject_checkpoint();
	CHECK(access("/inside", F_OK) < 0);
	subject_check_exit(pid, 0);
}

/* 52 */
static void chrooted(void)
{
	private_mounts();
	mount_tmpfs("root", NULL);
	write_text("root/inside", "text");
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(chroot("root") == 0); /* the working directory stays outside of it */
		subject_settle("chrooted");
		check_inside();
		_exit(0);
	}
	subject_wait("chrooted");
	subject_checkpoint();
	CHECK(access("/inside", F_OK) < 0);
	subject_check_exit(pid, 0);
}

/* 59: on a directory of an external file system that is not there any more */
static void point(void)
{
	CHECK(mkdir("m", 0755) == 0);
	private_mounts();
	CHECK(mount("t", "m", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(special_binds), CASE(options), CASE(each_flag),
	                     CASE(no_symlinks), CASE(names), CASE(long_source),
	                     CASE(longest_source), CASE(chain), CASE(disjoint), CASE(dead_group),
	                     CASE(unbindable), CASE(masked_proc), CASE(kernel), CASE(kernel_own),
	                     CASE(own_terminals), CASE(instances), CASE(pivoted), CASE(chrooted),
	                     CASE(point));
}
