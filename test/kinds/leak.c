/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pipes and FIFOs that something outside the set holds: refused, or external. The holder is a child
 * that left the set: its parent has ended, so it belongs to init. (What the messages say, and
 * --external NAME=fd:N: test/cli/external.py.)
 *
 * TEST reader refuse code=leak -- reader
 * TEST writer refuse code=leak -- writer
 * TEST second_reader refuse code=leak -- second_reader
 * TEST path_only refuse code=leak -- path_only
 * TEST thread_outside refuse code=leak -- thread
 * TEST dead_leader_outside refuse code=leak -- dead_leader
 * TEST fifo refuse code=leak -- fifo
 * TEST in_flight refuse code=leak -- in_flight
 * TEST fifo_in_flight refuse code=leak -- fifo_in_flight
 * TEST fifo_writer_in_flight refuse code=leak -- fifo_writer_in_flight
 * TEST external round-trip except=fd*,inode*,file* before="mkfifo new" -- external
 * TEST external_reader round-trip except=fd*,inode*,file* before="mkfifo new" -- external_reader
 * TEST external_both round-trip except=fd*,inode*,file* before="mkfifo new" -- external_both
 * TEST external_fifo round-trip except=fd*,inode*,file* before="mkfifo new" -- external_fifo
 * TEST not_supplied restart-refuse code=external.missing -- not_supplied
 * TEST supplied_with_file restart-refuse code=pipe.external before="touch new" -- external
 * TEST supplied_with_nothing restart-refuse code=pipe.external -- external
 * TEST supplied_file restart-refuse code=pipe.external before="touch new" -- external_fifo
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "cases.h"

static unsigned long inode(int fd)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0);
	return st.st_ino;
}

/* closes all but one or two, and lives as long as the subject does */
static void stay(pid_t subject, int keep, int keep_too)
{
	struct pollfd p = { .events = POLLIN };
	int pidfd = pidfd_open(subject, 0);

	CHECK(pidfd >= 0);
	for (int fd = 0; fd < 64; fd++)
		if (fd != keep && fd != keep_too && fd != pidfd)
			close(fd);
	subject_mark("outside");
	p.fd = pidfd;
	while (poll(&p, 1, -1) < 0)
		;
	_exit(0);
}

/* 0 in a process that is not a descendant of the caller any more; else it has called stay() */
static pid_t leave_set(void)
{
	pid_t subject = getpid(), child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		if (fork())
			_exit(0);
		setsid();
		/* init's child now? */
		while (getppid() != 1)
			sched_yield();
		return subject;
	}
	CHECK(waitpid(child, &status, 0) == child);
	return 0;
}

static void held_outside(int fd, int too)
{
	pid_t subject = leave_set();

	if (subject)
		stay(subject, fd, too);
	subject_wait("outside");
}

static void test_reader(void)
{
	int p[2];

	CHECK(pipe(p) == 0);
	held_outside(p[0], -1);
	close(p[0]);
	subject_checkpoint();
	CHECK_EQ(write(p[1], "x", 1), 1);
}

static void test_writer(void)
{
	int p[2];

	CHECK(pipe(p) == 0);
	held_outside(p[1], -1);
	close(p[1]);
	subject_checkpoint();
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK(read(p[0], &(char){ 0 }, 1) < 0 && errno == EAGAIN);
}

static void test_second_reader(void)
{
	int p[2];

	CHECK(pipe(p) == 0);
	held_outside(p[0], -1);
	subject_checkpoint();
}

/* not an end, but one can be opened with it */
static void test_path_only(void)
{
	char path[40];
	int p[2];

	CHECK(pipe(p) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	int fd = open(path, O_PATH);
	CHECK(fd >= 0);
	held_outside(fd, -1);
	close(fd);
	subject_checkpoint();
}

struct scene {
	pid_t subject;
	int fd;
	pthread_barrier_t barrier;
};

static void *own_table(void *arg)
{
	struct scene *s = arg;

	CHECK(unshare(CLONE_FILES) == 0);
	pthread_barrier_wait(&s->barrier);
	stay(s->subject, s->fd, -1);
	return NULL;
}

/* the leader's table does not have it */
static void test_thread(void)
{
	struct scene s;
	pthread_t thread;
	int p[2];

	CHECK(pipe(p) == 0);
	s.subject = leave_set();
	s.fd = p[0];
	if (s.subject) {
		CHECK(pthread_barrier_init(&s.barrier, NULL, 2) == 0);
		CHECK(pthread_create(&thread, NULL, own_table, &s) == 0);
		pthread_barrier_wait(&s.barrier);
		close(p[0]);
		close(p[1]);
		pthread_join(thread, NULL);
	}
	subject_wait("outside");
	close(p[0]);
	subject_checkpoint();
}

static void *shared_table(void *arg)
{
	struct scene *s = arg;

	/* when the leader has exited, the process shows as a zombie */
	char path[40], text[512] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", getpid());
	while (!strstr(text, ") Z ")) {
		FILE *f = fopen(path, "re");
		CHECK(f && fgets(text, sizeof(text), f));
		fclose(f);
	}
	stay(s->subject, s->fd, -1);
	return NULL;
}

static void test_dead_leader(void)
{
	struct scene s;
	pthread_t thread;
	int p[2];

	CHECK(pipe(p) == 0);
	s.subject = leave_set();
	s.fd = p[0];
	if (s.subject) {
		CHECK(pthread_create(&thread, NULL, shared_table, &s) == 0);
		pthread_exit(NULL);
	}
	subject_wait("outside");
	close(p[0]);
	subject_checkpoint();
}

static int open_fifo(int flags)
{
	int fd = open("f", flags | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static void test_fifo(void)
{
	CHECK(mkfifo("f", 0600) == 0);
	int reader = open_fifo(O_RDONLY | O_NONBLOCK), writer = open_fifo(O_WRONLY);
	held_outside(reader, -1);
	close(reader);
	subject_checkpoint();
	CHECK_EQ(write(writer, "x", 1), 1);
}

/* sent over a socket, not received: nobody has it in a table */
static void send_away(int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
		                  .cmsg_type = SCM_RIGHTS,
		                  .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { (char[]){ 'x' }, 1 };
	struct msghdr message = { .msg_iov = &iov,
		                  .msg_iovlen = 1,
		                  .msg_control = &control,
		                  .msg_controllen = sizeof(control) };
	int sockets[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	CHECK_EQ(sendmsg(sockets[0], &message, 0), 1);
	close(fd);
	held_outside(sockets[0], sockets[1]);
	close(sockets[0]);
	close(sockets[1]);
}

static void test_in_flight(void)
{
	int p[2], q[2];

	CHECK(pipe(p) == 0 && pipe(q) == 0);
	send_away(p[0]);
	subject_checkpoint();
	CHECK_EQ(write(p[1], "x", 1), 1);
}

static void test_fifo_in_flight(void)
{
	CHECK(mkfifo("f", 0600) == 0);
	int reader = open_fifo(O_RDONLY | O_NONBLOCK), writer = open_fifo(O_WRONLY);
	send_away(reader);
	subject_checkpoint();
	CHECK_EQ(write(writer, "x", 1), 1);
}

static void test_fifo_writer_in_flight(void)
{
	CHECK(mkfifo("f", 0600) == 0);
	int reader = open_fifo(O_RDONLY | O_NONBLOCK), writer = open_fifo(O_WRONLY);
	send_away(writer);
	subject_checkpoint();
	CHECK(read(reader, &(char){ 0 }, 1) < 0 && errno == EAGAIN);
}

static void supply(void)
{
	subject_options("restart", "--external outside=new");
}

/* what is in it stays with the other end, which is somebody else's */
static void test_external(void)
{
	char c;
	int p[2];

	CHECK(pipe2(p, O_NONBLOCK) == 0);
	held_outside(p[0], -1);
	CHECK_EQ(write(p[1], "old", 3), 3);
	subject_options("checkpoint", "--external pipe:[%lu]=outside", inode(p[1]));
	supply();
	close(p[0]);
	subject_checkpoint();
	int reader = open("new", O_RDONLY | O_NONBLOCK);
	CHECK(reader >= 0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK(read(reader, &c, 1) == 1 && c == 'x');
	CHECK(read(reader, &c, 1) < 0 && errno == EAGAIN);
	CHECK_EQ(fcntl(p[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY | O_NONBLOCK);
	close(p[1]);
	CHECK_EQ(read(reader, &c, 1), 0);
}

static void test_external_reader(void)
{
	char c;
	int p[2];

	CHECK(pipe(p) == 0);
	held_outside(p[1], -1);
	subject_options("checkpoint", "--external pipe:[%lu]=outside", inode(p[0]));
	supply();
	close(p[1]);
	subject_checkpoint();
	int writer = open("new", O_WRONLY | O_NONBLOCK);
	CHECK(writer >= 0);
	CHECK_EQ(write(writer, "x", 1), 1);
	CHECK(read(p[0], &c, 1) == 1 && c == 'x');
	CHECK_EQ(fcntl(p[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	close(writer);
	CHECK_EQ(read(p[0], &c, 1), 0);
}

static void test_external_both(void)
{
	char c;
	int p[2];

	CHECK(pipe(p) == 0);
	held_outside(p[0], -1);
	subject_options("checkpoint", "--external pipe:[%lu]=outside", inode(p[0]));
	supply();
	subject_checkpoint();
	int other = open("new", O_RDWR | O_NONBLOCK);
	CHECK(other >= 0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK(read(other, &c, 1) == 1 && c == 'x');
	CHECK_EQ(write(other, "y", 1), 1);
	CHECK(read(p[0], &c, 1) == 1 && c == 'y');
}

static void test_external_fifo(void)
{
	struct stat st;
	char c;

	CHECK(mkfifo("f", 0600) == 0);
	int reader = open_fifo(O_RDONLY | O_NONBLOCK), writer = open_fifo(O_WRONLY);
	held_outside(reader, -1);
	CHECK(fstat(writer, &st) == 0);
	subject_options("checkpoint", "--external file:[%u:%u:%lu]=outside", major(st.st_dev),
	                minor(st.st_dev), st.st_ino);
	supply();
	close(reader);
	subject_checkpoint();
	reader = open("new", O_RDONLY | O_NONBLOCK);
	CHECK(reader >= 0);
	CHECK_EQ(write(writer, "x", 1), 1);
	CHECK(read(reader, &c, 1) == 1 && c == 'x');
}

static void test_not_supplied(void)
{
	int p[2];

	CHECK(pipe(p) == 0);
	held_outside(p[0], -1);
	subject_options("checkpoint", "--external pipe:[%lu]=outside", inode(p[0]));
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(
		argc, argv, TEST_CASE(reader), TEST_CASE(writer), TEST_CASE(second_reader),
		TEST_CASE(path_only), TEST_CASE(thread), TEST_CASE(dead_leader), TEST_CASE(fifo),
		TEST_CASE(in_flight), TEST_CASE(fifo_in_flight), TEST_CASE(fifo_writer_in_flight),
		TEST_CASE(external), TEST_CASE(external_reader), TEST_CASE(external_both),
		TEST_CASE(external_fifo), TEST_CASE(not_supplied));
}
