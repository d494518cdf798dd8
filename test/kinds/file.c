/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open file descriptions: position, flags, owner and signal, and who shares them.
 *
 * TEST position round-trip -- position
 * TEST flags round-trip -- flags
 * TEST append round-trip -- append
 * TEST dup round-trip -- dup
 * TEST fork round-trip -- fork
 * TEST siblings round-trip -- siblings
 * TEST apart round-trip -- apart
 * TEST passed round-trip -- passed
 * TEST many-alike round-trip -- many_alike
 * TEST owner-process round-trip -- owner_process
 * TEST owner-thread round-trip -- owner_thread
 * TEST owner-group round-trip -- owner_group
 * TEST owner-user round-trip -- owner_user
 * TEST owner-ended round-trip -- owner_ended
 * TEST async round-trip -- async
 * TEST async-file round-trip -- async_file
 * TEST async-several refuse code=file.async -- async_several
 * TEST lease-several refuse code=file.async -- lease_several
 * TEST owner-outside refuse code=file.owner -- owner_outside
 * TEST group-outside refuse code=file.owner -- group_outside
 * TEST notify refuse code=file.dnotify -- notify
 * TEST leak refuse code=leak -- leak
 * TEST external round-trip restart="--external log=file" except=fd/?,fdinfo/?/pos,file* -- external
 * TEST external-missing restart-refuse code=external.missing before="sh end" -- external
 */
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "cases.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

static int make(const char *name, int flags)
{
	int fd = open(name, O_CREAT | flags, 0666);

	CHECK(fd >= 0);
	return fd;
}

static void position(void)
{
	int fd = make("file", O_RDWR), beyond = make("file", O_RDONLY), last;

	CHECK_EQ(write(fd, "0123456789", 10), 10);
	CHECK_EQ(lseek(fd, 3, SEEK_SET), 3);
	CHECK_EQ(lseek(beyond, 1ll << 40, SEEK_SET), 1ll << 40);
	last = make("file", O_RDONLY);
	CHECK_EQ(lseek(last, 10, SEEK_SET), 10);
	subject_checkpoint();
	char c;
	CHECK_EQ(read(fd, &c, 1), 1);
	CHECK_EQ(c, '3');
	CHECK_EQ(lseek(beyond, 0, SEEK_CUR), 1ll << 40);
	CHECK_EQ(read(last, &c, 1), 0);
}

static void flags(void)
{
	static const int all[] = {
		O_RDONLY,
		O_WRONLY,
		O_RDWR,
		O_RDWR | O_APPEND,
		O_RDWR | O_NONBLOCK,
		O_RDWR | O_DIRECT,
		O_RDONLY | O_NOATIME,
		O_WRONLY | O_DSYNC,
		O_WRONLY | O_SYNC,
		O_RDONLY | O_NOFOLLOW,
		O_PATH,
		3, /* neither reading nor writing, open(2) */
	};
	int fds[sizeof(all) / sizeof(all[0])], shown[sizeof(all) / sizeof(all[0])];
	unsigned n = sizeof(all) / sizeof(all[0]);

	close(make("file", O_RDWR));
	for (unsigned i = 0; i < n; i++) {
		fds[i] = open("file", all[i] | (i % 2 ? O_CLOEXEC : 0));
		CHECK(fds[i] >= 0);
		shown[i] = fcntl(fds[i], F_GETFL);
	}
	subject_checkpoint();
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(fcntl(fds[i], F_GETFL), shown[i]);
		CHECK_EQ(fcntl(fds[i], F_GETFD), i % 2 ? FD_CLOEXEC : 0);
	}
}

static void append(void)
{
	struct stat st;
	int fd = make("file", O_WRONLY | O_APPEND), other = make("file", O_RDWR);

	CHECK_EQ(write(fd, "one", 3), 3);
	subject_checkpoint();
	CHECK_EQ(pwrite(other, "longer than one", 15, 0), 15);
	CHECK_EQ(write(fd, "two", 3), 3);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 18);
}

/* a move through one descriptor is seen through the other, and only through that */
static void check_shared(int a, int b, bool shared)
{
	off_t before = lseek(b, 0, SEEK_CUR);

	CHECK_EQ(lseek(a, 4711, SEEK_SET), 4711);
	CHECK_EQ(lseek(b, 0, SEEK_CUR), shared ? 4711 : before);
	CHECK_EQ(lseek(a, 0, SEEK_SET), 0);
}

static void duplicate(void)
{
	int a = make("file", O_RDWR), b = dup(a), c = make("file", O_RDWR),
	    d = fcntl(c, F_DUPFD, 50);

	subject_checkpoint();
	check_shared(a, b, true);
	check_shared(a, c, false);
	check_shared(c, d, true);
	CHECK_EQ(d, 50);
}

static int finish(pid_t child)
{
	int status;

	CHECK_EQ(waitpid(child, &status, 0), child);
	return status;
}

/* the child moves what both share */
static void forked(void)
{
	int shared = make("file", O_RDWR), own = make("file", O_RDWR);

	close(own);
	pid_t child = fork();
	if (child == 0) {
		CHECK_EQ(make("file", O_RDWR), own);
		subject_settle("child");
		CHECK_EQ(lseek(shared, 123, SEEK_SET), 123);
		CHECK_EQ(lseek(own, 456, SEEK_SET), 456);
		_exit(0);
	}
	CHECK_EQ(make("file", O_RDWR), own);
	subject_wait("child");
	subject_checkpoint();
	CHECK_EQ(finish(child), 0);
	CHECK_EQ(lseek(shared, 0, SEEK_CUR), 123);
	CHECK_EQ(lseek(own, 0, SEEK_CUR), 0);
}

/* shared by two children, closed in the parent */
static void siblings(void)
{
	int fd = make("file", O_RDWR), marker;
	pid_t children[2];

	for (int i = 0; i < 2; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			subject_settle(i ? "child1" : "child0");
			if (i == 0) {
				CHECK_EQ(lseek(fd, 99, SEEK_SET), 99);
				close(make("moved", O_WRONLY));
			}
			subject_wait("moved");
			CHECK_EQ(lseek(fd, 0, SEEK_CUR), 99);
			_exit(0);
		}
	}
	close(fd);
	marker = make("marker", O_RDWR); /* the same number in the parent is another file */
	CHECK_EQ(marker, fd);
	subject_wait("child0");
	subject_wait("child1");
	subject_checkpoint();
	CHECK_EQ(finish(children[0]), 0);
	CHECK_EQ(finish(children[1]), 0);
	CHECK_EQ(lseek(marker, 0, SEEK_CUR), 0);
}

/* equal in all that /proc shows, yet not the same */
static void apart(void)
{
	int a = make("file", O_RDWR), b = make("file", O_RDWR);

	pid_t child = fork();
	if (child == 0) {
		subject_settle("child");
		check_shared(b, a, false);
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK_EQ(finish(child), 0);
	check_shared(a, b, false);
}

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char[]){ "x" }, 1 };
	struct msghdr message = { .msg_iov = &iov,
		                  .msg_iovlen = 1,
		                  .msg_control = &control,
		                  .msg_controllen = sizeof(control) };

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	CHECK_EQ(sendmsg(socket, &message, 0), 1);
}

static int receive_fd(int socket)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte;
	int fd;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov,
		                  .msg_iovlen = 1,
		                  .msg_control = &control,
		                  .msg_controllen = sizeof(control) };

	CHECK_EQ(recvmsg(socket, &message, 0), 1);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(int));
	return fd;
}

/* from child to parent, against the way that fork goes */
static void passed(void)
{
	int pair[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid_t child = fork();
	if (child == 0) {
		int fd = make("file", O_RDWR);
		send_fd(pair[1], fd);
		close(pair[0]);
		close(pair[1]);
		subject_settle("child");
		CHECK_EQ(lseek(fd, 77, SEEK_SET), 77);
		_exit(0);
	}
	int fd = receive_fd(pair[0]);
	close(pair[0]);
	close(pair[1]);
	subject_wait("child");
	subject_checkpoint();
	CHECK_EQ(finish(child), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 77);
}

/* many candidates for the same: each pair of neighbours is one description */
static void many_alike(void)
{
	int fds[400];

	for (int i = 0; i < 400; i += 2) {
		fds[i] = make("file", O_RDWR);
		fds[i + 1] = dup(fds[i]);
	}
	subject_checkpoint();
	for (int i = 0; i < 400; i += 2)
		CHECK_EQ(lseek(fds[i], i + 1, SEEK_SET), i + 1);
	for (int i = 0; i < 400; i += 2)
		CHECK_EQ(lseek(fds[i + 1], 0, SEEK_CUR), i + 1);
}

/* ---- who gets signals ---- */

static void set_owner(int fd, int type, pid_t pid)
{
	struct f_owner_ex owner = { type, pid };

	CHECK_EQ(fcntl(fd, F_SETOWN_EX, &owner), 0);
}

static void check_owner(int fd, int type, pid_t pid, uid_t uid, uid_t euid)
{
	struct f_owner_ex owner;
	uid_t uids[2];

	CHECK_EQ(fcntl(fd, F_GETOWN_EX, &owner), 0);
	CHECK_EQ(owner.type, type);
	CHECK_EQ(owner.pid, pid);
	CHECK_EQ(fcntl(fd, F_GETOWNER_UIDS, uids), 0);
	CHECK_EQ(uids[0], uid);
	CHECK_EQ(uids[1], euid);
}

static void owner_process(void)
{
	int fd = make("file", O_RDWR), other = make("file", O_RDWR);

	pid_t child = fork();
	if (child == 0) {
		subject_settle("child");
		subject_wait("checked");
		_exit(0);
	}
	subject_wait("child");
	set_owner(fd, F_OWNER_PID, child);
	CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN + 3), 0);
	set_owner(other, F_OWNER_PID, getpid());
	subject_checkpoint();
	check_owner(fd, F_OWNER_PID, child, 0, 0);
	CHECK_EQ(fcntl(fd, F_GETSIG), SIGRTMIN + 3);
	check_owner(other, F_OWNER_PID, getpid(), 0, 0);
	CHECK_EQ(fcntl(other, F_GETSIG), 0);
	subject_mark("checked");
	CHECK_EQ(finish(child), 0);
}

static void *thread(void *arg)
{
	subject_use_stack();
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	subject_settle("thread");
	subject_wait("checked");
	return NULL;
}

static void owner_thread(void)
{
	int fd = make("file", O_RDWR);
	pthread_t t;
	pid_t tid;

	CHECK_EQ(pthread_create(&t, NULL, thread, &tid), 0);
	subject_wait("thread");
	set_owner(fd, F_OWNER_TID, tid);
	subject_checkpoint();
	check_owner(fd, F_OWNER_TID, tid, 0, 0);
	subject_mark("checked");
	pthread_join(t, NULL);
}

static void owner_group(void)
{
	int fd = make("file", O_RDWR);

	set_owner(fd, F_OWNER_PGRP, getpgrp());
	subject_checkpoint();
	check_owner(fd, F_OWNER_PGRP, getpgrp(), 0, 0);
}

/* signals are sent with the rights of who asked for them */
static void owner_user(void)
{
	int fd = make("file", O_RDWR), child_fd = make("file", O_RDWR);

	CHECK_EQ(setresuid(1000, 1001, 0), 0);
	set_owner(fd, F_OWNER_PID, getpid());
	CHECK_EQ(setresuid(0, 0, 0), 0);
	set_owner(child_fd, F_OWNER_PID, getpid());
	subject_checkpoint();
	check_owner(fd, F_OWNER_PID, getpid(), 1000, 1001);
	check_owner(child_fd, F_OWNER_PID, getpid(), 0, 0);
}

static void owner_ended(void)
{
	int fd = make("file", O_RDWR);

	pid_t child = fork();
	if (child == 0) {
		subject_wait("set");
		_exit(0);
	}
	set_owner(fd, F_OWNER_PID, child);
	subject_mark("set");
	finish(child);
	subject_checkpoint();
	struct f_owner_ex owner;
	CHECK_EQ(fcntl(fd, F_GETOWN_EX, &owner), 0);
	CHECK_EQ(owner.pid, 0);
}

/* readiness of a pipe is told by a signal with the descriptor's number */
static void async(void)
{
	sigset_t set;
	siginfo_t info;
	int ends[2];

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(dup2(ends[0], 30), 30);
	close(ends[0]);
	set_owner(30, F_OWNER_PID, getpid());
	CHECK_EQ(fcntl(30, F_SETSIG, SIGRTMIN), 0);
	CHECK_EQ(fcntl(30, F_SETFL, O_ASYNC), 0);
	int shown = fcntl(30, F_GETFL);
	subject_checkpoint();
	CHECK_EQ(fcntl(30, F_GETFL), shown);
	struct timespec now = { 0 };
	CHECK_EQ(sigtimedwait(&set, NULL, &now), -1);
	CHECK_EQ(write(ends[1], "x", 1), 1);
	CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);
	CHECK_EQ(info.si_fd, 30);
	CHECK_EQ(info.si_code, POLL_IN);
}

/* the number is that of either descriptor */
static void async_several(void)
{
	int ends[2];

	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(dup2(ends[0], 30), 30);
	CHECK_EQ(fcntl(30, F_SETSIG, SIGRTMIN), 0);
	CHECK_EQ(fcntl(30, F_SETFL, O_ASYNC), 0);
	subject_checkpoint();
}

static void lease_several(void)
{
	int fd = make("file", O_RDWR);

	CHECK_EQ(dup2(fd, 30), 30);
	CHECK_EQ(fcntl(30, F_SETSIG, SIGRTMIN), 0);
	CHECK_EQ(fcntl(30, F_SETLEASE, F_WRLCK), 0);
	subject_checkpoint();
}

/* of a regular file the flag has no effect, and is kept all the same */
static void async_file(void)
{
	int fd = make("file", O_RDWR | O_ASYNC), shown = fcntl(fd, F_GETFL);

	CHECK(shown & O_ASYNC);
	subject_checkpoint();
	CHECK_EQ(fcntl(fd, F_GETFL), shown);
}

/* a process that is not of the set: its parent has ended. It has nothing open of ours but @fd */
static pid_t outsider(int fd)
{
	int ends[2];
	pid_t pid;

	CHECK_EQ(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		pid = fork();
		if (pid == 0) {
			for (int i = 0; i < 100; i++)
				if (i != fd && i != ends[1])
					close(i);
			setsid();
			pid = getpid();
			if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
				_exit(1);
			close(ends[1]);
			subject_wait_go();
			_exit(0);
		}
		_exit(0);
	}
	finish(child);
	CHECK_EQ(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
	close(ends[1]);
	CHECK_EQ(read(ends[0], &pid, 1), 0); /* it has closed its end, too */
	close(ends[0]);
	return pid;
}

static void owner_outside(void)
{
	int fd = make("file", O_RDWR);
	pid_t pid = outsider(-1);

	set_owner(fd, F_OWNER_PID, pid);
	subject_checkpoint();
	struct f_owner_ex owner;
	CHECK_EQ(fcntl(fd, F_GETOWN_EX, &owner), 0);
}

static void group_outside(void)
{
	int fd = make("file", O_RDWR);
	pid_t pid = outsider(-1);

	set_owner(fd, F_OWNER_PGRP, pid);
	subject_checkpoint();
}

static void notify(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	CHECK_EQ(fcntl(fd, F_NOTIFY, DN_RENAME | DN_MULTISHOT), 0);
	signal(SIGIO, SIG_IGN);
	subject_checkpoint();
}

/* ends the outsider, and waits until it has: a refused restart must leave nobody */
static void write_end(pid_t pid)
{
	FILE *f = fopen("end", "we");

	CHECK(f);
	fprintf(f, "touch go\nuntil grep -q ') Z ' /proc/%d/stat; do :; done 2>&-\n", pid);
	fclose(f);
}

static void leak(void)
{
	outsider(make("file", O_RDWR));
	subject_checkpoint();
}

static void external(void)
{
	struct stat st;
	int fd = make("file", O_RDWR | O_APPEND);

	write_end(outsider(fd));
	CHECK_EQ(fstat(fd, &st), 0);
	subject_options("checkpoint", "--external file:[%u:%u:%lu]=log", major(st.st_dev),
	                minor(st.st_dev), (unsigned long)st.st_ino);
	subject_checkpoint();
	CHECK_EQ(write(fd, "x", 1), 1);
	CHECK_EQ(stat("file", &st), 0);
	CHECK_EQ(st.st_size, 1);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(position), CASE(flags), CASE(append),
	                     CASE_NAMED("dup", duplicate), CASE_NAMED("fork", forked),
	                     CASE(siblings), CASE(apart), CASE(passed), CASE(many_alike),
	                     CASE(owner_process), CASE(owner_thread), CASE(owner_group),
	                     CASE(owner_user), CASE(owner_ended), CASE(async), CASE(async_file),
	                     CASE(async_several), CASE(lease_several), CASE(owner_outside),
	                     CASE(group_outside), CASE(notify), CASE(leak), CASE(external));
}
