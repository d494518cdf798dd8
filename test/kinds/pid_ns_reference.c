/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: what refers to a process by its number, or to the namespace.
 *
 * TEST owners round-trip start="unshare -p -f" -- owners
 * TEST references round-trip -- references
 * TEST owner-below round-trip -- owner_below
 * TEST owner-above refuse code=file.owner -- owner_above
 * TEST descriptors round-trip restart="--mntns new" -- descriptors
 * TEST signals round-trip -- signals
 * TEST references-container round-trip start="unshare -p -f" -- references
 */
#include <time.h>

#include "mounts.h"
#include "pid_ns.h"

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
	pid_t pid = new_child();
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

/* numbers that the kernel keeps as references, in a namespace below */
static void references(void)
{
	pid_t init = new_init(owners);

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
	CHECK(fd >= 0);
	write_text("bound", "");
	bind_mount(path, "bound");
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

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(owners), CASE(references), CASE(owner_below),
	                     CASE(owner_above), CASE(descriptors), CASE(signals));
}
