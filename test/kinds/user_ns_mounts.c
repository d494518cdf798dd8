/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces that belong to a user namespace, and what is locked in them.
 *
 * TEST locked round-trip restart="--mntns new" -- locked
 * TEST below-locked round-trip restart="--mntns new" -- below_locked
 * TEST deleted-locked round-trip restart="--mntns new" -- deleted_locked
 * TEST directory-below-locked refuse code=regfile.path -- directory_below_locked
 * TEST deleted-of-siblings round-trip restart="--mntns new" -- siblings
 * TEST bound round-trip restart="--mntns new" -- bound
 * TEST moved-root round-trip restart="--mntns new" -- moved_root
 * TEST of-container round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- own_mounts
 * TEST deleted-own round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- deleted_own
 * TEST named round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- named
 * TEST pivoted round-trip start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- pivoted
 * TEST overlay round-trip restart="--mntns new" -- overlay
 * TEST overlay-of-host round-trip restart="--mntns new" -- overlay_of_host
 * TEST overlay-below-locked round-trip restart="--mntns new" -- overlay_below_locked
 * TEST overlay-hidden round-trip restart="--mntns new" -- overlay_hidden
 * TEST root-covered refuse code=mount.lock-shape needs=statmount_ns -- covered
 * TEST root-covered-in-mountinfo refuse code=mount.hidden without=statmount_ns -- covered
 * TEST covered-attributes round-trip restart="--mntns new" -- covered_attributes
 * TEST covered-unbindable refuse code=mount.lock-shape -- covered_unbindable
 * TEST covered-partly-shared refuse code=mount.lock-shape -- covered_partly_shared
 * TEST two-stacks round-trip restart="--mntns new" -- two_stacks
 * TEST covered-slave refuse code=mount.lock-shape -- covered_slave
 * TEST nested round-trip start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" checkpoint=--subtree -- nested_mounts
 * TEST owner-between refuse code=mount.owner -- owner_between
 * TEST binfmt-misc refuse code=mount.content -- binfmt
 */
#include <limits.h>
#include <mqueue.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

#include "mounts.h"
#include "user_ns.h"

static void try(char *text, const char *what, const char *path, int result)
{
	snprintf(text + strlen(text), 200, "%s %s: %s\n", what, path,
	         result == 0 ? "done" : strerror(errno));
}

/* what may be done with the mounts, each in a copy of the namespace of its own */
static void show_locks(char *text)
{
	static const char *const paths[] = { "/mnt", "/mnt/under", "/srv", "/srv/own", "/opt" };
	static const unsigned attributes[] = { MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID,
		                               MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC };
	char *seen = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(seen != MAP_FAILED);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			private_mounts();
			for (size_t k = 0; k < 4; k++) {
				struct mount_attr attr = { .attr_clr = attributes[k] };
				char what[32];
				snprintf(what, sizeof(what), "clear %x", attributes[k]);
				try(seen, what, paths[i],
				    mount_setattr(AT_FDCWD, paths[i], 0, &attr, sizeof(attr)));
			}
			struct mount_attr attr = { .attr_set = MOUNT_ATTR_STRICTATIME,
				                   .attr_clr = MOUNT_ATTR__ATIME };
			try(seen, "access times", paths[i],
			    mount_setattr(AT_FDCWD, paths[i], 0, &attr, sizeof(attr)));
			try(seen, "unmount", paths[i], umount2(paths[i], MNT_DETACH));
			_exit(0);
		}
		subject_check_exit(pid, 0);
	}
	strcpy(text, seen);
	munmap(seen, 65536);
}

static char locks_before[1 << 14], locks_after[1 << 14];

static void check_locks(void)
{
	show_locks(locks_after);
	if (strcmp(locks_before, locks_after) != 0)
		FAIL("before:\n%safter:\n%s", locks_before, locks_after);
}

/* mounts of its own beside those that it came with */
static void mount_own(const char *options)
{
	struct stat st;

	CHECK(mount("own", "/srv", "tmpfs", 0, options) == 0);
	CHECK(mkdir("/srv/own", 0750) == 0);
	write_text("/srv/own/below", "covered");
	CHECK(chown("/srv/own/below", 12, 13) == 0);
	CHECK(mount("own", "/srv/own", "tmpfs", MS_NODEV, NULL) == 0);
	write_text("/srv/own/file", "text");
	CHECK(stat("/srv/own/file", &st) == 0 && st.st_uid == 0);
	CHECK(mount(NULL, "/srv/own", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV, NULL) ==
	      0);
}

static void check_own(void)
{
	struct stat st;

	CHECK(stat("/srv/own/file", &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
	CHECK(umount2("/srv/own", MNT_DETACH) == 0);
	CHECK(stat("/srv/own/below", &st) == 0 && st.st_uid == 12 && st.st_gid == 13 &&
	      st.st_size == 7);
	write_text("/srv/more", "a file is made");
	/* the file systems themselves are its own */
	CHECK(mount(NULL, "/srv", NULL, MS_REMOUNT, "size=1m") == 0);
}

static void locked_child(void)
{
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	mount_own("uid=7,gid=8,mode=0711");
	show_locks(locks_before);
	CHECK(umount2("/mnt", MNT_DETACH) < 0 && umount2("/opt", MNT_DETACH) < 0);
}

/* what was mounted by one who is outside stays mounted, and as it is */
static void locked(void)
{
	open_directory();
	private_mounts();
	CHECK(mount("outer", "/mnt", "tmpfs", MS_NOSUID, "mode=0755") == 0);
	CHECK(mkdir("/mnt/under", 0755) == 0);
	write_text("/mnt/under/secret", "not to be seen");
	CHECK(mount("cover", "/mnt/under", "tmpfs", MS_NOEXEC | MS_NODEV, "mode=0755") == 0);
	CHECK(mount("/usr", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/opt", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		locked_child();
		subject_mark("child");
		subject_wait_go();
		check_locks();
		CHECK(access("/mnt/under/secret", F_OK) < 0 &&
		      umount2("/mnt/under", MNT_DETACH) < 0);
		check_own();
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 0);
	CHECK(umount2("/mnt/under", MNT_DETACH) == 0 && access("/mnt/under/secret", F_OK) == 0);
}

/* mounts of what has been deleted, in a file system of the user's */
static void deleted_own(void)
{
	mount_tmpfs("/mnt", "mode=0755");
	CHECK(mkdir("/mnt/directory", 0711) == 0);
	CHECK(chown("/mnt/directory", 5, 6) == 0);
	write_text("/mnt/file", "deleted");
	write_text("/mnt/point", "below");
	bind_mount("/mnt/directory", "/opt");
	bind_mount("/mnt/file", "/mnt/point");
	CHECK(rmdir("/mnt/directory") == 0 && unlink("/mnt/file") == 0);
	subject_checkpoint();
	struct stat st;
	CHECK(stat("/opt", &st) == 0 && st.st_uid == 5 && st.st_gid == 6 && st.st_nlink == 0);
	CHECK((st.st_mode & 0777) == 0711);
	check_text("/mnt/point", "deleted");
}

static void check_deleted_locks(void)
{
	CHECK(umount2("/opt", MNT_DETACH) < 0 && errno == EINVAL);
	CHECK(umount2("/mnt/point", MNT_DETACH) < 0 && errno == EINVAL);
}

/* mounts of what has been deleted: those from outside stay locked, one's own are not */
static void deleted_locked(void)
{
	open_directory();
	private_mounts();
	mount_tmpfs("/mnt", "mode=0755");
	CHECK(mkdir("/mnt/directory", 0755) == 0);
	write_text("/mnt/file", "deleted");
	write_text("/mnt/point", "below");
	bind_mount("/mnt/directory", "/opt");
	bind_mount("/mnt/file", "/mnt/point");
	CHECK(rmdir("/mnt/directory") == 0 && unlink("/mnt/file") == 0);
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	mount_tmpfs("/srv", "mode=0755");
	CHECK(mkdir("/srv/gone", 0755) == 0);
	bind_mount("/srv/gone", "/media");
	CHECK(rmdir("/srv/gone") == 0);
	check_deleted_locks();
	subject_checkpoint();
	check_deleted_locks();
	CHECK(umount2("/media", 0) == 0);
}

/* of what is locked to a file system nobody sees what is below; all else is still there */
static void below_locked(void)
{
	open_directory();
	private_mounts();
	mount_tmpfs("/mnt", "mode=0755");
	CHECK(mkdir("/mnt/under", 0700) == 0 && mkdir("/mnt/under/deep", 0711) == 0 &&
	      mkdir("/mnt/free", 0755) == 0 && mkdir("/mnt/zoo", 0755) == 0);
	write_text("/mnt/under/secret", "not to be seen");
	write_text("/mnt/under/deep/file", "seen elsewhere");
	write_text("/mnt/point", "not to be seen");
	write_text("/mnt/free/file", "below what is free");
	write_text("/mnt/zoo/file", "last");
	bind_mount("/mnt/under/deep", "/opt");
	bind_mount("/mnt/zoo", "/media");
	mount_tmpfs("/mnt/under", "mode=0755");
	bind_mount("/dev/null", "/mnt/point");
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount("cover", "/mnt/free", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
	CHECK(umount2("/mnt/under", MNT_DETACH) < 0 && umount2("/mnt/point", MNT_DETACH) < 0);
	CHECK(umount2("/mnt/free", MNT_DETACH) == 0);
	CHECK(access("/mnt/free/file", F_OK) == 0 && access("/opt/file", F_OK) == 0);
	CHECK(access("/mnt/zoo/file", F_OK) == 0 && access("/media/file", F_OK) == 0);
}

/* but who has been there since before */
static void directory_below_locked(void)
{
	int told[2];

	open_directory();
	CHECK(pipe(told) == 0);
	if (fork() == 0) {
		private_mounts();
		mount_tmpfs("/mnt", "mode=0755");
		CHECK(mkdir("/mnt/under", 0755) == 0);
		CHECK(chdir("/mnt/under") == 0);
		mount_tmpfs("/mnt/under", "mode=0755");
		CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write(told[1], "", 1) == 1);
		pause();
	}
	CHECK(read(told[0], (char[]){ 0 }, 1) == 1);
	subject_checkpoint();
}

/* what each has deleted is made again, and deleted, under its own ids */
static void sibling(const char *name, const char *map)
{
	struct stat st;

	if (fork() != 0) {
		subject_wait(name);
		return;
	}
	enter_user_ns(map, map);
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount("own", "/srv", "tmpfs", 0, "mode=0755") == 0);
	CHECK(mkdir("/srv/gone", 0755) == 0 && mkdir("/srv/gone/too", 0711) == 0);
	bind_mount("/srv/gone/too", "/media");
	CHECK(rmdir("/srv/gone/too") == 0 && rmdir("/srv/gone") == 0);
	subject_mark(name);
	subject_wait_go();
	CHECK(stat("/media", &st) == 0 && st.st_uid == 0 && st.st_nlink == 0);
	_exit(0);
}

static void siblings(void)
{
	open_directory();
	private_mounts();
	sibling("first", "0 100000 5000\n5000 0 1");
	sibling("second", "0 200000 5000\n5000 0 1");
	subject_checkpoint();
	for (int i = 0, status; i < 2; i++)
		CHECK(wait(&status) > 0 && status == 0);
}

/* what others have mounted, bound and set read-only: it is locked, but not its attributes; and what
 * is covered with what nobody has locked */
static void bound(void)
{
	struct statvfs fs;

	open_directory();
	private_mounts();
	bind_mount("/usr", "/mnt");
	bind_mount("/etc", "/mnt/share");
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount("/mnt", "/opt", NULL, MS_BIND | MS_REC, NULL) == 0);
	CHECK(mount(NULL, "/opt/share", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
	CHECK(mount("own", "/srv", "tmpfs", 0, "mode=0755") == 0);
	write_text("/srv/file", "below");
	CHECK(mount("cover", "/srv", "tmpfs", 0, "mode=0755") == 0);
	subject_checkpoint();
	CHECK(statvfs("/opt/share", &fs) == 0 && fs.f_flag & ST_RDONLY);
	CHECK(umount2("/opt/share", MNT_DETACH) < 0 && errno == EINVAL);
	CHECK(mount(NULL, "/opt/share", NULL, MS_REMOUNT | MS_BIND, NULL) == 0);
	CHECK(umount2("/srv", MNT_DETACH) == 0 && access("/srv/file", F_OK) == 0);
	CHECK(umount2("/srv", MNT_DETACH) == 0 && umount2("/opt", MNT_DETACH) == 0);
}

static void own_mounts(void)
{
	mount_own("mode=0755,uid=7,gid=8");
	CHECK(mount("queues", "/opt", "mqueue", 0, NULL) == 0);
	show_locks(locks_before);
	round_trip();
	check_locks();
	check_own();
}

/*
 * As systemd-nspawn leaves it: the root is stacked on the host's, a mount is below one that covers
 * its place, and all of that is locked, but shared.
 */
static void moved_root(void)
{
	struct stat was, is;
	char directory[256];

	CHECK(getcwd(directory, sizeof(directory)));
	open_directory();
	private_mounts();
	CHECK(mount("/", "/mnt", NULL, MS_BIND | MS_REC, NULL) == 0 && chdir("/mnt") == 0);
	CHECK(mount("/mnt", "/", NULL, MS_MOVE, NULL) == 0 && chroot(".") == 0);
	CHECK(chdir(directory) == 0);
	CHECK(mount("outer", "/srv", "tmpfs", 0, "mode=0755") == 0);
	CHECK(mkdir("/srv/a", 0755) == 0 && mkdir("/srv/a/b", 0755) == 0);
	bind_mount("/usr", "/srv/a/b");
	bind_mount("/srv/a", "/srv/a");
	CHECK(stat("/opt", &was) == 0);
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
	subject_checkpoint();
	CHECK(stat("/opt", &is) == 0 && is.st_ino == was.st_ino);
	CHECK(umount2("/srv/a", MNT_DETACH) < 0 && errno == EINVAL);
	CHECK(umount2("/", MNT_DETACH) < 0 && errno == EINVAL);
	CHECK(access("/srv/a/b", F_OK) == 0 && access("/srv/a/b/bin", F_OK) < 0);
}

/* covered, and what is on it is locked: the host has it, too */
static void named(void)
{
	struct statx sx;

	CHECK(statx(AT_FDCWD, "/dev", 0, STATX_MNT_ID, &sx) == 0);
	subject_options("checkpoint", "--external mount:[%llu]=devices",
	                (unsigned long long)sx.stx_mnt_id);
	CHECK(mount("own", "/dev", "tmpfs", 0, "mode=0755") == 0);
	round_trip();
	CHECK(access("/dev/null", F_OK) < 0 && umount2("/dev", MNT_DETACH) == 0);
	CHECK(access("/dev/null", F_OK) == 0 && umount2("/dev", MNT_DETACH) < 0);
}

/* a root of its own, from which nothing leads to the host's */
static void pivoted(void)
{
	static const char *const binds[] = { "bin", "lib", "lib64", "usr", "etc" };
	char from[32], to[64], directory[256], program[256] = "";

	CHECK(getcwd(directory, sizeof(directory)));
	CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("root", "/srv", "tmpfs", 0, "mode=0755") == 0);
	for (size_t i = 0; i < sizeof(binds) / sizeof(binds[0]); i++) {
		snprintf(from, sizeof(from), "/%s", binds[i]);
		snprintf(to, sizeof(to), "/srv/%s", binds[i]);
		CHECK(mkdir(to, 0755) == 0 && mount(from, to, NULL, MS_BIND, NULL) == 0);
	}
	CHECK(mkdir("/srv/proc", 0755) == 0 && mount("proc", "/srv/proc", "proc", 0, NULL) == 0);
	CHECK(mkdir("/srv/test", 0755) == 0 &&
	      mount(directory, "/srv/test", NULL, MS_BIND, NULL) == 0);
	write_text("/srv/subject", "");
	CHECK(mount(program, "/srv/subject", NULL, MS_BIND, NULL) == 0);
	CHECK(mkdir("/srv/mnt", 0755) == 0 && mkdir("/srv/srv", 0755) == 0 &&
	      mkdir("/srv/opt", 0755) == 0);
	CHECK(chdir("/srv") == 0 && syscall(SYS_pivot_root, ".", ".") == 0 &&
	      umount2(".", MNT_DETACH) == 0);
	CHECK(chdir("/test") == 0);
	/* all that is open must be inside, too */
	int out = open("output", O_WRONLY | O_APPEND | O_CLOEXEC);
	CHECK(out >= 0 && dup2(out, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2);
	execl("/subject", "subject", "inside", NULL);
	CHECK(false);
}

/* what is made by somebody, who must have a name where it is made */
static int deleted, fifo, directory_fd, ends[2];
static mqd_t queue;

static void make_belongings(void)
{
	CHECK(mkdir("/srv/gone", 0700) == 0 && mkfifo("/srv/fifo", 0600) == 0);
	deleted = open("/srv/deleted", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fifo = open("/srv/fifo", O_RDWR | O_CLOEXEC);
	directory_fd = open("/srv/gone", O_RDONLY | O_CLOEXEC);
	CHECK(deleted >= 0 && fifo >= 0 && directory_fd >= 0);
	CHECK(write(deleted, "contents", 8) == 8 && write(fifo, "waits", 5) == 5);
	CHECK(fchown(deleted, 21, 22) == 0 && fchown(fifo, 23, 24) == 0);
	CHECK(unlink("/srv/deleted") == 0 && unlink("/srv/fifo") == 0 && rmdir("/srv/gone") == 0);
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	CHECK(syscall(SYS_setresuid, 31, 32, 0) == 0);
	CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
	CHECK(syscall(SYS_setresuid, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 16 };
	queue = mq_open("/queue", O_RDWR | O_CREAT | O_CLOEXEC, 0600, &attr);
	CHECK(queue >= 0 && mq_send(queue, "message", 7, 3) == 0);
}

static void check_belongings(void)
{
	char text[16];
	uid_t uids[2];
	struct stat st;

	CHECK(pread(deleted, text, 8, 0) == 8 && !memcmp(text, "contents", 8));
	CHECK(fstat(deleted, &st) == 0 && st.st_uid == 21 && st.st_gid == 22 && st.st_nlink == 0);
	CHECK(read(fifo, text, 5) == 5 && !memcmp(text, "waits", 5));
	CHECK(fstat(fifo, &st) == 0 && st.st_uid == 23 && st.st_gid == 24);
	CHECK(fstat(directory_fd, &st) == 0 && st.st_uid == 0 && st.st_nlink == 0);
	CHECK(fcntl(ends[0], F_GETOWNER_UIDS, uids) == 0);
	CHECK_EQ(uids[0], 31);
	CHECK_EQ(uids[1], 32);
	CHECK(mq_receive(queue, text, 16, NULL) == 7 && !memcmp(text, "message", 7));
	CHECK(fstat((int)queue, &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
	CHECK(mq_unlink("/queue") == 0);
}

static void inside(void)
{
	make_belongings();
	mount_own("mode=0755");
	show_locks(locks_before);
	round_trip();
	check_locks();
	check_own();
	check_belongings();
	CHECK(mkdir("/more", 0700) == 0);
}

static void below_with_mounts(void)
{
	enter_user_ns("0 0 1000", "0 0 1000");
	CHECK(unshare(CLONE_NEWNS) == 0);
	mount_own("mode=0755");
	show_locks(locks_before);
}

/* what is the parent's own is locked in the child's */
static void nested_mounts(void)
{
	CHECK(mount("outer", "/mnt", "tmpfs", 0, "mode=0755") == 0 &&
	      mkdir("/mnt/under", 0755) == 0);
	write_text("/mnt/file", "outer");
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		below_with_mounts();
		subject_mark("child");
		subject_wait_go();
		check_locks();
		CHECK(umount2("/mnt", MNT_DETACH) < 0 && access("/mnt/file", R_OK) == 0);
		_exit(0);
	}
	subject_wait("child");
	show_locks(locks_before);
	subject_checkpoint();
	check_locks();
	CHECK(mount(NULL, "/mnt", NULL, MS_REMOUNT, "size=1m") == 0);
	subject_check_exit(pid, 0);
}

/* into a user and a mount namespace below, as its root */
static void go_below(const char *map)
{
	CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
	map_self(map, map);
}

/* nobody is left in the one whose file system it is */
static void owner_between(void)
{
	go_below("1 0 1");
	CHECK(mount("between", "/mnt", "tmpfs", 0, NULL) == 0);
	go_below("0 1 1");
	subject_checkpoint();
}

/* one of its own, since Linux 6.7; see kinds/mount_kinds:kernel-own for the first one */
static void binfmt(void)
{
	struct stat own, other;

	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	if (mount("none", "/opt", "binfmt_misc", 0, NULL) < 0 || stat("/opt", &other) < 0)
		SKIP("no binfmt_misc here\n");
	go_below("0 0 1");
	if (mount("none", "/mnt", "binfmt_misc", 0, NULL) < 0)
		SKIP("no binfmt_misc in user namespaces\n");
	CHECK(stat("/mnt", &own) == 0 && own.st_dev != other.st_dev);
	subject_checkpoint();
}

static void check_overlay(void)
{
	check_text("/srv/below", "below");
	check_text("/srv/changed", "anew");
	CHECK(access("/srv/gone", F_OK) < 0);
	write_text("/srv/later", "later");
	/* only who has rights over the file system itself may do that */
	CHECK(umount2("/srv", MNT_FORCE) == 0);
}

static void make_overlay(const char *options)
{
	write_text("/mnt/a/below", "below");
	write_text("/mnt/a/changed", "as it was");
	write_text("/mnt/a/gone", "gone");
	CHECK(mount("o", "/srv", "overlay", 0, options) == 0);
	write_text("/srv/changed", "anew");
	CHECK(unlink("/srv/gone") == 0);
}

static void make_layers(void)
{
	CHECK(mount("layers", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/a", 0755) == 0 && mkdir("/mnt/b", 0755) == 0 &&
	      mkdir("/mnt/c", 0755) == 0);
}

static void overlay(void)
{
	go_below("0 0 1");
	make_layers();
	make_overlay("lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c,userxattr");
	subject_checkpoint();
	check_overlay();
	check_text("/mnt/b/changed", "anew");
	check_text("/mnt/b/later", "later");
}

/* one layer is of a file system that is not the user namespace's */
static void overlay_of_host(void)
{
	char options[PATH_MAX + 100], *here = getcwd(NULL, 0);

	CHECK(here && mkdir("lower", 0755) == 0);
	write_text("lower/under", "under");
	snprintf(options, sizeof(options),
	         "lowerdir=/mnt/a:%s/lower,upperdir=/mnt/b,workdir=/mnt/c,userxattr", here);
	go_below("0 0 1");
	make_layers();
	make_overlay(options);
	subject_checkpoint();
	check_text("/srv/under", "under");
	check_overlay();
}

/* it is not the user namespace's, what is on it is locked, and its layers are nowhere */
static void overlay_below_locked(void)
{
	open_directory();
	private_mounts();
	make_layers();
	CHECK(mkdir("/mnt/a/under", 0755) == 0);
	write_text("/mnt/a/under/secret", "not to be seen");
	make_overlay("lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c");
	mount_tmpfs("/srv/under", NULL);
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	subject_checkpoint();
	check_text("/srv/below", "below");
	check_text("/srv/changed", "anew");
	CHECK(umount2("/srv/under", MNT_DETACH) < 0 && access("/srv/under/secret", F_OK) < 0);
}

/* nobody sees the layers any more */
static void overlay_hidden(void)
{
	go_below("0 0 1");
	make_layers();
	make_overlay("lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c,userxattr");
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
	subject_checkpoint();
	check_overlay();
}

/* nobody sees whether what is below is shared with others */
static void covered(void)
{
	go_below("0 0 1");
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
	CHECK(mount("cover", "/", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
}

/* on /mnt two, the lower one of which is the working directory */
static void stack(unsigned propagation)
{
	private_mounts();
	bind_mount("/usr", "/mnt");
	CHECK(chdir("/mnt") == 0 && mount(NULL, "/mnt", NULL, propagation, NULL) == 0);
	CHECK(mount("upper", "/mnt", "tmpfs", 0, "mode=0755") == 0);
}

static void copy_below(void)
{
	enter_user_ns("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
	become(0);
	CHECK(unshare(CLONE_NEWNS) == 0);
}

static void covered_attributes(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW };
	char cwd[4096];

	CHECK(getcwd(cwd, sizeof(cwd)));
	open_directory();
	stack(MS_PRIVATE);
	copy_below();
	CHECK(mount_setattr(AT_FDCWD, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0);
	CHECK(chdir(cwd) == 0);
	subject_checkpoint();
}

static void covered_unbindable(void)
{
	struct mount_attr attr = { .propagation = MS_UNBINDABLE };
	char cwd[4096];

	CHECK(getcwd(cwd, sizeof(cwd)));
	open_directory();
	stack(MS_PRIVATE);
	copy_below();
	CHECK(mount_setattr(AT_FDCWD, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0);
	CHECK(chdir(cwd) == 0);
	subject_checkpoint();
}

/* the one that it receives from is that of a process in the namespace above */
static void covered_slave(void)
{
	char cwd[4096];

	CHECK(getcwd(cwd, sizeof(cwd)));
	open_directory();
	stack(MS_SHARED);
	CHECK(chdir(cwd) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		copy_below();
		subject_mark("child");
		subject_wait_go();
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

static char began[256];

/* trees of its own, each with something locked on its root, which no path leads to */
static void two_stacks(void)
{
	CHECK(getcwd(began, sizeof(began)));
	open_directory();
	private_mounts();
	bind_mount("/usr", "/mnt");
	CHECK(chdir("/mnt") == 0);
	bind_mount("/etc", "/mnt");
	copy_below();
	CHECK(mount("own", "/media", "tmpfs", 0, NULL) == 0 && mkdir("/media/a", 0755) == 0 &&
	      mkdir("/media/b", 0755) == 0);
	CHECK(mount(".", "/media/a", NULL, MS_BIND | MS_REC, NULL) == 0);
	CHECK(mount(".", "/media/b", NULL, MS_BIND | MS_REC, NULL) == 0 && chdir(began) == 0);
	subject_checkpoint();
	CHECK(access("/media/a/passwd", F_OK) == 0 && access("/media/b/passwd", F_OK) == 0);
	CHECK(umount2("/media/a", MNT_DETACH) < 0 && errno == EINVAL);
}

/* two mounts below another one, where nobody gets to them when all of it is locked */
static void shut(void)
{
	CHECK(getcwd(began, sizeof(began)));
	open_directory();
	private_mounts();
	mount_tmpfs("/srv", NULL);
	CHECK(mkdir("/srv/a", 0755) == 0 && mkdir("/srv/a/b", 0755) == 0 &&
	      mkdir("/srv/a/c", 0755) == 0);
	bind_mount("/usr", "/srv/a/b");
	bind_mount("/usr", "/srv/a/c");
}

/* who was on one of the two already still can share it */
static void covered_partly_shared(void)
{
	shut();
	CHECK(chdir("/srv/a/b") == 0);
	bind_mount("/srv/a", "/srv/a");
	copy_below();
	CHECK(mount(NULL, ".", NULL, MS_SHARED, NULL) == 0 && chdir(began) == 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(locked), CASE(siblings), CASE(below_locked),
	                     CASE(directory_below_locked), CASE(bound), CASE(moved_root),
	                     CASE(named), CASE(own_mounts), CASE(pivoted), CASE(inside),
	                     CASE(nested_mounts), CASE(owner_between), CASE(binfmt), CASE(overlay),
	                     CASE(overlay_of_host), CASE(overlay_hidden),
	                     CASE(overlay_below_locked), CASE(covered), CASE(covered_unbindable),
	                     CASE(covered_attributes), CASE(covered_slave),
	                     CASE(covered_partly_shared), CASE(two_stacks), CASE(deleted_locked),
	                     CASE(deleted_own));
}
