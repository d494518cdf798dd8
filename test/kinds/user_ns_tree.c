/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces of several tasks: owners, namespaces in namespaces, containers, threads.
 *
 * TEST owner round-trip -- owner
 * TEST child round-trip -- child
 * TEST shared round-trip -- shared
 * TEST nested round-trip -- nested
 * TEST empty-between round-trip -- between
 * TEST five-deep round-trip -- five_deep
 * TEST container round-trip start="$TOP/test/tools/in_user_ns pui 0,100000,5000 0,200000,5000" -- container
 * TEST container-of-root round-trip start="$TOP/test/tools/in_user_ns pui 0,0,1:1,100000,5000 0,0,1:1,200000,5000" -- container
 * TEST container-nice round-trip under="nice -n 3" start="$TOP/test/tools/in_user_ns pui 0,100000,5000 0,200000,5000" -- container
 * TEST container-left round-trip start="$TOP/test/tools/in_user_ns pui 0,0,5000 0,0,5000" -- left
 * TEST container-threads round-trip start="$TOP/test/tools/in_user_ns pui 0,100000,5000 0,200000,5000" -- threads
 * TEST root-without-name round-trip start="$TOP/test/tools/in_user_ns pk 0,100000,5000 0,200000,5000" -- root_unnamed
 * TEST child-without-name refuse code=user_ns.ids start="$TOP/test/tools/in_user_ns pka 0,100000,5000 0,200000,5000" -- child_unnamed
 * TEST owner-above refuse code=user_ns.shape start="unshare -u $TOP/test/tools/in_user_ns p 0,100000,5000 0,200000,5000" -- plain
 * TEST threads round-trip -- threads_alone
 * TEST threads-with-children round-trip -- threads_children
 * TEST threads-above refuse code=user_ns.shape -- threads_above
 * TEST views round-trip start="$TOP/test/tools/in_user_ns pCT 0,100000,5000 0,200000,5000" needs=statmount_ns -- views
 */
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/sem.h>

#include "user_ns.h"

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

static void as_user(void)
{
	become(1000);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	map_self("0 1000 1", "33 1000 1");
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

static void high_ids(void)
{
	enter_user_ns("0 100000 1000", "0 100000 1000");
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

/* parent and child in one */
static void shared(void)
{
	enter_user_ns("0 0 2000", "0 0 2000");
	pid_t pid = start("child", nothing);
	round_trip();
	CHECK(same_ns(getpid(), pid));
	subject_check_exit(pid, 0);
}

static void below(void)
{
	become(50);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	map_self("0 50 1", "0 50 1");
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
	enter_user_ns("0 100000 1000\n5000 0 1", "0 100000 1000\n5000 0 1");
	pid_t pid = start("child", below);
	CHECK(is_above(pid) && owner_of(pid) == 50);
	round_trip();
	CHECK(is_above(pid) && owner_of(pid) == 50);
	subject_check_exit(pid, 0);
}

static void two_deep(void)
{
	enter_user_ns("0 100000 1000", "0 100000 1000");
	become(0);
	enter_user_ns("0 10 100", "0 10 100");
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

/* maps with gaps, which name only some of those above */
static void levels(size_t n)
{
	static const char *const maps[] = { "0 100000 60000", "0 0 1\n10 100 50000",
		                            "5 20 10000\n0 10 2", "0 0 1\n1000 6 3000",
		                            "0 1000 10\n70000 0 1" };

	for (size_t i = 0; i < n; i++) {
		enter_user_ns(maps[i], maps[i]);
		become(0);
	}
}

static void level_one(void)
{
	levels(1);
}

static void level_three(void)
{
	levels(3);
	become(5);
}

/* ids, inheritable and ambient capabilities of its own; it owns namespaces */
static void level_five(void)
{
	const struct __user_cap_data_struct caps[2] = { { 1 << CAP_KILL,
		                                          1 << CAP_NET_RAW | 1 << CAP_KILL,
		                                          1 << CAP_NET_RAW | 1 << CAP_KILL } };

	levels(5);
	CHECK(unshare(CLONE_NEWUTS | CLONE_NEWIPC) == 0 && sethostname("deep", 4) == 0);
	CHECK(semget(7, 1, IPC_CREAT | 0600) >= 0);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0);
	CHECK(syscall(SYS_setgroups, 2, (gid_t[]){ 9, 70000 }) == 0);
	CHECK(syscall(SYS_setresgid, 3, 70000, 4) == 0);
	CHECK(syscall(SYS_setresuid, 1, 2, 70000) == 0);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0);
	CHECK(syscall(SYS_capset,
	              &(struct __user_cap_header_struct){ _LINUX_CAPABILITY_VERSION_3, 0 },
	              caps) == 0);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void five_deep(void)
{
	open_directory();
	pid_t one = start("one", level_one), three = start("three", level_three),
	      five = start("five", level_five);
	round_trip();
	subject_check_exit(one, 0);
	subject_check_exit(three, 0);
	subject_check_exit(five, 0);
}

/* nobody is in the one that the container's namespaces belong to, in which all ids are as outside
 */
static void left(void)
{
	CHECK_EQ(getpid(), 1);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	round_trip();
	CHECK(sethostname("mine", 4) < 0);
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
	write_proc(getpid(), "../sys/kernel/shmmni", "100");
	write_proc(getpid(), "../sys/kernel/ns_last_pid", "500");
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
	enter_user_ns("0 0 2000", "0 0 2000");
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
	enter_user_ns("0 0 2000", "0 0 2000");
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
	enter_user_ns("0 0 2000", "0 0 2000");
	CHECK(pthread_create(&t, NULL, in_thread, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
	subject_check_exit(pid, 0);
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

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(owner), CASE(child), CASE(shared), CASE(nested),
	                     CASE(between), CASE(five_deep), CASE(container), CASE(left),
	                     CASE(threads), CASE(plain), CASE(root_unnamed), CASE(child_unnamed),
	                     CASE(threads_alone), CASE(threads_children), CASE(threads_above),
	                     CASE(views));
}
