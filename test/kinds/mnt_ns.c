/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces with what is in them, as seen by tasks. (The mounts themselves, in all variety:
 * test/unit/mount_build.c.)
 *
 * TEST contents round-trip start=container -- contents
 * TEST flags round-trip start=container -- flags
 * TEST own-proc round-trip start=container -- own_proc
 * Files of a tmpfs get new inode numbers; a mapping shows that, and so does the name of O_TMPFILE:
 * TEST open-files round-trip start=container except=map/????????????,fd/5 -- open_files
 * TEST covered round-trip start=container -- covered
 * TEST directory-covered round-trip start=container -- directory_covered
 * TEST covered-below round-trip start=container except=map/???????????? -- covered_below
 * TEST parts round-trip start=container -- parts
 * TEST parts-linked refuse start=container code=content.linked -- parts_linked
 * TEST parts-linked-within round-trip start=container -- parts_linked_within
 * TEST two-namespaces round-trip start=container -- two
 * TEST propagation round-trip start=container -- propagation
 * Those on the /proc of a pid namespace that only tasks make:
 * TEST on-proc round-trip start=container except=mountinfo -- on_proc
 * TEST on-proc-owned round-trip start=container except=mountinfo -- on_proc_owned
 * TEST on-proc-locked round-trip start=container except=mountinfo -- on_proc_locked
 * TEST on-proc-deeper round-trip start=container except=mountinfo -- on_proc_deeper
 * TEST on-proc-files round-trip start=container except=mountinfo,map/????????????,fd/? -- on_proc_files
 * TEST on-proc-of-init round-trip start=container except=mountinfo -- on_proc_of_init
 * TEST on-task refuse code=mount.point-missing start=container -- on_task
 * TEST subtree round-trip restart="--mntns new" -- alone
 * TEST not-asked-for restart-refuse code=namespace.mntns -- alone
 * TEST outside refuse code=container.outside start="unshare -pf" -- alone
 * TEST outside-allowed round-trip start="unshare -pf" checkpoint=--subtree -- alone
 * TEST no-container refuse code=container.root checkpoint=--container -- nothing
 * TEST detached refuse code=mount.detached start=container -- detached
 * TEST detached-tree refuse code=mount.detached start=container -- detached_tree
 * TEST detached-root refuse code=mount.detached start=container -- detached_root
 */
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

static void contents(void)
{
	const struct timespec times[2] = { { 1000000000, 123456789 }, { 900000000, 987654321 } };
	struct stat st;
	char target[16] = "";

	mount_tmpfs("t", "size=4m,mode=1770,uid=7");
	write_text("t/file", "what is in it");
	CHECK(chown("t/file", 3, 4) == 0 && chmod("t/file", 04711) == 0);
	CHECK(link("t/file", "t/other") == 0 && symlink("/nowhere", "t/link") == 0);
	CHECK(mkfifo("t/fifo", 0600) == 0 && mkdir("t/folder", 0711) == 0);
	CHECK(utimensat(AT_FDCWD, "t/file", times, 0) == 0);
	CHECK(mount("none", "t/folder", "ramfs", 0, NULL) == 0);
	write_text("t/folder/below", "in a ramfs");
	subject_checkpoint();
	check_text("t/file", "what is in it");
	CHECK(stat("t/file", &st) == 0 && st.st_uid == 3 && st.st_gid == 4 && st.st_nlink == 2);
	CHECK_EQ(st.st_mode, S_IFREG | 04711);
	CHECK_EQ(st.st_mtim.tv_nsec, 987654321);
	CHECK(readlink("t/link", target, sizeof(target) - 1) == 8 && !strcmp(target, "/nowhere"));
	CHECK(stat("t/fifo", &st) == 0 && S_ISFIFO(st.st_mode));
	check_text("t/folder/below", "in a ramfs");
	CHECK(stat("t", &st) == 0 && st.st_uid == 7 && (st.st_mode & 07777) == 01770);
	CHECK(umount("t/folder") == 0 && umount("t") == 0);
}

static void flags(void)
{
	const unsigned long set = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME;
	struct statvfs fs;

	mount_tmpfs("t", NULL);
	write_text("t/file", "x");
	CHECK(mkdir("b", 0755) == 0 && mount("t", "b", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | set, NULL) == 0);
	/* of the file system: mountinfo shows them, which the observer compares */
	CHECK(mkdir("s", 0755) == 0);
	CHECK(mount("s", "s", "tmpfs", MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME, NULL) == 0);
	CHECK(mount(NULL, "s", NULL, MS_UNBINDABLE, NULL) == 0);
	subject_checkpoint();
	CHECK(statvfs("b", &fs) == 0 && (fs.f_flag & set) == set);
	CHECK(statvfs("t", &fs) == 0 && !(fs.f_flag & (ST_RDONLY | ST_NOEXEC)));
	CHECK(open("b/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	write_text("t/new", "one file system");
	check_text("b/new", "one file system");
}

/* a /proc is of one pid namespace */
static void own_proc(void)
{
	char self[16] = "";

	CHECK(mkdir("p", 0755) == 0 && mount("proc", "p", "proc", 0, "hidepid=2") == 0);
	subject_checkpoint();
	CHECK(readlink("p/self", self, sizeof(self) - 1) == 1 && !strcmp(self, "1"));
}

/* by path, deleted, mapped, without a name, a FIFO, a device */
static void open_files(void)
{
	char text[8] = "";

	mount_tmpfs("t", NULL);
	CHECK(mkdir("t/d", 0755) == 0);
	int file = open("t/d/file", O_RDWR | O_CREAT | O_APPEND, 0600);
	int gone = open("t/d/gone", O_RDWR | O_CREAT, 0600);
	int unnamed = open("t/d", O_RDWR | O_TMPFILE, 0600);
	CHECK(mkfifo("t/fifo", 0600) == 0 && mknod("t/null", S_IFCHR | 0666, 0x103) == 0);
	int fifo = open("t/fifo", O_RDWR), null = open("t/null", O_WRONLY);
	CHECK(file >= 0 && gone >= 0 && unnamed >= 0 && fifo >= 0 && null >= 0);
	CHECK(write(file, "abcd", 4) == 4 && write(gone, "efgh", 4) == 4);
	CHECK(write(unnamed, "ijkl", 4) == 4 && write(fifo, "mnop", 4) == 4);
	CHECK(unlink("t/d/gone") == 0);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(map != MAP_FAILED);
	subject_checkpoint();
	CHECK(lseek(file, 0, SEEK_CUR) == 4 && write(file, "!", 1) == 1);
	CHECK(!memcmp(map, "abcd!", 5));
	CHECK(pread(gone, text, 4, 0) == 4 && !memcmp(text, "efgh", 4));
	CHECK(pread(unnamed, text, 4, 0) == 4 && !memcmp(text, "ijkl", 4));
	CHECK(read(fifo, text, 4) == 4 && !memcmp(text, "mnop", 4));
	CHECK(write(null, "x", 1) == 1);
	check_text("t/d/file", "abcd!");
}

/* three on one place; an open file, and a directory, are on the lowest */
static void covered(void)
{
	char path[4096];

	mount_tmpfs("t", NULL);
	CHECK(chdir("t") == 0);
	write_text("low", "lowest");
	int fd = open("low", O_RDWR);
	CHECK(fd >= 0 && chdir("..") == 0);
	CHECK(mkdir("t/cwd", 0755) == 0);
	int dir = open("t/cwd", O_RDONLY | O_DIRECTORY);
	mount_tmpfs("t", NULL);
	write_text("t/middle", "middle");
	mount_tmpfs("t", NULL);
	write_text("t/high", "highest");
	subject_checkpoint();
	CHECK(lseek(fd, 0, SEEK_END) == 6 && write(fd, "!", 1) == 1);
	CHECK(dir >= 0 && fchdir(dir) == 0 && getcwd(path, sizeof(path)) && chdir("../..") == 0);
	check_text("t/high", "highest");
	CHECK(umount("t") == 0);
	check_text("t/middle", "middle");
	CHECK(umount("t") == 0);
	check_text("t/low", "lowest!");
}

/* a child's working directory is on the lowest of two */
static void directory_covered(void)
{
	char path[4096], below[4096];
	int go[2];

	mount_tmpfs("t", NULL);
	CHECK(mkdir("t/cwd", 0755) == 0 && pipe(go) == 0 && getcwd(path, sizeof(path)));
	write_text("t/cwd/low", "lowest");
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(chdir("t/cwd") == 0);
		CHECK(read(go[0], below, 1) == 1);
		check_text("low", "lowest");
		write_text("new", "below");
		CHECK(getcwd(below, sizeof(below)) && !strncmp(below, path, strlen(path)));
		CHECK(!strcmp(below + strlen(path), "/t/cwd"));
		_exit(0);
	}
	subject_wait_call(pid, SYS_read);
	mount_tmpfs("t", NULL);
	CHECK(mkdir("t/cwd", 0755) == 0);
	subject_checkpoint();
	CHECK(write(go[1], "", 1) == 1);
	subject_check_exit(pid, 0);
	CHECK(access("t/cwd/new", F_OK) < 0 && umount("t") == 0);
	check_text("t/cwd/new", "below");
}

/* what is open on a directory, or is the file, that something has been mounted on since */
static void covered_below(void)
{
	char text[8] = "", path[4096];

	mount_tmpfs("t", NULL);
	CHECK(mkdir("t/d", 0755) == 0 && mkdir("t/d/below", 0755) == 0);
	CHECK(mknod("t/d/null", S_IFCHR | 0666, 0x103) == 0);
	write_text("t/d/file", "abcd");
	write_text("t/single", "single");
	int file = open("t/d/file", O_RDWR), nofollow = open("t/d/file", O_RDONLY | O_NOFOLLOW);
	int single = open("t/single", O_RDONLY), null = open("t/d/null", O_WRONLY);
	int dir = open("t/d/below", O_RDONLY | O_DIRECTORY), place = open("t/d/file", O_PATH);
	CHECK(file >= 0 && nofollow >= 0 && single >= 0 && null >= 0 && dir >= 0 && place >= 0);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	CHECK(map != MAP_FAILED);
	mount_tmpfs("t/d", NULL);
	CHECK(mount("/proc/self/exe", "t/single", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
	CHECK(write(file, "!", 1) == 1 && !memcmp(map, "!bcd", 4) && write(null, "x", 1) == 1);
	CHECK(read(nofollow, text, 4) == 4 && !memcmp(text, "!bcd", 4));
	CHECK(read(single, text, 6) == 6 && !memcmp(text, "single", 6));
	CHECK(fchdir(dir) == 0 && getcwd(path, sizeof(path)) && chdir("../../..") == 0);
	CHECK(access("t/d/file", F_OK) < 0 && umount("t/d") == 0 && umount("t/single") == 0);
	check_text("t/d/file", "!bcd");
	check_text("t/single", "single");
}

/* two parts of a tmpfs */
static void mount_parts(void)
{
	mount_tmpfs("t", NULL);
	for (int i = 0; i < 2; i++) {
		const char *const part[] = { "t/d0", "t/d1" };
		CHECK(mkdir(part[i], 0755) == 0 && mkdir(part[i] + 2, 0755) == 0);
		CHECK(mount(part[i], part[i] + 2, NULL, MS_BIND, NULL) == 0);
	}
	write_text("t/d0/file", "text");
}

static void parts_linked(void)
{
	mount_parts();
	CHECK(link("t/d0/file", "t/d1/file") == 0 && umount("t") == 0);
	subject_checkpoint();
	write_text("d0/file", "other");
	check_text("d1/file", "other");
}

static void parts_linked_within(void)
{
	struct stat st;

	mount_parts();
	CHECK(link("t/d0/file", "t/d0/other") == 0 && umount("t") == 0);
	subject_checkpoint();
	write_text("d0/file", "other");
	check_text("d0/other", "other");
	CHECK(stat("d0/file", &st) == 0 && st.st_nlink == 2);
}

/* of a tmpfs only parts of which are mounted any more: each has what was in it */
static void parts(void)
{
	char path[32], text[32];

	mount_tmpfs("t", NULL);
	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "t/d%d", i);
		CHECK(mkdir(path, 0700 + (mode_t)(i % 2)) == 0 && mkdir(path + 2, 0755) == 0);
		CHECK(mount(path, path + 2, NULL, MS_BIND, NULL) == 0);
		snprintf(path, sizeof(path), "d%d/file", i);
		snprintf(text, sizeof(text), "part %d", i);
		write_text(path, text);
	}
	CHECK(umount("t") == 0);
	subject_checkpoint();
	for (int i = 0; i < 5; i++) {
		struct stat st;
		snprintf(path, sizeof(path), "d%d/file", i);
		snprintf(text, sizeof(text), "part %d", i);
		check_text(path, text);
		*strchr(path, '/') = 0;
		CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700 + (mode_t)(i % 2));
		CHECK(umount(path) == 0);
	}
}

static void two(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS) == 0);
		mount_tmpfs("t", NULL);
		write_text("t/of child", "child");
		subject_mark("child");
		subject_wait_go();
		check_text("t/of child", "child");
		_exit(3);
	}
	subject_wait("child");
	CHECK(mkdir("t", 0755) == 0 || errno == EEXIST);
	mount_tmpfs("t", NULL);
	write_text("t/of parent", "parent");
	subject_checkpoint();
	check_text("t/of parent", "parent");
	CHECK(access("t/of child", F_OK) < 0);
	subject_check_exit(pid, 3);
}

/* what is mounted in one comes to its peer and its slave, and not back */
static void propagation(void)
{
	mount_tmpfs("a", NULL);
	CHECK(mkdir("a/point", 0755) == 0 && mkdir("b", 0755) == 0 && mkdir("c", 0755) == 0);
	CHECK(mount(NULL, "a", NULL, MS_SHARED, NULL) == 0);
	CHECK(mount("a", "b", NULL, MS_BIND, NULL) == 0);
	CHECK(mount("a", "c", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "c", NULL, MS_SLAVE, NULL) == 0);
	subject_checkpoint();
	mount_tmpfs("b/point", NULL);
	write_text("b/point/seen", "x");
	check_text("a/point/seen", "x");
	check_text("c/point/seen", "x");
	CHECK(umount("a/point") == 0 && access("c/point/seen", F_OK) < 0);
	mount_tmpfs("c/point", NULL);
	write_text("c/point/own", "x");
	CHECK(access("a/point/own", F_OK) < 0);
}

/* init of a pid namespace with a /proc of its own, and files on what is mounted on that */
static void use_proc(void)
{
	CHECK(mkdir("p", 0755) == 0 && mount("p", "p", "proc", 0, NULL) == 0);
	mount_tmpfs("p/fs", NULL);
	CHECK(mount("t", "p/bus", NULL, MS_BIND, NULL) == 0);
	int file = open("p/fs/file", O_RDWR | O_CREAT, 0600);
	int host = open("p/bus/file", O_RDWR | O_CREAT, 0600);
	int gone = open("p/bus/gone", O_RDWR | O_CREAT, 0600);
	CHECK(file >= 0 && host >= 0 && gone >= 0 && unlink("p/bus/gone") == 0);
	CHECK(write(gone, "gone", 4) == 4);
	subject_mark("child");
	subject_wait_go();
	CHECK(write(file, "of child", 8) == 8 && write(host, "shared", 6) == 6);
	check_text("p/fs/file", "of child");
	check_text("p/bus/file", "shared");
	CHECK(umount("p/fs") < 0 && errno == EBUSY && close(file) == 0 && umount("p/fs") == 0);
	_exit(3);
}

static void on_proc_in(int namespaces)
{
	mount_tmpfs("t", NULL);
	CHECK(mount(NULL, "t", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(namespaces) == 0);
		if (namespaces & CLONE_NEWUSER) {
			map_root();
		}
		pid_t init = fork();
		CHECK(init >= 0);
		if (init == 0)
			use_proc();
		subject_check_exit(init, 3);
		_exit(3);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 3);
	check_text("t/file", "shared");
}

static void on_proc(void)
{
	on_proc_in(CLONE_NEWPID | CLONE_NEWNS);
}

/* the attributes of what it bound are locked */
static void on_proc_owned(void)
{
	on_proc_in(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUSER);
}

static void innermost(void)
{
	subject_mark("child");
	subject_wait_go();
}

static void within(void)
{
	subject_check_exit(in_owned(innermost), 3);
}

static void deeper(void)
{
	mount_tmpfs("t", NULL);
	write_text("t/file", "of the second");
	subject_check_exit(in_owned(within), 3);
	check_text("t/file", "of the second");
}

/* the contents of what is deleted come before there is anything to make it on */
static void with_files(void)
{
	char text[16];

	mount_tmpfs("s", NULL);
	write_text("s/named", "named");
	CHECK(mkfifo("fifo", 0600) == 0 && mkdir("here", 0700) == 0 && chdir("here") == 0);
	int gone = open("../gone", O_RDWR | O_CREAT, 0600), named = open("../s/named", O_RDONLY);
	int fifo = open("../fifo", O_RDWR), null = open("/dev/null", O_WRONLY);
	CHECK(gone >= 0 && named >= 0 && fifo >= 0 && null >= 0);
	CHECK(pwrite(gone, "far", 3, 1 << 20) == 3 && write(fifo, "waits", 5) == 5);
	CHECK(link("../gone", "../other") == 0 && unlink("../gone") == 0 &&
	      unlink("../other") == 0);
	const char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, named, 0);
	CHECK(map != MAP_FAILED);
	CHECK(chdir("..") == 0);
	innermost();
	CHECK(pread(gone, text, 8, (1 << 20) - 1) == 4 && !memcmp(text, "\0far", 4));
	CHECK(read(fifo, text, 5) == 5 && !memcmp(text, "waits", 5) && !memcmp(map, "named", 5));
	CHECK(umount2("/proc", MNT_DETACH) == 0 && umount2("/proc", MNT_DETACH) < 0);
}

static void with_files_within(void)
{
	subject_check_exit(in_owned(with_files), 3);
}

static void lock_own(void)
{
	CHECK(unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0);
	innermost();
	CHECK(umount2("/proc", MNT_DETACH) < 0 && access("/proc/1", F_OK) == 0);
}

static void check_nested(void (*inside)(void))
{
	pid_t pid = in_owned(inside);

	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 3);
}

/* the /proc of the one in between is locked in the innermost */
static void on_proc_locked(void)
{
	check_nested(within);
}

static void on_proc_deeper(void)
{
	check_nested(deeper);
}

static void on_proc_files(void)
{
	check_nested(with_files_within);
}

/* the init itself goes where its own /proc is locked */
static void on_proc_of_init(void)
{
	check_nested(lock_own);
}

/* at restart there is no such task yet when mounts are made */
static void on_task(void)
{
	char path[40];
	pid_t pid = fork();

	if (pid == 0)
		pause();
	snprintf(path, sizeof(path), "/proc/%d", pid);
	CHECK(pid > 0 && mount("t", path, "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
}

/* its memory and its output are from before: of the namespace that stasis is in */
static void alone(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	write_text("t/file", "mine");
	subject_checkpoint();
	check_text("t/file", "mine");
}

static void nothing(void)
{
	subject_checkpoint();
}

static void detached(void)
{
	mount_tmpfs("t", NULL);
	write_text("t/file", "x");
	CHECK(open("t/file", O_RDONLY) >= 0);
	CHECK(umount2("t", MNT_DETACH) == 0);
	subject_checkpoint();
}

/* of open_tree(2): mounted nowhere, and a file on it; and the tree itself */
static int clone_tree(void)
{
	mount_tmpfs("t", NULL);
	write_text("t/file", "x");
	int tree = open_tree(AT_FDCWD, "t", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	CHECK(tree >= 0);
	return tree;
}

static void detached_tree(void)
{
	int tree = clone_tree();

	CHECK(openat(tree, "file", O_RDONLY) >= 0 && close(tree) == 0);
	subject_checkpoint();
}

static void detached_root(void)
{
	clone_tree();
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(contents), CASE(flags), CASE(own_proc),
	                     CASE(open_files), CASE(covered), CASE(covered_below), CASE(on_proc),
	                     CASE(on_proc_owned), CASE(on_proc_locked), CASE(on_proc_deeper),
	                     CASE(on_proc_files), CASE(on_proc_of_init), CASE(on_task), CASE(two),
	                     CASE(propagation), CASE(alone), CASE(nothing), CASE(detached),
	                     CASE(detached_tree), CASE(detached_root), CASE(directory_covered),
	                     CASE(parts), CASE(parts_linked), CASE(parts_linked_within));
}
