/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces by descriptors and bind mounts: cases 48 to 50 of the design.
 *
 * TEST own round-trip -- own
 * TEST of-the-set round-trip start=container -- of_set
 * TEST path-only round-trip -- path_only
 * TEST uts-by-descriptor round-trip -- uts_descriptor
 * TEST ipc-by-descriptor round-trip -- ipc_descriptor
 * TEST user-by-descriptor round-trip -- user_descriptor
 * TEST mnt-by-descriptor round-trip restart="--mntns new" -- mnt_descriptor
 * TEST net-external round-trip -- net_external
 * TEST bound round-trip restart="--mntns new" -- bound
 * TEST bound-and-open round-trip restart="--mntns new" -- bound_open
 * TEST bound-only round-trip restart="--mntns new" -- bound_only
 * TEST bound-mnt round-trip restart="--mntns new" -- bound_mnt
 * TEST bound-mnt-chain round-trip restart="--mntns new" -- bound_chain
 * TEST bound-mnt-user round-trip start="taskset -c 0 $TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" checkpoint=--subtree -- bound_alone
 * TEST bound-mnt-of-root round-trip restart="--mntns new" -- bound_of_root
 * TEST bound-shared round-trip restart="--mntns new" -- bound_shared
 * TEST bound-pid round-trip start=container -- bound_pid
 * TEST outside-of-container refuse code=namespace.reference start="unshare -pf unshare -u" -- outside
 * TEST used-outside refuse code=leak -- used_outside
 * TEST time-by-descriptor round-trip -- time_descriptor
 * TEST time-by-descriptor-user round-trip needs=statmount_ns start="$TOP/test/tools/in_user_ns pT 0,100000,5000 0,200000,5000" -- time_descriptor
 * TEST time-clock-continue round-trip except=ns/time,ns/time_for_children,fd/4 restart="--clock continue" under="unshare -Tf --monotonic 1000 --boottime 3000" -- time_continue
 * TEST time-bound round-trip restart="--mntns new" -- time_bound
 * TEST time-for-children round-trip -- time_for_children
 * TEST dead-pid round-trip -- dead_pid
 * TEST dead-pid-container round-trip start=container -- dead_pid
 * TEST dead-below-dead round-trip -- dead_below
 * TEST dead-below-dead-container round-trip start=container -- dead_below
 * TEST dead-below-dead-user round-trip start="$TOP/test/tools/in_user_ns p 0,100000,5000 0,200000,5000" -- dead_below
 * TEST dead-below-zombie refuse code=namespace.other -- dead_below_zombie
 * TEST pid-outside refuse code=leak -- pid_outside
 * TEST net-undeclared refuse code=namespace.network -- net_descriptor
 */
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static void own_namespace(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
}

/* a namespace that this process leaves again: only what is opened in between keeps it */
static int visit(int type, const char *link, void (*inside)(void))
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", link);
	int own = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(own >= 0 && unshare(type) == 0);
	if (inside)
		inside();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && setns(own, type) == 0);
	close(own);
	return fd;
}

static void name_it(void)
{
	CHECK(sethostname("elsewhere", 9) == 0);
}

static void check_name(int fd, const char *name)
{
	struct utsname names;
	int own = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);

	CHECK(own >= 0 && setns(fd, CLONE_NEWUTS) == 0 && uname(&names) == 0);
	CHECK(setns(own, CLONE_NEWUTS) == 0);
	if (strcmp(names.nodename, name) != 0)
		FAIL("the host name is %s, not %s", names.nodename, name);
	close(own);
}

static const char *link_of(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void check_same(int fd, const char *path)
{
	struct stat a, b;

	CHECK(fstat(fd, &a) == 0 && stat(path, &b) == 0);
	CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
}

static void own(void)
{
	int uts = open("/proc/self/ns/uts", O_RDONLY), net = open("/proc/self/ns/net", O_RDONLY);
	int time = open("/proc/self/ns/time", O_RDONLY), pid = open("/proc/self/ns/pid", O_RDONLY);

	CHECK(uts >= 0 && net >= 0 && time >= 0 && pid >= 0);
	subject_checkpoint();
	check_same(uts, "/proc/self/ns/uts");
	check_same(net, "/proc/self/ns/net");
	check_same(pid, "/proc/self/ns/pid");
	check_same(time, "/proc/self/ns/time");
}

static void of_set(void)
{
	int uts = open("/proc/self/ns/uts", O_RDONLY), mnt = open("/proc/self/ns/mnt", O_RDONLY);
	int ipc = open("/proc/self/ns/ipc", O_RDONLY), pid = open("/proc/self/ns/pid", O_RDONLY);
	int net = open("/proc/self/ns/net", O_RDONLY);

	CHECK(uts >= 0 && mnt >= 0 && ipc >= 0 && pid >= 0 && net >= 0);
	subject_checkpoint();
	check_same(uts, "/proc/self/ns/uts");
	check_same(mnt, "/proc/self/ns/mnt");
	check_same(ipc, "/proc/self/ns/ipc");
	check_same(pid, "/proc/self/ns/pid");
	check_same(net, "/proc/self/ns/net");
}

/* of the host, whose /proc is mounted */
static void outside(void)
{
	CHECK(open("/proc/1/ns/uts", O_RDONLY) >= 0);
	subject_checkpoint();
}

static void path_only(void)
{
	int fd = open("/proc/self/ns/uts", O_PATH);

	CHECK(fd >= 0);
	subject_checkpoint();
	CHECK(fcntl(fd, F_GETFL) & O_PATH);
	check_same(fd, "/proc/self/ns/uts");
}

static void uts_descriptor(void)
{
	int fd = visit(CLONE_NEWUTS, "uts", name_it);

	subject_checkpoint();
	check_name(fd, "elsewhere");
}

static void ipc_descriptor(void)
{
	int fd = visit(CLONE_NEWIPC, "ipc", NULL);

	subject_checkpoint();
	CHECK(setns(fd, CLONE_NEWIPC) == 0);
	check_same(fd, "/proc/self/ns/ipc");
}

static void user_descriptor(void)
{
	CHECK(chmod(".", 0777) == 0);
	int fd = empty_user_ns("0 1000 10", "0 2000 10");

	subject_checkpoint();
	char text[64] = "";
	CHECK(setns(fd, CLONE_NEWUSER) == 0);
	FILE *f = fopen("/proc/self/gid_map", "re");
	unsigned first, outer, n;
	CHECK(f && fgets(text, sizeof(text), f) &&
	      sscanf(text, "%u %u %u", &first, &outer, &n) == 3);
	CHECK_EQ(first, 0);
	CHECK_EQ(outer, 2000);
	CHECK_EQ(n, 10);
}

static void mount_it(void)
{
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("inside", "/mnt", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/inside", "");
}

/* in a child, for a thread's root directory changes with setns() */
static void check_inside(int fd)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(setns(fd, CLONE_NEWNS) < 0 || access("/mnt/inside", F_OK) < 0);
	subject_check_exit(pid, 0);
}

static int make_mnt(void)
{
	char path[64];
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS) == 0);
		mount_it();
		subject_mark("there");
		subject_wait("opened");
		_exit(0);
	}
	subject_wait("there");
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void end_mnt(void)
{
	subject_mark("opened");
	CHECK(wait(NULL) > 0);
}

static void mnt_descriptor(void)
{
	int fd = make_mnt();

	end_mnt();
	subject_checkpoint();
	check_inside(fd);
}

static void net_descriptor(void)
{
	int fd = visit(CLONE_NEWNET, "net", NULL);

	CHECK(fd >= 0);
	subject_checkpoint();
}

static void net_external(void)
{
	char text[64];
	struct stat st;
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	/* one that is bound on the host stays there */
	char path[4200], cwd[4096];
	CHECK(getcwd(cwd, sizeof(cwd)));
	snprintf(path, sizeof(path), "%s/bound", cwd);
	write_text(path, "");
	CHECK(unshare(CLONE_NEWNET) == 0 && stat("/proc/self/ns/net", &st) == 0);
	CHECK(mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) == 0);
	CHECK(setns(fd, CLONE_NEWNET) == 0);
	close(fd);
	snprintf(text, sizeof(text), "net:[%lu]=n", (unsigned long)st.st_ino);
	subject_options("checkpoint", "--external %s", text);
	subject_options("restart", "--external n=%s", path);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	subject_checkpoint();
	check_same(fd, path);
}

static void bind_ns(const char *from, const char *to)
{
	write_text(to, "");
	CHECK(mount(from, to, NULL, MS_BIND, NULL) == 0);
}

static void bound(void)
{
	CHECK(unshare(CLONE_NEWUTS) == 0);
	name_it();
	own_namespace();
	bind_ns("/proc/self/ns/uts", "/mnt/uts");
	bind_ns("/proc/self/ns/net", "/mnt/net");
	bind_ns("/proc/self/ns/user", "/mnt/user");
	bind_ns("/mnt/uts", "/mnt/again");
	CHECK(mount(NULL, "/mnt/again", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
	subject_checkpoint();
	int fd = open("/mnt/again", O_RDONLY);
	check_same(fd, "/proc/self/ns/uts");
	check_same(fd, "/mnt/uts");
	check_name(fd, "elsewhere");
	fd = open("/mnt/net", O_RDONLY);
	check_same(fd, "/proc/self/ns/net");
	fd = open("/mnt/user", O_RDONLY);
	check_same(fd, "/proc/self/ns/user");
}

static void bound_open(void)
{
	CHECK(unshare(CLONE_NEWUTS) == 0);
	own_namespace();
	bind_ns("/proc/self/ns/uts", "/mnt/uts");
	int fd = open("/mnt/uts", O_RDONLY);
	char link[64], text[64] = "";
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	subject_checkpoint();
	check_same(fd, "/proc/self/ns/uts");
	CHECK(readlink(link, text, sizeof(text) - 1) > 0 && !strcmp(text, "/mnt/uts"));
}

static void bind_uts(void)
{
	name_it();
	bind_ns("/proc/self/ns/uts", "/mnt/uts");
}

static void bound_only(void)
{
	own_namespace();
	close(visit(CLONE_NEWUTS, "uts", bind_uts));
	subject_checkpoint();
	check_name(open("/mnt/uts", O_RDONLY), "elsewhere");
}

static void bind_fd(int fd, const char *to)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	bind_ns(path, to);
	close(fd);
}

/* ids of namespaces come in batches per processor, and a holder's must be lower than the other's */
static void one_processor(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void bound_mnt(void)
{
	one_processor();
	own_namespace();
	bind_fd(make_mnt(), "/mnt/ns");
	end_mnt();
	subject_checkpoint();
	check_inside(open("/mnt/ns", O_RDONLY));
}

/* in the mount namespace of the container, which a user namespace owns */
static void bound_alone(void)
{
	one_processor();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	bind_fd(make_mnt(), "/mnt/ns");
	end_mnt();
	subject_checkpoint();
	check_inside(open("/mnt/ns", O_RDONLY));
}

/* in the mount namespace of a user namespace, one that is not of it */
static void bound_of_root(void)
{
	char path[64];

	one_processor();
	CHECK(chmod(".", 0777) == 0);
	pid_t holder = fork();
	if (holder == 0) {
		CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
		subject_mark("holder");
		subject_wait("seen");
		_exit(access("/mnt/ns", F_OK) < 0);
	}
	subject_wait("holder");
	write_proc(holder, "uid_map", "0 1000 10");
	write_proc(holder, "gid_map", "0 1000 10");
	int target = make_mnt();
	end_mnt();
	pid_t pid = fork();
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", holder);
	if (pid == 0) {
		CHECK(setns(open(path, O_RDONLY | O_CLOEXEC), CLONE_NEWNS) == 0);
		CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
		bind_fd(target, "/mnt/ns");
		_exit(0);
	}
	subject_check_exit(pid, 0);
	subject_checkpoint();
	check_inside(target);
	pid = fork();
	if (pid == 0) {
		CHECK(setns(open(path, O_RDONLY | O_CLOEXEC), CLONE_NEWNS) == 0);
		int fd = open("/mnt/ns", O_RDONLY);
		_exit(fd < 0 || setns(fd, CLONE_NEWNS) < 0 || access("/mnt/inside", F_OK) < 0);
	}
	subject_check_exit(pid, 0);
	subject_mark("seen");
	subject_check_exit(holder, 0);
}

/* one holds the next, which holds a third */
static void bound_chain(void)
{
	one_processor();
	own_namespace();
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS) == 0);
		CHECK(mount("second", "/opt", "tmpfs", 0, NULL) == 0);
		bind_fd(make_mnt(), "/opt/third");
		end_mnt();
		subject_mark("second");
		subject_wait("bound");
		_exit(0);
	}
	subject_wait("second");
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	bind_fd(open(path, O_RDONLY | O_CLOEXEC), "/mnt/second");
	subject_mark("bound");
	subject_check_exit(pid, 0);
	subject_checkpoint();
	int fd = open("/mnt/second", O_RDONLY);
	pid = fork();
	if (pid == 0) {
		CHECK(setns(fd, CLONE_NEWNS) == 0);
		CHECK(setns(open("/opt/third", O_RDONLY), CLONE_NEWNS) == 0);
		_exit(access("/mnt/inside", F_OK) < 0);
	}
	subject_check_exit(pid, 0);
}

static void bound_shared(void)
{
	CHECK(unshare(CLONE_NEWUTS) == 0);
	own_namespace();
	CHECK(mkdir("/mnt/a", 0755) == 0 && mkdir("/mnt/b", 0755) == 0);
	CHECK(mount("shared", "/mnt/a", "tmpfs", 0, NULL) == 0);
	CHECK(mount(NULL, "/mnt/a", NULL, MS_SHARED, NULL) == 0);
	CHECK(mount("/mnt/a", "/mnt/b", NULL, MS_BIND, NULL) == 0);
	bind_ns("/proc/self/ns/uts", "/mnt/a/uts");
	subject_checkpoint();
	int fd = open("/mnt/b/uts", O_RDONLY);
	check_same(fd, "/proc/self/ns/uts");
	CHECK(close(fd) == 0 && umount("/mnt/b/uts") == 0);
	CHECK(umount("/mnt/a/uts") < 0);
}

static void bound_pid(void)
{
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	bind_ns("/proc/self/ns/pid", "/mnt/pid");
	subject_checkpoint();
	check_same(open("/mnt/pid", O_RDONLY), "/proc/self/ns/pid");
}

static void used_outside(void)
{
	char path[64];
	pid_t pid = fork();

	if (pid == 0) {
		pid_t grandchild = fork();
		if (grandchild != 0)
			_exit(0);
		CHECK(unshare(CLONE_NEWUTS) == 0);
		FILE *f = fopen("outside", "we");
		CHECK(f && fprintf(f, "%d", (int)getpid()) > 0 && fclose(f) == 0);
		subject_settle("settled");
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	subject_wait("settled");
	FILE *f = fopen("outside", "re");
	CHECK(f && fscanf(f, "%d", &pid) == 1 && fclose(f) == 0);
	snprintf(path, sizeof(path), "/proc/%d/ns/uts", pid);
	CHECK(open(path, O_RDONLY) >= 0);
	subject_checkpoint();
}

static int open_for_children(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid_for_children", pid);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	subject_mark("opened");
	return fd;
}

static void end_init(void)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t init = fork();
	if (init == 0)
		_exit(0);
	CHECK(waitpid(init, NULL, 0) == init);
	subject_mark("dead");
	subject_wait("opened");
}

/* its init has ended */
static int open_dead(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		end_init();
		_exit(0);
	}
	subject_wait("dead");
	int fd = open_for_children(pid);
	subject_check_exit(pid, 0);
	return fd;
}

static void check_dead(int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(setns(fd, CLONE_NEWPID) == 0);
		CHECK(fork() < 0 && errno == ENOMEM);
		_exit(0);
	}
	subject_check_exit(pid, 0);
}

static pid_t fork_with_files(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	CHECK(pid >= 0);
	return pid;
}

static const unsigned above[] = { 0, 0, 0, 1 };
static int *fds; /* of them, in a table that all share */

static void make_dead(unsigned at)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t init = fork_with_files();
	for (unsigned i = at + 1; init == 0 && i < 4; i++) {
		pid_t pid = above[i] == at ? fork_with_files() : -1;
		if (pid == 0) {
			make_dead(i);
			_exit(0);
		}
		CHECK(pid < 0 || waitpid(pid, NULL, 0) == pid);
	}
	if (init == 0)
		_exit(0);
	CHECK(waitpid(init, NULL, 0) == init);
	fds[at] = open("/proc/thread-self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	CHECK(fds[at] >= 0);
}

/* dead ones above have no descriptors, some */
static void dead_below(void)
{
	size_t size = 4 * sizeof(*fds);

	fds = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(fds != MAP_FAILED);
	pid_t pid = fork_with_files();
	if (pid == 0) {
		make_dead(0);
		_exit(0);
	}
	subject_check_exit(pid, 0);
	CHECK(close(fds[0]) == 0);
	subject_checkpoint();
	fds[0] = ioctl(fds[2], NS_GET_PARENT);
	CHECK(fds[0] >= 0);
	for (unsigned i = 0; i < 4; i++) {
		int up = ioctl(fds[i], NS_GET_PARENT);
		CHECK(up >= 0);
		if (i)
			check_same(up, link_of(fds[above[i]]));
		else
			check_same(up, "/proc/self/ns/pid");
		check_dead(fds[i]);
	}
}

/* the init of the one above has been waited for by nobody */
static void dead_below_zombie(void)
{
	fds = mmap(NULL, 4 * sizeof(*fds), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	           0);
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	CHECK(fds != MAP_FAILED && pid >= 0);
	if (pid == 0) {
		make_dead(2);
		_exit(0);
	}
	siginfo_t info;
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

/* nothing can be made in it */
static void dead_pid(void)
{
	int fd = open_dead();

	subject_checkpoint();
	CHECK(setns(fd, CLONE_NEWPID) == 0);
	CHECK(fork() < 0 && errno == ENOMEM);
}

struct offsets {
	long long monotonic, boottime; /* ns */
};

static struct offsets read_offsets(void)
{
	long long s[2], ns[2];
	FILE *f = fopen("/proc/self/timens_offsets", "re");

	CHECK(f && fscanf(f, "monotonic %lld %lld boottime %lld %lld", &s[0], &ns[0], &s[1],
	                  &ns[1]) == 4);
	fclose(f);
	return (struct offsets){ s[0] * 1000000000 + ns[0], s[1] * 1000000000 + ns[1] };
}

/* one that no task is in, nor makes children in */
static int visit_time(const char *offsets)
{
	int own = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);

	CHECK(own >= 0 && unshare(CLONE_NEWTIME) == 0);
	write_text("/proc/self/timens_offsets", offsets);
	int fd = open("/proc/self/ns/time_for_children", O_RDONLY);
	CHECK(fd >= 0 && setns(own, CLONE_NEWTIME) == 0 && close(own) == 0);
	return fd;
}

/* behind by the time that the checkpoint and the restart have taken, which goes on in ours */
static struct offsets check_ahead(int fd, int monotonic, int boottime)
{
	struct offsets own = read_offsets();

	CHECK(setns(fd, CLONE_NEWTIME) == 0);
	struct offsets o = read_offsets();
	long long passed = own.monotonic + monotonic * 1000000000ll - o.monotonic;
	CHECK(passed >= -10 && passed < 500 * 1000000000ll);
	passed = own.boottime + boottime * 1000000000ll - o.boottime;
	CHECK(passed >= -10 && passed < 500 * 1000000000ll);
	return o;
}

/* one with two descriptors; and what two of them differ by is exact */
static void time_descriptor(void)
{
	int own = open("/proc/self/ns/time", O_RDONLY);
	int fd = visit_time("monotonic 5000 5\nboottime 9000 7\n");
	int other = visit_time("monotonic 6000 0\nboottime 9000 1\n");
	int again = open(link_of(fd), O_RDONLY);

	CHECK(again >= 0);
	subject_checkpoint();
	check_same(again, link_of(fd));
	struct offsets a = check_ahead(fd, 5000, 9000);
	CHECK(setns(own, CLONE_NEWTIME) == 0);
	struct offsets b = check_ahead(other, 6000, 9000);
	CHECK(b.monotonic - a.monotonic == 1000 * 1000000000ll - 5);
	CHECK(b.boottime - a.boottime == -6);
}

/* ours is made again, too: nothing has changed between the two */
static void time_continue(void)
{
	struct offsets own = read_offsets();
	int fd = visit_time("monotonic 5000 5\nboottime 9000 7\n");

	subject_checkpoint();
	struct offsets now = read_offsets();
	CHECK(setns(fd, CLONE_NEWTIME) == 0);
	struct offsets its = read_offsets();
	CHECK(its.monotonic - now.monotonic == 5000 * 1000000000ll + 5 - own.monotonic);
	CHECK(its.boottime - now.boottime == 9000 * 1000000000ll + 7 - own.boottime);
}

static void time_bound(void)
{
	own_namespace();
	bind_fd(visit_time("monotonic 5000 5\nboottime 9000 7\n"), "/mnt/time");
	subject_checkpoint();
	check_ahead(open("/mnt/time", O_RDONLY), 5000, 9000);
}

/* a process that comes later has the namespace for its children, and may still set its offsets */
static void time_for_children(void)
{
	char path[64];
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(unshare(CLONE_NEWTIME) == 0);
		write_text("/proc/self/timens_offsets", "monotonic 5000 5\nboottime 9000 7\n");
		subject_mark("unshared");
		subject_wait("checked");
		write_text("/proc/self/timens_offsets", "monotonic 7000 5\nboottime 7000 7\n");
		subject_mark("set");
		subject_wait("done");
		_exit(0);
	}
	subject_wait("unshared");
	snprintf(path, sizeof(path), "/proc/%d/ns/time_for_children", pid);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	subject_checkpoint();
	check_same(fd, path);
	subject_mark("checked");
	subject_wait("set");
	check_ahead(fd, 7000, 7000);
	subject_mark("done");
	subject_check_exit(pid, 0);
}

/* somebody outside of the set is in it */
static void pid_outside(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(unshare(CLONE_NEWPID) == 0);
		if (fork() == 0) { /* soon orphaned: not of the set */
			setsid();
			close_range(0, 2, 0); /* test/run's "output" would be a leak */
			subject_mark("outside");
			subject_wait_go();
			_exit(0);
		}
		subject_wait("opened");
		_exit(0);
	}
	subject_wait("outside");
	open_for_children(pid);
	subject_check_exit(pid, 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(of_set), CASE(path_only), CASE(outside),
	                     CASE(uts_descriptor), CASE(ipc_descriptor), CASE(user_descriptor),
	                     CASE(mnt_descriptor), CASE(net_descriptor), CASE(net_external),
	                     CASE(bound), CASE(bound_open), CASE(bound_only), CASE(bound_mnt),
	                     CASE(bound_alone), CASE(bound_of_root), CASE(bound_chain),
	                     CASE(bound_shared), CASE(bound_pid), CASE(used_outside),
	                     CASE(dead_pid), CASE(time_descriptor), CASE(time_bound),
	                     CASE(time_continue), CASE(dead_below_zombie), CASE(time_for_children),
	                     CASE(dead_below), CASE(pid_outside));
}
