/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: a container whose init is the subject; namespaces below, who is in them, and who
 * will be.
 *
 * TEST init round-trip start="unshare -p -f" -- init
 * TEST nested round-trip -- nested
 * TEST nested-container round-trip start="unshare -p -f" -- nested
 * TEST nested-new-pidns round-trip restart="--new-pidns" observe=no -- nested_session
 * TEST siblings round-trip -- siblings
 * TEST member round-trip -- member
 * TEST unborn round-trip -- unborn
 * TEST unborn-container round-trip start="unshare -p -f" -- unborn
 * TEST for-children round-trip -- for_children
 * TEST depth round-trip -- depth
 * TEST deepest round-trip -- deepest
 * TEST settings round-trip -- settings
 * TEST settings-container round-trip start="unshare -p -f" -- settings
 * TEST threads round-trip -- threads
 * TEST stopped round-trip -- stopped
 * TEST leak refuse code=leak -- leak
 */
#include <sys/utsname.h>

#include "pid_ns.h"

/* pids, also those that come next; an orphan that came to the init; signals that it ignores */
static void init(void)
{
	pthread_t t;

	CHECK_EQ(getpid(), 1);
	CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
	subject_wait("thread");
	pid_t pid = new_child(), zombie = fork();
	CHECK(zombie >= 0);
	if (zombie == 0)
		_exit(7);
	CHECK(waitid(P_PID, (id_t)zombie, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	write_text("/proc/sys/kernel/ns_last_pid", "20000");
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

/* one whose init says when it is set up, is checkpointed, and ends well */
static void checkpoint_init(void (*run)(void))
{
	pid_t init = new_init(run);

	subject_wait("init");
	subject_checkpoint();
	subject_check_exit(init, 0);
}

static void nested(void)
{
	checkpoint_init(small_init);
}

static void nested_session(void)
{
	CHECK_EQ(getsid(0), getpid()); /* the runner's doing */
	nested();
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

/* whose parent is outside, as nsenter(1) makes them; one of them has a child there */
static void member(void)
{
	pid_t init = new_init(idle_init);

	subject_wait("init");
	enter_pid_ns(init);
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
	enter_pid_ns(getpid());
	pid_t own = fork();
	if (own == 0)
		_exit(0);
	subject_check_exit(own, 0);
	subject_checkpoint();
	subject_check_exit(pid, 2);
	end_idle(init);
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

#define PID_MAX "/proc/sys/kernel/pid_max"
#define NOEXEC  "/proc/sys/vm/memfd_noexec"

/* of each namespace its own: pid_max since 6.14, memfd_noexec since 6.3 */
static void settings_init(void)
{
	write_text(PID_MAX, "5000");
	write_text(NOEXEC, "1");
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

static void threads(void)
{
	checkpoint_init(threaded_init);
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

/* one that another outside the set is in */
static void leak(void)
{
	pid_t init = new_init(idle_init);

	subject_wait("init");
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		enter_pid_ns(init);
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

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(init), CASE(nested), CASE(nested_session),
	                     CASE(siblings), CASE(member), CASE(unborn), CASE(for_children),
	                     CASE(depth), CASE(deepest), CASE(settings), CASE(threads),
	                     CASE(stopped), CASE(leak));
}
