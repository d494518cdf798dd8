/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File locks and leases, on the file f in the subject's directory. What is held is asked from
 * another process, as a stranger sees it. (lock.conflict is in test/cli/locks.py. Deleted files
 * have new inode numbers, which fdinfo shows with the lock.)
 *
 * TEST posix round-trip -- posix
 * TEST posix_ranges round-trip -- ranges
 * TEST posix_of_child round-trip -- of_child
 * TEST posix_of_relatives round-trip -- relatives
 * TEST posix_shared_table round-trip -- shared_table
 * TEST posix_own_table round-trip needs=pidfd_thread -- own_table
 * TEST posix_second_descriptor round-trip -- second
 * TEST flock_exclusive round-trip -- flock
 * TEST flock_shared round-trip -- flock_shared
 * TEST flock_inherited round-trip -- inherited
 * TEST flock_directory round-trip -- directory
 * TEST ofd round-trip -- ofd
 * TEST both round-trip -- both
 * TEST lease_read round-trip -- lease_read
 * TEST lease_write round-trip -- lease_write
 * TEST waiting_posix round-trip -- waiting_posix
 * TEST waiting_flock round-trip -- waiting_flock
 * TEST posix_waiter_outside refuse code=lock.waiter -- waiter_outside
 * TEST ofd_waiter_outside refuse code=lock.waiter -- ofd_waiter_outside
 * TEST flock_waiter_outside refuse code=lock.waiter -- flock_waiter_outside
 * TEST lease_breaking refuse code=lock.breaking -- breaking
 * TEST deleted round-trip except=fdinfo/?/lock* -- deleted
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

static int open_file(void)
{
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	return fd;
}

static struct flock range(int type, off_t start, off_t size)
{
	return (struct flock){
		.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = size
	};
}

static void set(int fd, int command, int type, off_t start, off_t size)
{
	struct flock l = range(type, start, size);

	CHECK(fcntl(fd, command, &l) == 0);
}

/* the lock that stands in the way of a write lock, as a new description of the file sees it */
static struct flock ask(off_t start, off_t size)
{
	struct flock l = range(F_WRLCK, start, size);
	int fd = open_file();

	CHECK(fcntl(fd, F_OFD_GETLK, &l) == 0);
	close(fd);
	return l;
}

static void expect(off_t at, int type, off_t start, off_t size, pid_t pid)
{
	/*
	 * by a child: closing the file would drop the locks of this process, and its own would not
	 * be in its way
	 */
	pid_t child = fork();

	if (child == 0) {
		struct flock l = ask(at, 1);
		CHECK_EQ(l.l_type, type);
		if (type != F_UNLCK) {
			CHECK_EQ(l.l_start, start);
			CHECK_EQ(l.l_len, size);
			CHECK_EQ(l.l_pid, pid);
		}
		_exit(0);
	}
	subject_check_exit(child, 0);
}

static void expect_flock(const char *path, bool shared, bool exclusive)
{
	pid_t child = fork();

	if (child == 0) {
		int fd = open(path, O_RDONLY);
		CHECK(fd >= 0);
		CHECK_EQ(flock(fd, LOCK_SH | LOCK_NB) == 0, shared);
		CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB) == 0, exclusive);
		_exit(0);
	}
	subject_check_exit(child, 0);
}

static void test_posix(void)
{
	int fd = open_file();

	set(fd, F_SETLK, F_WRLCK, 0, 0);
	expect(5, F_WRLCK, 0, 0, getpid());
	subject_checkpoint();
	expect(5, F_WRLCK, 0, 0, getpid());
	close(open_file());
	expect(5, F_UNLCK, 0, 0, 0);
}

static void test_ranges(void)
{
	int fd = open_file();

	set(fd, F_SETLK, F_RDLCK, 0, 10);
	set(fd, F_SETLK, F_WRLCK, 10, 1);
	set(fd, F_SETLK, F_WRLCK, 100, 50);
	set(fd, F_SETLK, F_RDLCK, 1ll << 40, 0);
	subject_checkpoint();
	expect(9, F_RDLCK, 0, 10, getpid());
	expect(10, F_WRLCK, 10, 1, getpid());
	expect(11, F_UNLCK, 0, 0, 0);
	expect(99, F_UNLCK, 0, 0, 0);
	expect(149, F_WRLCK, 100, 50, getpid());
	expect(150, F_UNLCK, 0, 0, 0);
	expect((1ll << 40) + 7, F_RDLCK, 1ll << 40, 0, getpid());
}

/* the descriptor was inherited, the lock is the child's alone */
static void test_of_child(void)
{
	int fd = open_file();
	pid_t child = fork();

	if (child == 0) {
		set(fd, F_SETLK, F_WRLCK, 3, 4);
		subject_mark("locked");
		subject_wait_go();
		subject_wait("asked");
		_exit(0);
	}
	subject_wait("locked");
	subject_checkpoint();
	expect(3, F_WRLCK, 3, 4, child);
	subject_mark("asked");
	subject_check_exit(child, 0);
	expect(3, F_UNLCK, 0, 0, 0);
}

/* each has its own on the same description */
static void test_relatives(void)
{
	int fd = open_file();
	pid_t child = fork();

	if (child == 0) {
		set(fd, F_SETLK, F_WRLCK, 1, 1);
		subject_mark("locked");
		subject_wait_go();
		subject_wait("asked");
		_exit(0);
	}
	set(fd, F_SETLK, F_WRLCK, 0, 1);
	subject_wait("locked");
	subject_checkpoint();
	expect(0, F_WRLCK, 0, 1, getpid());
	expect(1, F_WRLCK, 1, 1, child);
	expect(2, F_UNLCK, 0, 0, 0);
	subject_mark("asked");
	subject_check_exit(child, 0);
}

static char stack[65536] __attribute__((aligned(16)));

static int lock_in_clone(void *arg)
{
	set(*(int *)arg, F_SETLK, F_WRLCK, 0, 1);
	subject_mark("locked");
	subject_wait_go();
	subject_wait("asked");
	return 0;
}

/* made by a process that shares the table: the lock is the table's, the pid that process's */
static void test_shared_table(void)
{
	int fd = open_file();
	pid_t child = clone(lock_in_clone, stack + sizeof(stack), CLONE_FILES | SIGCHLD, &fd);

	CHECK(child > 0);
	subject_wait("locked");
	subject_checkpoint();
	expect(0, F_WRLCK, 0, 1, child);
	subject_mark("asked");
	subject_check_exit(child, 0);
	/* it is still there; the pid of a dead process is none */
	CHECK_EQ(ask(0, 1).l_type, F_WRLCK);
}

static void *lock_in_thread(void *arg)
{
	CHECK(unshare(CLONE_FILES) == 0);
	set(*(int *)arg, F_SETLK, F_WRLCK, 0, 1);
	subject_mark("locked");
	subject_wait_go();
	subject_wait("asked");
	return NULL;
}

/* a thread with a table of its own: the other threads' closing does not drop its locks */
static void test_own_table(void)
{
	int fd = open_file();
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, lock_in_thread, &fd) == 0);
	subject_wait("locked");
	subject_checkpoint();
	close(fd);
	expect(0, F_WRLCK, 0, 1, getpid());
	subject_mark("asked");
	pthread_join(thread, NULL);
	expect(0, F_UNLCK, 0, 0, 0);
}

/* two descriptions of the file, a lock through each; and descriptors that would come last */
static void test_second(void)
{
	int fd = open_file(), second = open_file(), twin = dup(fd);

	set(fd, F_SETLK, F_WRLCK, 0, 1);
	set(second, F_SETLK, F_WRLCK, 5, 1);
	CHECK(fcntl(second, F_DUPFD, 300) >= 300 && twin >= 0);
	subject_checkpoint();
	expect(0, F_WRLCK, 0, 1, getpid());
	expect(5, F_WRLCK, 5, 1, getpid());
}

static void test_flock(void)
{
	int fd = open_file();

	CHECK(flock(fd, LOCK_EX) == 0);
	subject_checkpoint();
	expect_flock("f", false, false);
	CHECK(flock(fd, LOCK_UN) == 0);
	expect_flock("f", true, true);
}

static void test_flock_shared(void)
{
	int fd = open_file();

	CHECK(flock(fd, LOCK_SH) == 0);
	subject_checkpoint();
	expect_flock("f", true, false);
	CHECK(flock(fd, LOCK_UN) == 0);
	expect_flock("f", true, true);
}

/* it lasts until the last of them has closed the description */
static void test_inherited(void)
{
	int fd = open_file();

	CHECK(flock(fd, LOCK_EX) == 0);
	pid_t child = fork();
	if (child == 0) {
		subject_wait_go();
		subject_wait("asked");
		_exit(0);
	}
	subject_checkpoint();
	close(fd);
	int own = open("f", O_RDONLY);
	CHECK(flock(own, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	subject_mark("asked");
	subject_check_exit(child, 0);
	CHECK(flock(own, LOCK_SH | LOCK_NB) == 0);
}

static void test_directory(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	CHECK(flock(fd, LOCK_EX) == 0);
	subject_checkpoint();
	expect_flock(".", false, false);
}

static void test_ofd(void)
{
	int fd = open_file(), second = open_file();

	set(fd, F_OFD_SETLK, F_WRLCK, 10, 10);
	set(second, F_OFD_SETLK, F_RDLCK, 30, 1);
	subject_checkpoint();
	/* they survive the closing of another description */
	close(open_file());
	expect(10, F_WRLCK, 10, 10, -1);
	expect(30, F_RDLCK, 30, 1, -1);
	close(fd);
	expect(10, F_UNLCK, 0, 0, 0);
	expect(30, F_RDLCK, 30, 1, -1);
}

static void test_both(void)
{
	int fd = open_file();

	set(fd, F_SETLK, F_WRLCK, 0, 1);
	set(fd, F_OFD_SETLK, F_WRLCK, 5, 1);
	CHECK(flock(fd, LOCK_SH) == 0);
	subject_checkpoint();
	expect(0, F_WRLCK, 0, 1, getpid());
	expect(5, F_WRLCK, 5, 1, -1);
	expect_flock("f", true, false);
}

static volatile sig_atomic_t n_breaks;

static void on_break(int signal, siginfo_t *info, void *context)
{
	n_breaks = info->si_fd;
}

/* somebody opens it for writing: the holder is told by the signal it asked for, with its number */
static void expect_break(int fd, int flags)
{
	pid_t child = fork();

	if (child == 0) {
		close(fd);
		int own = open("f", flags | O_NONBLOCK);
		CHECK(own < 0 && errno == EWOULDBLOCK);
		_exit(0);
	}
	subject_check_exit(child, 0);
	CHECK_EQ(n_breaks, fd);
}

static int take_lease(int open_flags, int lease)
{
	close(open_file());
	int fd = open("f", open_flags | O_CLOEXEC);
	struct sigaction action = { .sa_sigaction = on_break, .sa_flags = SA_SIGINFO | SA_RESTART };

	CHECK(fd >= 0);
	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
	CHECK(fcntl(fd, F_SETSIG, SIGRTMIN) == 0);
	CHECK(fcntl(fd, F_SETLEASE, lease) == 0);
	return fd;
}

static void test_lease_read(void)
{
	int fd = take_lease(O_RDONLY, F_RDLCK);

	subject_checkpoint();
	CHECK_EQ(fcntl(fd, F_GETLEASE), F_RDLCK);
	expect_break(fd, O_WRONLY);
}

static void test_lease_write(void)
{
	int fd = take_lease(O_RDWR, F_WRLCK);

	subject_checkpoint();
	CHECK_EQ(fcntl(fd, F_GETLEASE), F_WRLCK);
	expect_break(fd, O_RDONLY);
}

/* who waits inside the set asks again */
static void test_waiting_posix(void)
{
	int fd = open_file(), status;

	set(fd, F_SETLK, F_WRLCK, 0, 1);
	pid_t child = fork();
	if (child == 0) {
		set(fd, F_SETLKW, F_WRLCK, 0, 1);
		_exit(0);
	}
	subject_wait_call(child, SYS_fcntl);
	subject_checkpoint();
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
	set(fd, F_SETLK, F_UNLCK, 0, 1);
	subject_check_exit(child, 0);
}

static void test_waiting_flock(void)
{
	int fd = open_file(), status;

	CHECK(flock(fd, LOCK_EX) == 0);
	pid_t child = fork();
	if (child == 0) {
		close(fd);
		CHECK(flock(open_file(), LOCK_EX) == 0);
		_exit(0);
	}
	subject_wait_call(child, SYS_flock);
	subject_checkpoint();
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
	CHECK(flock(fd, LOCK_UN) == 0);
	subject_check_exit(child, 0);
}

/* runs @wait in a process that is no descendant of this one, until it sleeps in a call */
static void outside(int nr, void (*wait)(void))
{
	int ids[2], status;
	pid_t pid, child;

	CHECK(pipe2(ids, O_CLOEXEC) == 0);
	child = fork();
	if (child == 0) {
		if (fork())
			_exit(0);
		setsid();
		prctl(PR_SET_PDEATHSIG, 0);
		pid = getpid();
		CHECK_EQ(write(ids[1], &pid, sizeof(pid)), sizeof(pid));
		for (int fd = 0; fd < 64; fd++)
			close(fd);
		wait();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_EQ(read(ids[0], &pid, sizeof(pid)), sizeof(pid));
	close(ids[0]);
	close(ids[1]);
	subject_wait_call(pid, nr);
}

static void wait_posix(void)
{
	set(open_file(), F_SETLKW, F_RDLCK, 0, 1);
}

static void wait_ofd(void)
{
	set(open_file(), F_OFD_SETLKW, F_RDLCK, 0, 1);
}

static void wait_flock(void)
{
	flock(open_file(), LOCK_SH);
}

static void wait_open(void)
{
	open("f", O_RDONLY);
}

static void test_waiter_outside(void)
{
	int fd = open_file();

	set(fd, F_SETLK, F_WRLCK, 0, 1);
	outside(SYS_fcntl, wait_posix);
	subject_checkpoint();
}

static void test_ofd_waiter_outside(void)
{
	int fd = open_file();

	set(fd, F_OFD_SETLK, F_WRLCK, 0, 1);
	outside(SYS_fcntl, wait_ofd);
	subject_checkpoint();
}

static void test_flock_waiter_outside(void)
{
	int fd = open_file();

	CHECK(flock(fd, LOCK_EX) == 0);
	outside(SYS_flock, wait_flock);
	subject_checkpoint();
}

static void test_breaking(void)
{
	take_lease(O_RDWR, F_WRLCK);
	outside(SYS_openat, wait_open);
	subject_checkpoint();
}

static void test_deleted(void)
{
	int fd = open_file();

	set(fd, F_SETLK, F_WRLCK, 0, 1);
	CHECK(flock(fd, LOCK_EX) == 0);
	unlink("f");
	subject_checkpoint();
	struct flock l = range(F_WRLCK, 0, 1);
	CHECK(fcntl(fd, F_OFD_GETLK, &l) == 0);
	CHECK_EQ(l.l_type, F_WRLCK);
	CHECK_EQ(l.l_pid, getpid());
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, O_RDONLY);
	CHECK(own >= 0 && flock(own, LOCK_SH | LOCK_NB) < 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(
		argc, argv, TEST_CASE(posix), TEST_CASE(ranges), TEST_CASE(of_child),
		TEST_CASE(relatives), TEST_CASE(shared_table), TEST_CASE(own_table),
		TEST_CASE(second), TEST_CASE(flock), TEST_CASE(flock_shared), TEST_CASE(inherited),
		TEST_CASE(directory), TEST_CASE(ofd), TEST_CASE(both), TEST_CASE(lease_read),
		TEST_CASE(lease_write), TEST_CASE(waiting_posix), TEST_CASE(waiting_flock),
		TEST_CASE(waiter_outside), TEST_CASE(ofd_waiter_outside),
		TEST_CASE(flock_waiter_outside), TEST_CASE(breaking), TEST_CASE(deleted));
}
