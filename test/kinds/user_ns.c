/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces: maps, ids, capabilities, owners, nested ones.
 *
 * TEST root round-trip -- root
 * TEST ranges round-trip -- ranges
 * TEST many-ranges round-trip -- many
 * TEST no-maps round-trip -- no_maps
 * TEST setgroups-denied round-trip -- denied
 * TEST owner round-trip -- owner
 * TEST ids round-trip -- ids
 * TEST ids-without-name round-trip -- unnamed
 * TEST capabilities round-trip -- capabilities
 * TEST securebits round-trip -- securebits
 * TEST child round-trip -- child
 * TEST shared round-trip -- shared
 * TEST nested round-trip -- nested
 * TEST empty-between round-trip -- between
 * TEST container round-trip start="$TOP/test/tools/in_user_ns pui 0,100000,5000 0,200000,5000" -- container
 * TEST container-of-root round-trip start="$TOP/test/tools/in_user_ns pui 0,0,1:1,100000,5000 0,0,1:1,200000,5000" -- container
 * TEST container-nice round-trip under="nice -n 3" start="$TOP/test/tools/in_user_ns pui 0,100000,5000 0,200000,5000" -- container
 * TEST container-threads round-trip start="$TOP/test/tools/in_user_ns pui 0,100000,5000 0,200000,5000" -- threads
 * The device numbers of new file systems are others:
 * TEST mounts-locked round-trip restart="--mntns new" -- locked
 * TEST mounts-of-container round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- own_mounts
 * TEST mounts-pivoted round-trip start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- pivoted
 * TEST overlay refuse code=mount.owner -- overlay
 * TEST root-covered refuse code=mount.lock-shape needs=statmount_ns -- covered
 * TEST root-without-name round-trip start="$TOP/test/tools/in_user_ns pk 0,100000,5000 0,200000,5000" -- root_unnamed
 * TEST child-without-name refuse code=user_ns.ids start="$TOP/test/tools/in_user_ns pka 0,100000,5000 0,200000,5000" -- child_unnamed
 * TEST owner-above refuse code=user_ns.shape start="unshare -u $TOP/test/tools/in_user_ns p 0,100000,5000 0,200000,5000" -- plain
 * TEST threads round-trip -- threads_alone
 * TEST threads-with-children round-trip -- threads_children
 * TEST threads-above refuse code=user_ns.shape -- threads_above
 * TEST views round-trip start="$TOP/test/tools/in_user_ns pCT 0,100000,5000 0,200000,5000" needs=statmount_ns -- views
 * TEST mounts-nested round-trip start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" checkpoint=--subtree -- nested_mounts
 * TEST owner-between refuse code=mount.owner -- owner_between
 * TEST leak refuse code=leak -- leak
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <linux/nsfs.h>

#include "cases.h"
#include "mounts.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

static void write_file(pid_t pid, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *read_file(const char *name)
{
	static _Thread_local char text[1 << 14]; /* threads look at the same time */
	char path[64];
	size_t n = 0;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	while ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	close(fd);
	return text;
}

/* into a new one, whose maps one who stays behind writes; NULL: not at all */
static void enter(const char *users, const char *groups)
{
	int pair[2][2];
	pid_t self = getpid();
	char byte;

	CHECK(pipe2(pair[0], O_CLOEXEC) == 0 && pipe2(pair[1], O_CLOEXEC) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(read(pair[0][0], &byte, 1) == 1);
		if (users)
			write_file(self, "uid_map", users);
		if (groups)
			write_file(self, "gid_map", groups);
		_exit(0);
	}
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	CHECK(write(pair[0][1], "", 1) == 1);
	subject_check_exit(pid, 0);
	for (int i = 0; i < 4; i++)
		close(pair[i / 2][i % 2]);
}

/* who made the namespace that this process is in, as the initial one has it; seen from there */
static void show(char text[1 << 15])
{
	static const char *const files[] = { "uid_map", "gid_map", "projid_map", "setgroups" };
	static const char *const keys[] = { "Uid:",    "Gid:",    "Groups:", "CapInh:",
		                            "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:" };
	char line[4096];

	*text = 0;
	for (size_t i = 0; i < 4; i++)
		strcat(strcat(text, files[i]), read_file(files[i]));
	FILE *f = fopen("/proc/thread-self/status", "re");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (!strncmp(line, keys[i], strlen(keys[i])))
				strcat(text, line);
	fclose(f);
	snprintf(text + strlen(text), 64, "securebits %x\n", prctl(PR_GET_SECUREBITS));
}

static void open_directory(void)
{
	CHECK(chmod(".", 0777) == 0);
}

static char before[1 << 15], after[1 << 15];

static void check_same(void)
{
	show(after);
	if (strcmp(before, after) != 0)
		FAIL("before:\n%safter:\n%s", before, after);
}

static void round_trip(void)
{
	show(before);
	prctl(PR_SET_DUMPABLE, 1);
	subject_checkpoint();
	check_same();
}

static void root(void)
{
	enter("0 0 1", "0 0 1");
	round_trip();
	CHECK(syscall(SYS_setuid, 1) < 0); /* which has no name here */
}

static void ranges(void)
{
	enter("0 0 1\n1 100000 1000\n5000 7 1", "0 0 1\n10 200000 50");
	write_file(getpid(), "projid_map", "5 9 100");
	round_trip();
	CHECK(syscall(SYS_setresgid, 59, 59, 59) == 0);
	CHECK(syscall(SYS_setresuid, 5000, 5000, 5000) == 0);
}

/* as many as there can be */
static void many(void)
{
	static char text[340 * 40];

	for (unsigned i = 0; i < 340; i++) /* a page of text is the other limit */
		snprintf(text + strlen(text), 40, "%u %u 1\n", i * 2, i * 2);
	enter(text, text);
	round_trip();
}

/* nobody has a name in it, and every capability is there */
static void no_maps(void)
{
	open_directory();
	enter(NULL, NULL);
	round_trip();
	CHECK_EQ(getuid(), 65534);
}

static void denied(void)
{
	open_directory();
	CHECK(setgroups(2, (gid_t[]){ 5, 100 }) == 0);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	write_file(getpid(), "setgroups", "deny");
	write_file(getpid(), "uid_map", "0 0 1");
	write_file(getpid(), "gid_map", "0 0 1");
	round_trip();
	CHECK(setgroups(0, NULL) < 0);
}

static void become(uid_t id)
{
	CHECK(syscall(SYS_setgroups, 0, NULL) == 0);
	CHECK(syscall(SYS_setresgid, id, id, id) == 0);
	CHECK(syscall(SYS_setresuid, id, id, id) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

/* asked by one outside, for inside there is only one's own name */
static uid_t owner_of(pid_t pid)
{
	char path[64];
	uid_t uid;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && ioctl(fd, NS_GET_OWNER_UID, &uid) == 0);
	close(fd);
	return uid;
}

/* runs @fn in a child that is set up when this returns */
static pid_t start(const char *name, void (*fn)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		fn();
		show(before);
		prctl(PR_SET_DUMPABLE, 1);
		subject_mark(name);
		subject_wait_go();
		check_same();
		_exit(0);
	}
	subject_wait(name);
	return pid;
}

static void as_user(void)
{
	become(1000);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	write_file(getpid(), "setgroups", "deny");
	write_file(getpid(), "uid_map", "0 1000 1");
	write_file(getpid(), "gid_map", "33 1000 1");
}

static void owner(void)
{
	open_directory();
	pid_t pid = start("child", as_user);
	CHECK_EQ(owner_of(pid), 1000);
	subject_checkpoint();
	CHECK_EQ(owner_of(pid), 1000);
	subject_check_exit(pid, 0);
}

static void ids(void)
{
	open_directory();
	enter("0 100000 5000", "0 200000 5000");
	CHECK(setgroups(3, (gid_t[]){ 5, 100, 4999 }) == 0);
	CHECK(syscall(SYS_setresgid, 201, 202, 203) == 0);
	setfsgid(204);
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	CHECK(syscall(SYS_setresuid, 101, 102, 103) == 0);
	setfsuid(102);
	round_trip();
	CHECK_EQ(setfsuid(-1), 102);
	CHECK_EQ(setfsgid(-1), 204);
}

/* it came with ids and groups that have no name in there */
static void unnamed(void)
{
	open_directory();
	CHECK(setgroups(2, (gid_t[]){ 5, 100 }) == 0);
	CHECK(syscall(SYS_setresgid, 2001, 2002, 2003) == 0);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0);
	CHECK(syscall(SYS_setresuid, 1001, 0, 1003) == 0);
	enter("0 0 1", "7 2002 1");
	CHECK_EQ(getuid(), 65534);
	CHECK_EQ(getegid(), 7);
	round_trip();
}

static void drop(uint64_t inheritable, uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable }, { 0 }
	};

	CHECK(syscall(SYS_capset, &header, d) == 0);
}

static void capabilities(void)
{
	enter("0 0 1", "0 0 1");
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
	drop(1 << CAP_CHOWN | 1 << CAP_NET_RAW, 1 << CAP_NET_RAW | 1 << CAP_KILL, 1 << CAP_KILL);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	round_trip();
}

static void securebits(void)
{
	enter("0 0 1", "0 0 1");
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == 0);
	round_trip();
}

static void high_ids(void)
{
	enter("0 100000 1000", "0 100000 1000");
	become(3);
}

/* each in its own, the parent in ours */
static void child(void)
{
	open_directory();
	pid_t one = start("one", high_ids), two = start("two", as_user);
	round_trip();
	subject_check_exit(one, 0);
	subject_check_exit(two, 0);
}

static bool same_ns(pid_t a, pid_t b)
{
	char path[64];
	struct stat x, y;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)a);
	CHECK(stat(path, &x) == 0);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)b);
	CHECK(stat(path, &y) == 0);
	return x.st_ino == y.st_ino;
}

static void nothing(void)
{
}

/* parent and child in one */
static void shared(void)
{
	enter("0 0 2000", "0 0 2000");
	pid_t pid = start("child", nothing);
	round_trip();
	CHECK(same_ns(getpid(), pid));
	subject_check_exit(pid, 0);
}

static void below(void)
{
	become(50);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	write_file(getpid(), "setgroups", "deny");
	write_file(getpid(), "uid_map", "0 50 1");
	write_file(getpid(), "gid_map", "0 50 1");
}

/* the parent of the namespace that @pid is in is that of this process */
static bool is_above(pid_t pid)
{
	struct stat x, y;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC), up = ioctl(fd, NS_GET_PARENT);
	CHECK(fd >= 0 && up >= 0);
	CHECK(fstat(up, &x) == 0 && stat("/proc/self/ns/user", &y) == 0);
	close(fd);
	close(up);
	return x.st_ino == y.st_ino;
}

static void nested(void)
{
	open_directory();
	enter("0 100000 1000\n5000 0 1", "0 100000 1000\n5000 0 1");
	pid_t pid = start("child", below);
	CHECK(is_above(pid) && owner_of(pid) == 50);
	round_trip();
	CHECK(is_above(pid) && owner_of(pid) == 50);
	subject_check_exit(pid, 0);
}

static void two_deep(void)
{
	enter("0 100000 1000", "0 100000 1000");
	become(0);
	enter("0 10 100", "0 10 100");
	become(5);
}

/* no task is in the one between */
static void between(void)
{
	open_directory();
	pid_t pid = start("child", two_deep);
	round_trip();
	subject_check_exit(pid, 0);
}

static void check_name(const char *want)
{
	char name[65];

	CHECK(gethostname(name, sizeof(name)) == 0);
	CHECK(!strcmp(name, want));
}

static void other_ids(void)
{
	become(1234);
}

/* the namespaces are the container's root's: it may change them, and has ids exact */
static void container(void)
{
	CHECK_EQ(getpid(), 1);
	CHECK(sethostname("inner", 5) == 0);
	int sem = semget(77, 1, IPC_CREAT | 0600);
	CHECK(sem >= 0);
	CHECK(semctl(sem, 0, IPC_SET,
	             &(struct semid_ds){ .sem_perm = { .uid = 33, .gid = 44, .mode = 0640 } }) ==
	      0);
	pid_t pid = start("child", other_ids), dead = fork();
	siginfo_t info = { 0 };
	CHECK(dead >= 0);
	if (dead == 0) {
		become(77);
		_exit(3);
	}
	CHECK(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT) == 0);
	round_trip();
	CHECK(waitid(P_PID, (id_t)dead, &info, WEXITED) == 0 && info.si_status == 3);
	CHECK_EQ(info.si_uid, 77);
	check_name("inner");
	CHECK(sethostname("other", 5) == 0);
	struct semid_ds ds;
	CHECK(semctl(sem, 0, IPC_STAT, &ds) == 0);
	CHECK(ds.sem_perm.uid == 33 && ds.sem_perm.gid == 44 && ds.sem_perm.cuid == 0);
	write_file(getpid(), "../sys/kernel/shmmni", "100");
	write_file(getpid(), "../sys/kernel/ns_last_pid", "500");
	subject_check_exit(pid, 0);
}

static void *in_thread(void *arg)
{
	static char mine[1 << 15], later[1 << 15];

	subject_use_stack();
	CHECK(syscall(SYS_setresuid, 12, 13, 14) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	show(mine);
	subject_mark("thread");
	subject_wait_go();
	show(later);
	if (strcmp(mine, later) != 0)
		FAIL("thread: before:\n%safter:\n%s", mine, later);
	return arg;
}

static void threads(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, in_thread, NULL) == 0);
	subject_wait("thread");
	round_trip();
	CHECK(pthread_join(t, NULL) == 0);
}

/* ---- mount namespaces that belong to one ---- */

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
			CHECK(unshare(CLONE_NEWNS) == 0);
			CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
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
	enter("0 100000 5000\n5000 0 1", "0 100000 5000\n5000 0 1");
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

static void own_mounts(void)
{
	mount_own("mode=0755,uid=7,gid=8");
	CHECK(mount("queues", "/opt", "mqueue", 0, NULL) == 0);
	show_locks(locks_before);
	round_trip();
	check_locks();
	check_own();
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

/* into a user and a mount namespace below, as its root */
static void go_below(void)
{
	CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
	write_file(getpid(), "setgroups", "deny");
	write_file(getpid(), "uid_map", "0 0 1");
	write_file(getpid(), "gid_map", "0 0 1");
}

static void below_with_mounts(void)
{
	enter("0 0 1000", "0 0 1000");
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

/* nobody is left in the one whose file system it is */
static void owner_between(void)
{
	go_below();
	CHECK(mount("between", "/mnt", "tmpfs", 0, NULL) == 0);
	go_below();
	subject_checkpoint();
}

/* who may come back into one that he has left has rights over it */
static void come_back(const char *name, int type)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && setns(fd, type) == 0);
	close(fd);
}

/* cgroup and time namespaces */
static void views(void)
{
	come_back("cgroup", CLONE_NEWCGROUP);
	come_back("time", 0x80);
	round_trip();
	come_back("cgroup", CLONE_NEWCGROUP);
	come_back("time", 0x80);
}

static void plain(void)
{
	round_trip();
}

/* the init and a child of the same ids, which have no name in there */
static void root_unnamed(void)
{
	CHECK_EQ(getuid(), 65534);
	pid_t pid = start("child", nothing);
	round_trip();
	subject_check_exit(pid, 0);
}

/* the init has become somebody in the meantime: nobody could make a child like that */
static void child_unnamed(void)
{
	pid_t pid = start("child", nothing);

	become(0);
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

/* in a pid namespace that is not its own, where it may not choose pids */
static void threads_alone(void)
{
	open_directory();
	enter("0 0 2000", "0 0 2000");
	threads();
}

static void *parent_of_child(void *arg)
{
	pid_t pid = start("child", other_ids);

	subject_mark("thread");
	subject_wait_go();
	subject_check_exit(pid, 0);
	return arg;
}

static void threads_children(void)
{
	pthread_t t;

	open_directory();
	enter("0 0 2000", "0 0 2000");
	pid_t pid = start("one", other_ids);
	CHECK(pthread_create(&t, NULL, parent_of_child, NULL) == 0);
	subject_wait("thread");
	round_trip();
	CHECK(pthread_join(t, NULL) == 0);
	subject_check_exit(pid, 0);
}

/* a child that was made before */
static void threads_above(void)
{
	pthread_t t;

	open_directory();
	pid_t pid = start("child", nothing);
	enter("0 0 2000", "0 0 2000");
	CHECK(pthread_create(&t, NULL, in_thread, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
	subject_check_exit(pid, 0);
}

/* what is in it is not enough: the overlay itself is the user namespace's */
static void overlay(void)
{
	CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
	write_file(getpid(), "setgroups", "deny");
	write_file(getpid(), "uid_map", "0 0 1");
	write_file(getpid(), "gid_map", "0 0 1");
	CHECK(mount("layers", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/a", 0755) == 0 && mkdir("/mnt/b", 0755) == 0 &&
	      mkdir("/mnt/c", 0755) == 0);
	CHECK(mount("o", "/srv", "overlay", 0,
	            "lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c,userxattr") == 0);
	subject_checkpoint();
}

/* nobody sees whether what is below is shared with others */
static void covered(void)
{
	CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
	write_file(getpid(), "setgroups", "deny");
	write_file(getpid(), "uid_map", "0 0 1");
	write_file(getpid(), "gid_map", "0 0 1");
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
	CHECK(mount("cover", "/", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
}

static void leak(void)
{
	open_directory();
	enter("0 0 1", "0 0 1");
	subject_leave_outside();
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	static const struct subject_case cases[] = {
		{ "root", root },
		{ "ranges", ranges },
		{ "many", many },
		{ "no_maps", no_maps },
		{ "denied", denied },
		{ "owner", owner },
		{ "ids", ids },
		{ "unnamed", unnamed },
		{ "capabilities", capabilities },
		{ "securebits", securebits },
		{ "child", child },
		{ "shared", shared },
		{ "nested", nested },
		{ "between", between },
		{ "container", container },
		{ "threads", threads },
		{ "locked", locked },
		{ "own_mounts", own_mounts },
		{ "pivoted", pivoted },
		{ "inside", inside },
		{ "threads_alone", threads_alone },
		{ "threads_children", threads_children },
		{ "threads_above", threads_above },
		{ "nested_mounts", nested_mounts },
		{ "owner_between", owner_between },
		{ "views", views },
		{ "plain", plain },
		{ "root_unnamed", root_unnamed },
		{ "child_unnamed", child_unnamed },
		{ "overlay", overlay },
		{ "covered", covered },
		{ "leak", leak },
	};

	return SUBJECT_CASES(cases, argc, argv);
}
