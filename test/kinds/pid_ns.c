/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: a container whose init is the subject, seen from outside; what cannot be
 * restored.
 *
 * TEST init round-trip start="unshare -p -f" -- init
 * TEST owners round-trip start="unshare -p -f" -- owners
 * TEST nested round-trip -- nested
 * TEST nested-container round-trip start="unshare -p -f" -- nested
 * TEST nested-new-pidns round-trip restart="--new-pidns" observe=no -- nested_session
 * TEST siblings round-trip -- siblings
 * TEST member round-trip -- member
 * TEST unborn round-trip -- unborn
 * TEST unborn-container round-trip start="unshare -p -f" -- unborn
 * TEST for-children round-trip -- for_children
 * TEST ended round-trip -- ended
 * TEST ended-init round-trip -- ended_init
 * TEST ended-fault refuse code=task.init-death -- ended_fault
 * TEST ended-reboot round-trip -- ended_reboot
 * TEST depth round-trip -- depth
 * TEST deepest round-trip -- deepest
 * TEST settings round-trip -- settings
 * TEST settings-container round-trip start="unshare -p -f" -- settings
 * TEST threads round-trip -- threads
 * TEST zombie round-trip -- zombie
 * TEST orphan round-trip -- orphan
 * TEST session round-trip -- session
 * TEST groups round-trip -- groups
 * TEST left-groups round-trip -- left_groups
 * TEST references round-trip -- references
 * TEST owner-below round-trip -- owner_below
 * TEST owner-above refuse code=file.owner -- owner_above
 * TEST descriptors round-trip restart="--mntns new" -- descriptors
 * TEST stopped round-trip -- stopped
 * TEST signals round-trip -- signals
 * TEST leak refuse code=leak -- leak
 * TEST user-owner round-trip -- user_owner
 * TEST user-owner-nested round-trip -- user_owner_nested
 * TEST user-owner-killed round-trip -- user_owner_killed
 * TEST user-owner-threads round-trip -- user_owner_threads
 * TEST user-owner-members round-trip -- user_owner_members
 * TEST user-owner-threaded-maker refuse code=user_ns.shape -- user_owner_maker
 * TEST references-container round-trip start="unshare -p -f" -- references
 */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "cases.h"
#include "mounts.h"

static volatile pid_t thread_id;

static void *idle(void *arg)
{
	thread_id = (pid_t)syscall(SYS_gettid);
	subject_mark("thread");
	subject_wait_go();
	CHECK_EQ(syscall(SYS_gettid), thread_id);
	return arg;
}

static pid_t child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(setpgid(0, 0) == 0);
		subject_mark("child");
		subject_wait_go();
		CHECK(getppid() == 1 && getpgrp() == getpid());
		_exit(9);
	}
	subject_wait("child");
	return pid;
}

/* pids, also those that come next; an orphan that came to the init; signals that it ignores */
static void init(void)
{
	pthread_t t;

	CHECK_EQ(getpid(), 1);
	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	pid_t pid = child(), zombie = fork();
	CHECK(zombie >= 0);
	if (zombie == 0)
		_exit(7);
	CHECK(waitid(P_PID, (id_t)zombie, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	int last = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	CHECK(last >= 0 && write(last, "20000", 5) == 5 && close(last) == 0);
	subject_checkpoint();
	CHECK_EQ(getpid(), 1);
	pid_t next = fork();
	if (next == 0)
		_exit(0);
	CHECK(next > 20000 && next < 20100 && waitpid(next, NULL, 0) == next);
	CHECK(kill(1, SIGTERM) == 0); /* no handler: an init does not mind */
	subject_check_exit(zombie, 7);
	subject_check_exit(pid, 9);
	CHECK(pthread_join(t, NULL) == 0);
}

/* numbers that the kernel keeps as references: owners of files, threads of timers, locks */
static void owners(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct f_owner_ex group = { F_OWNER_PGRP, 0 }, seen;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	pthread_t t;
	timer_t timer;
	int p[2];

	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	pid_t pid = child();
	group.pid = pid;
	CHECK(pipe(p) == 0 && fcntl(p[0], F_SETOWN_EX, &group) == 0 &&
	      fcntl(p[1], F_SETOWN, pid) == 0);
	event._sigev_un._tid = thread_id;
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	int fd = open("locked", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
	subject_checkpoint();
	CHECK(fcntl(p[0], F_GETOWN_EX, &seen) == 0 && seen.type == F_OWNER_PGRP && seen.pid == pid);
	CHECK_EQ(fcntl(p[1], F_GETOWN), pid);
	subject_check_exit(pid, 9);
	CHECK(pthread_join(t, NULL) == 0);
}

/* ---- below ---- */

/* a child that is the init of a pid namespace of its own */
static pid_t new_init(void (*run)(void))
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(getpid(), 1);
		run();
		_exit(0);
	}
	return pid;
}

/* the next child: where that goes is settled already */
static pid_t new_init_here(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(getpid() == 1 ? 0 : 1);
	CHECK(pid > 0);
	return pid;
}

/* an init with one child */
static void small_init(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		subject_settle("child");
		CHECK(getpid() == 2 && getppid() == 1);
		_exit(5);
	}
	CHECK_EQ(pid, 2);
	subject_wait("child");
	subject_settle("init");
	CHECK(getpid() == 1 && getppid() == 0);
	CHECK_EQ(getsid(0), 0);
	CHECK_EQ(getpgrp(), 0);
	CHECK_EQ(kill(1, SIGTERM), 0); /* nothing to it */
	subject_check_exit(pid, 5);
	pid = fork();
	if (pid == 0)
		_exit(0);
	CHECK_EQ(pid, 3);
	subject_check_exit(pid, 0);
}

static void nested(void)
{
	pid_t pid = new_init(small_init);

	subject_wait("init");
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

static void nested_session(void)
{
	CHECK_EQ(getsid(0), getpid()); /* the runner's doing */
	nested();
}

/* two namespaces next to each other: the same numbers twice */
static void second_init(void)
{
	pid_t pid = fork();

	CHECK(pid == 2 || pid == 0);
	if (pid == 0) {
		subject_settle("second-child");
		_exit(getpid() + 10);
	}
	subject_wait("second-child");
	subject_settle("second");
	subject_check_exit(2, 12);
}

static void siblings(void)
{
	pid_t a = new_init(small_init), b = new_init(second_init);

	subject_wait("init");
	subject_wait("second");
	subject_checkpoint();
	subject_check_exit(a, 0);
	subject_check_exit(b, 0);
}

/* until all others have said what they found */
static void idle_init(void)
{
	subject_settle("init");
	subject_wait("over");
	while (wait(NULL) > 0)
		;
}

static void end_idle(pid_t init)
{
	subject_mark("over");
	subject_check_exit(init, 0);
}

static void enter(pid_t init)
{
	int fd = (int)syscall(SYS_pidfd_open, init, 0);

	CHECK(fd >= 0 && setns(fd, CLONE_NEWPID) == 0 && close(fd) == 0);
}

/* whose parent is outside, as nsenter(1) makes them; one of them has a child there */
static void member(void)
{
	pid_t init = new_init(idle_init);

	subject_wait("init");
	enter(init);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(getpid() == 2 && getppid() == 0);
		pid = fork();
		if (pid == 0) {
			subject_settle("grandchild");
			CHECK(getpid() == 3 && getppid() == 2);
			_exit(3);
		}
		subject_settle("member");
		CHECK(getpid() == 2 && getppid() == 0);
		subject_check_exit(3, 3);
		_exit(2);
	}
	subject_wait("member");
	subject_wait("grandchild");
	enter(getpid());
	pid_t own = fork();
	if (own == 0)
		_exit(0);
	subject_check_exit(own, 0);
	subject_checkpoint();
	subject_check_exit(pid, 2);
	end_idle(init);
}

/* CLONE_NEWPID was unshared, and no child made yet */
static void unborn(void)
{
	pid_t child = fork();

	if (child == 0) {
		CHECK(unshare(CLONE_NEWPID) == 0);
		subject_settle("child");
		pid_t pid = fork();
		if (pid == 0)
			_exit(getpid() == 1 ? 0 : 1);
		CHECK(pid > 0);
		subject_check_exit(pid, 0);
		CHECK(fork() < 0 && errno == ENOMEM); /* it has ended */
		_exit(0);
	}
	subject_wait("child");
	CHECK(unshare(CLONE_NEWPID) == 0);
	subject_checkpoint();
	subject_check_exit(child, 0);
	pid_t pid = new_init_here();
	subject_check_exit(pid, 0);
}

/* the next children go where the first is the init */
static void for_children(void)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t init = fork();
	if (init == 0) {
		idle_init();
		_exit(0);
	}
	subject_wait("init");
	subject_checkpoint();
	pid_t pid = fork();
	if (pid == 0)
		_exit(getpid() + 10);
	subject_check_exit(pid, 12);
	end_idle(init);
}

/* they went where the first was the init, which is gone, and with it the namespace */
static void ended(void)
{
	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t init = fork();
	if (init == 0)
		_exit(0);
	subject_check_exit(init, 0);
	CHECK(fork() < 0 && errno == ENOMEM);
	subject_checkpoint();
	CHECK(fork() < 0 && errno == ENOMEM);
	enter(getpid());
	init = fork();
	if (init == 0)
		_exit(0);
	subject_check_exit(init, 0);
}

static void await_end(pid_t pid)
{
	CHECK(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
}

/* the same, not waited for yet: of itself, and killed */
static void ended_init(void)
{
	int status;

	CHECK(unshare(CLONE_NEWPID) == 0);
	pid_t a = fork();
	if (a == 0)
		_exit(4);
	await_end(a);
	enter(getpid());
	pid_t b = new_init(idle_init);
	subject_wait("init");
	CHECK(kill(b, SIGKILL) == 0);
	await_end(b);
	subject_checkpoint();
	subject_check_exit(a, 4);
	CHECK(waitpid(b, &status, 0) == b && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* by a fault of its own, which nothing outside can make */
static void faulting_init(void)
{
	prctl(PR_SET_DUMPABLE, 0); /* no core */
	*(volatile int *)8 = 1;    /* NOLINT */
}

static void ended_fault(void)
{
	pid_t pid = new_init(faulting_init);

	await_end(pid);
	subject_checkpoint();
	CHECK(waitpid(pid, NULL, 0) == pid);
}

static void rebooting_init(void)
{
	CHECK(reboot(RB_AUTOBOOT) == 0);
}

static void ended_reboot(void)
{
	int status;
	pid_t pid = new_init(rebooting_init);

	await_end(pid);
	subject_checkpoint();
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, SIGHUP);
}

static int levels;

static void deep_init(void)
{
	char name[16];

	if (levels == 5) {
		subject_settle("deepest");
		return;
	}
	snprintf(name, sizeof(name), "level%d", levels++);
	pid_t pid = fork();
	if (pid == 0) {
		subject_settle(name);
		_exit(getpid());
	}
	pid_t init = new_init(deep_init);
	subject_wait(name);
	subject_wait("deepest");
	subject_wait_go();
	CHECK(getpid() == 1 && pid == 2 && init == 3);
	subject_check_exit(init, 0);
	subject_check_exit(pid, 2);
}

static void depth(void)
{
	pid_t init = new_init(deep_init);

	subject_wait("deepest");
	for (char name[] = "level0"; name[5] < '5'; name[5]++)
		subject_wait(name);
	subject_checkpoint();
	subject_check_exit(init, 0);
}

/* as deep as the kernel makes them */
static void deepest_init(void)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		deepest_init();
		_exit(0);
	}
	if (pid < 0) {
		CHECK_EQ(errno, ENOSPC);
		subject_settle("deepest");
		CHECK_EQ(getpid(), 1);
		return;
	}
	subject_wait("deepest");
	subject_wait_go();
	subject_check_exit(pid, 0);
}

static void deepest(void)
{
	pid_t init = new_init(deepest_init);

	subject_wait("deepest");
	subject_checkpoint();
	subject_check_exit(init, 0);
}

static long read_setting(const char *path)
{
	char text[24] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	CHECK(read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
	return atol(text);
}

static void write_setting(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) > 0 && close(fd) == 0);
}

#define PID_MAX "/proc/sys/kernel/pid_max"
#define NOEXEC  "/proc/sys/vm/memfd_noexec"

/* of each namespace its own: pid_max since 6.14, memfd_noexec since 6.3 */
static void settings_init(void)
{
	write_setting(PID_MAX, "5000");
	write_setting(NOEXEC, "1");
	subject_settle("init");
	CHECK_EQ(read_setting(PID_MAX), 5000);
	CHECK_EQ(read_setting(NOEXEC), 1);
}

static void settings(void)
{
	long pid_max = read_setting(PID_MAX), noexec = read_setting(NOEXEC);
	struct utsname name;
	int major, minor;

	CHECK(uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2);
	if (major < 6 || (major == 6 && minor < 14))
		SKIP("pid namespaces have no pid_max of their own before 6.14");
	pid_t init = new_init(settings_init);
	subject_wait("init");
	CHECK(read_setting(PID_MAX) == pid_max && read_setting(NOEXEC) == noexec);
	subject_checkpoint();
	CHECK(read_setting(PID_MAX) == pid_max && read_setting(NOEXEC) == noexec);
	subject_check_exit(init, 0);
}

static void threaded_init(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	CHECK_EQ(thread_id, 2);
	subject_settle("init");
	CHECK(pthread_join(t, NULL) == 0);
}

static void threads(void)
{
	pid_t init = new_init(threaded_init);

	subject_wait("init");
	subject_checkpoint();
	subject_check_exit(init, 0);
}

static void zombies_init(void)
{
	int status;
	pid_t a = fork();

	if (a == 0)
		_exit(4);
	pid_t b = fork();
	if (b == 0) {
		raise(SIGKILL);
		_exit(0);
	}
	await_end(a);
	await_end(b);
	subject_settle("init");
	CHECK(a == 2 && b == 3);
	subject_check_exit(a, 4);
	CHECK(waitpid(b, &status, 0) == b && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void zombie(void)
{
	pid_t init = new_init(zombies_init);

	subject_wait("init");
	/* one whose parent is outside */
	enter(init);
	pid_t pid = fork();
	if (pid == 0)
		_exit(6);
	await_end(pid);
	subject_checkpoint();
	subject_check_exit(pid, 6);
	subject_check_exit(init, 0);
}

/* a process that its parent leaves behind; in the parent's session, which may end as well */
static void leave(const char *name, bool new_session)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid) {
		subject_check_exit(pid, 0);
		return;
	}
	if (new_session)
		CHECK(setsid() == getpid());
	if (fork() == 0) {
		while (getppid() == pid)
			;
		pid_t sid = getsid(0), group = getpgrp();
		subject_settle(name);
		CHECK(getppid() == (getpid() == 1 ? 0 : 1));
		CHECK_EQ(getsid(0), sid);
		CHECK_EQ(getpgrp(), group);
		_exit(0);
	}
	_exit(0);
}

static void orphans_init(void)
{
	leave("orphan", false);
	leave("session-orphan", true);
	subject_wait("orphan");
	subject_wait("session-orphan");
	subject_settle("init");
	while (wait(NULL) > 0)
		;
}

/* left behind inside; by one that had entered from outside, in the session of the outside */
static void orphan(void)
{
	pid_t init = new_init(orphans_init);

	subject_wait("init");
	enter(init);
	pid_t pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			subject_settle("entered-orphan");
			CHECK_EQ(getppid(), 1);
			_exit(0);
		}
		_exit(0);
	}
	subject_check_exit(pid, 0);
	subject_wait("entered-orphan");
	enter(getpid());
	subject_checkpoint();
	subject_check_exit(init, 0);
}

static void session_init(void)
{
	CHECK_EQ(getsid(0), 0);
	CHECK_EQ(setsid(), 1);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(setpgid(0, 0) == 0);
		subject_settle("child");
		CHECK(getsid(0) == 1 && getpgrp() == getpid());
		_exit(0);
	}
	subject_wait("child");
	subject_settle("init");
	CHECK(getsid(0) == 1 && getpgrp() == 1 && getpgid(pid) == pid);
	subject_check_exit(pid, 0);
}

static void session(void)
{
	pid_t init = new_init(session_init);

	subject_wait("init");
	CHECK_EQ(getsid(init), init);
	subject_checkpoint();
	CHECK_EQ(getsid(init), init);
	subject_check_exit(init, 0);
}

static void grouped_init(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		subject_settle("child");
		CHECK_EQ(getpgrp(), 0);
		_exit(0);
	}
	subject_wait("child");
	subject_settle("init");
	CHECK_EQ(getpgrp(), 0);
	subject_check_exit(pid, 0);
}

/*
 * As a shell with job control has them: a pipeline whose second process began a pid namespace; the
 * first leads the group, which those inside cannot name.
 */
static void groups(void)
{
	pid_t first = fork();

	if (first == 0) {
		subject_settle("first");
		_exit(0);
	}
	CHECK(setpgid(first, first) == 0);
	pid_t second = fork();
	if (second == 0) {
		while (getpgrp() != first)
			;
		pid_t init = new_init(grouped_init);
		subject_wait("init");
		subject_settle("second");
		CHECK(getpgid(init) == first);
		subject_check_exit(init, 0);
		_exit(0);
	}
	CHECK(setpgid(second, first) == 0);
	subject_wait("first");
	subject_wait("second");
	subject_checkpoint();
	subject_check_exit(first, 0);
	subject_check_exit(second, 0);
}

/* the same when the first is gone; and a group of one inside that is gone */
static void left_groups(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t first = fork();

	if (first == 0) {
		CHECK(setpgid(0, 0) == 0);
		new_init(grouped_init);
		subject_wait("init");
		_exit(0);
	}
	subject_check_exit(first, 0);
	subject_checkpoint();
	subject_check_exit(-1, 0);
}

static void references_init(void)
{
	owners();
}

/* numbers that the kernel keeps as references, in a namespace below */
static void references(void)
{
	pid_t init = new_init(references_init);

	subject_wait("go");
	subject_check_exit(init, 0);
}

/* a pipe that one outside has first, whose signals go to one inside; and the other way round */
static void owner_below(void)
{
	struct f_owner_ex seen;
	int p[2];

	CHECK(pipe(p) == 0);
	pid_t init = new_init(idle_init);
	subject_wait("init");
	CHECK(fcntl(p[0], F_SETOWN, init) == 0);
	subject_checkpoint();
	CHECK(fcntl(p[0], F_GETOWN_EX, &seen) == 0 && seen.type == F_OWNER_PID && seen.pid == init);
	end_idle(init);
}

static int inside_pipe[2];

static void piping_init(void)
{
	CHECK(pipe(inside_pipe) == 0);
	subject_mark("piped");
	subject_settle("init");
}

static void owner_above(void)
{
	char path[64];
	int fd;

	pid_t init = new_init(piping_init);
	subject_wait("init");
	int pidfd = (int)syscall(SYS_pidfd_open, init, 0);
	for (int n = 3;; n++) { /* the pipe that it has, which we have not */
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", init, n);
		char link[64] = "";
		CHECK(readlink(path, link, sizeof(link) - 1) > 0);
		if (strncmp(link, "pipe:", 5))
			continue;
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, n, 0);
		break;
	}
	CHECK(fd >= 0 && fcntl(fd, F_SETOWN, getpid()) == 0);
	close(fd);
	close(pidfd);
	subject_checkpoint();
	subject_check_exit(init, 0);
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	return st.st_ino;
}

/* descriptors and binds of namespaces below, also of one that has ended */
static void descriptors(void)
{
	char path[64];
	struct stat st;
	pid_t child;

	private_mounts();
	pid_t init = new_init(idle_init);
	subject_wait("init");
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", init);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int bound = open("bound", O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && bound >= 0 && close(bound) == 0);
	CHECK(mount(path, "bound", NULL, MS_BIND, NULL) == 0);
	CHECK(unshare(CLONE_NEWPID) == 0);
	child = fork();
	if (child == 0)
		_exit(0);
	subject_check_exit(child, 0);
	int ended = open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	CHECK(ended >= 0);
	subject_checkpoint();
	CHECK(fstat(fd, &st) == 0 && st.st_ino == inode_of(path));
	CHECK(inode_of("bound") == inode_of(path));
	CHECK(fstat(ended, &st) == 0 && st.st_ino == inode_of("/proc/self/ns/pid_for_children"));
	CHECK(setns(fd, CLONE_NEWPID) == 0);
	child = fork();
	if (child == 0)
		_exit(getpid() == 2 ? 0 : 1);
	subject_check_exit(child, 0);
	CHECK(umount("bound") == 0);
	end_idle(init);
}

/* the init of a namespace that is stopped, and one in it */
static void stopped_init(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		subject_settle("child");
		_exit(7);
	}
	subject_wait("child");
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	subject_settle("init");
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK(kill(pid, SIGCONT) == 0);
	subject_check_exit(pid, 7);
}

static void stopped(void)
{
	int status;
	pid_t pid = new_init(stopped_init);

	subject_wait("init");
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	subject_checkpoint();
	CHECK(kill(pid, SIGCONT) == 0);
	subject_check_exit(pid, 0);
}

/* signals that an init takes, and those that are pending, with the numbers of who sent them */
static void signalled_init(void)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	signal(SIGTERM, SIG_IGN);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(kill(1, SIGUSR1) == 0);
		subject_settle("child");
		_exit(0);
	}
	subject_wait("child");
	subject_mark("inside");
	subject_wait("outside");
	subject_settle("init");
	CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == pid);
	CHECK(sigwaitinfo(&set, &info) == SIGUSR2 && info.si_pid == 0);
	subject_check_exit(pid, 0);
}

static void signals(void)
{
	pid_t init = new_init(signalled_init);

	subject_wait("inside");
	CHECK(kill(init, SIGUSR2) == 0);
	subject_mark("outside");
	subject_wait("init");
	subject_checkpoint();
	subject_check_exit(init, 0);
}

/* one that another outside the set is in */
static void leak(void)
{
	pid_t init = new_init(idle_init);

	subject_wait("init");
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		enter(init);
		pid_t pid = fork();
		if (pid == 0) {
			subject_settle("outsider");
			_exit(0);
		}
		subject_check_exit(pid, 0);
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
	subject_wait("outsider");
	subject_checkpoint();
	end_idle(init);
}

/* a pid namespace that belongs to a user namespace of its own, in which its init is */
static pid_t new_user_init(void (*run)(void))
{
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWUSER, .exit_signal = SIGCHLD };
	char path[64];

	CHECK(chmod(".", 0777) == 0);
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_wait("mapped");
		run();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	write_setting(path, "0 0 10\n");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	write_setting(path, "0 0 10\n");
	subject_mark("mapped");
	return pid;
}

static ino_t owner_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC), owner = ioctl(fd, NS_GET_USERNS);
	CHECK(fd >= 0 && owner >= 0 && fstat(owner, &st) == 0);
	close(fd);
	close(owner);
	return st.st_ino;
}

static void check_owner(pid_t init)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", init);
	CHECK_EQ(owner_of(init), inode_of(path));
	CHECK(owner_of(init) != inode_of("/proc/self/ns/user"));
}

static void user_owner(void)
{
	pid_t pid = new_user_init(small_init);

	subject_wait("init");
	check_owner(pid);
	subject_checkpoint();
	check_owner(pid);
	subject_check_exit(pid, 0);
}

/* with a namespace below, which is the same user namespace's */
static void user_init_with_another(void)
{
	pid_t below = new_init(second_init);

	subject_wait("second");
	subject_settle("init");
	CHECK_EQ(below, 2);
	subject_check_exit(below, 0);
}

static void user_owner_nested(void)
{
	pid_t pid = new_user_init(user_init_with_another);

	subject_wait("init");
	subject_checkpoint();
	check_owner(pid);
	subject_check_exit(pid, 0);
}

static void user_owner_killed(void)
{
	int status;
	pid_t pid = new_user_init(idle_init);

	subject_wait("init");
	CHECK(kill(pid, SIGKILL) == 0);
	await_end(pid);
	subject_checkpoint();
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

static void user_owner_threads(void)
{
	pid_t pid = new_user_init(threaded_init);

	subject_wait("init");
	subject_checkpoint();
	check_owner(pid);
	subject_check_exit(pid, 0);
}

/* one from outside, who is in our user namespace */
static void user_owner_members(void)
{
	pid_t init = new_user_init(idle_init);

	subject_wait("init");
	enter(init);
	pid_t pid = fork();
	if (pid == 0) {
		subject_settle("member");
		_exit(getpid() + 10);
	}
	subject_wait("member");
	enter(getpid());
	subject_checkpoint();
	check_owner(init);
	subject_check_exit(pid, 12);
	end_idle(init);
}

/* whose maker has gone into a user namespace beside it, and has threads */
static void user_owner_maker(void)
{
	pthread_t t;

	pid_t init = new_user_init(idle_init);
	subject_wait("init");
	CHECK(unshare(CLONE_NEWUSER) == 0);
	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
	end_idle(init);
}

static void subtree(void)
{
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	static const struct subject_case cases[] = {
		{ "init", init },
		{ "owners", owners },
		{ "nested", nested },
		{ "nested_session", nested_session },
		{ "siblings", siblings },
		{ "member", member },
		{ "unborn", unborn },
		{ "for_children", for_children },
		{ "ended", ended },
		{ "ended_init", ended_init },
		{ "ended_fault", ended_fault },
		{ "ended_reboot", ended_reboot },
		{ "depth", depth },
		{ "deepest", deepest },
		{ "settings", settings },
		{ "threads", threads },
		{ "zombie", zombie },
		{ "orphan", orphan },
		{ "session", session },
		{ "groups", groups },
		{ "left_groups", left_groups },
		{ "references", references },
		{ "owner_below", owner_below },
		{ "owner_above", owner_above },
		{ "descriptors", descriptors },
		{ "stopped", stopped },
		{ "signals", signals },
		{ "leak", leak },
		{ "user_owner", user_owner },
		{ "user_owner_nested", user_owner_nested },
		{ "user_owner_killed", user_owner_killed },
		{ "user_owner_threads", user_owner_threads },
		{ "user_owner_members", user_owner_members },
		{ "user_owner_maker", user_owner_maker },
		{ "subtree", subtree },
	};

	return SUBJECT_CASES(cases, argc, argv);
}
