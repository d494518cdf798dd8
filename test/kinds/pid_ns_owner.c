/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces that belong to a user namespace of their own, in which their init is.
 *
 * TEST alone round-trip -- alone
 * TEST nested round-trip -- nested
 * TEST killed round-trip -- killed
 * TEST threads round-trip -- threads
 * TEST members round-trip -- members
 * TEST threaded-maker refuse code=user_ns.shape -- maker
 */
#include <linux/nsfs.h>
#include <sys/ioctl.h>

#include "pid_ns.h"

/* a child that is the init of one */
static pid_t new_user_init(void (*run)(void))
{
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWUSER, .exit_signal = SIGCHLD };

	CHECK(chmod(".", 0777) == 0);
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_wait("mapped");
		run();
		_exit(0);
	}
	write_proc(pid, "uid_map", "0 0 10");
	write_proc(pid, "gid_map", "0 0 10");
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

static void alone(void)
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

static void nested(void)
{
	pid_t pid = new_user_init(user_init_with_another);

	subject_wait("init");
	subject_checkpoint();
	check_owner(pid);
	subject_check_exit(pid, 0);
}

static void killed(void)
{
	pid_t pid = new_user_init(idle_init);

	subject_wait("init");
	CHECK(kill(pid, SIGKILL) == 0);
	await_end(pid);
	subject_checkpoint();
	check_killed(pid);
}

static void threads(void)
{
	pid_t pid = new_user_init(threaded_init);

	subject_wait("init");
	subject_checkpoint();
	check_owner(pid);
	subject_check_exit(pid, 0);
}

/* one from outside, who is in our user namespace */
static void members(void)
{
	pid_t init = new_user_init(idle_init);

	subject_wait("init");
	enter_pid_ns(init);
	pid_t pid = fork();
	if (pid == 0) {
		subject_settle("member");
		_exit(getpid() + 10);
	}
	subject_wait("member");
	enter_pid_ns(getpid());
	subject_checkpoint();
	check_owner(init);
	subject_check_exit(pid, 12);
	end_idle(init);
}

/* whose maker has gone into a user namespace beside it, and has threads */
static void maker(void)
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

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(alone), CASE(nested), CASE(killed), CASE(threads),
	                     CASE(members), CASE(maker));
}
