/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pipes. The observer leaves out pipes' inode numbers: they are on the list of what cannot come
 * back.
 *
 * TEST empty round-trip -- empty
 * TEST contents round-trip -- contents
 * TEST partial round-trip -- partial
 * TEST full round-trip -- full
 * TEST packets round-trip -- packets
 * TEST capacity round-trip -- capacity
 * TEST large round-trip -- large
 * TEST no_writer round-trip -- no_writer
 * TEST no_reader round-trip -- no_reader
 * TEST unread_without_reader round-trip -- unread
 * TEST blocked_reader round-trip -- blocked_reader
 * TEST blocked_writer round-trip -- blocked_writer
 * TEST holders round-trip -- holders
 * TEST read_write round-trip -- read_write
 * TEST reopened round-trip -- reopened
 * TEST path round-trip -- path
 * TEST owner round-trip -- owner
 * TEST flags round-trip -- flags
 * TEST spliced round-trip -- spliced
 * TEST two_pipes round-trip -- two_pipes
 * TEST above_max restart-refuse code=pipe.capacity -- above_max
 * TEST spliced_large round-trip -- spliced_large
 * TEST watch_queue refuse code=pipe.watch-queue -- watch_queue
 */
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

#define MIB       (1 << 20)
#define LARGEFILE 0100000

static void make(int fds[2], int flags)
{
	CHECK(pipe2(fds, flags) == 0);
}

static char pattern(size_t i)
{
	return (char)(i * 7 + i / 4096);
}

static char room[2 * MIB];

static void put(int fd, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		room[i] = pattern(from + i);
	CHECK_EQ(write(fd, room, n), n);
}

/* one read(2) gives exactly these */
static void get(int fd, size_t from, size_t n)
{
	CHECK_EQ(read(fd, room, sizeof(room)), n);
	for (size_t i = 0; i < n; i++)
		if (room[i] != pattern(from + i))
			FAIL("byte %zu differs", i);
}

static int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void expect_error(ssize_t result, int error)
{
	CHECK_EQ(result, -1);
	CHECK_EQ(errno, error);
}

static void test_empty(void)
{
	int p[2];

	make(p, O_NONBLOCK);
	subject_checkpoint();
	expect_error(read(p[0], &(char){ 0 }, 1), EAGAIN);
	CHECK_EQ(fcntl(p[0], F_GETPIPE_SZ), 65536);
	put(p[1], 0, 10);
	get(p[0], 0, 10);
}

static void test_contents(void)
{
	int p[2];

	make(p, 0);
	put(p[1], 0, 10);
	put(p[1], 10, 9990);
	subject_checkpoint();
	get(p[0], 0, 10000);
	CHECK_EQ(events(p[0]), 0);
}

/* the first page is half read, the last half written */
static void test_partial(void)
{
	int p[2], n;

	make(p, 0);
	put(p[1], 0, 9000);
	CHECK_EQ(read(p[0], (char[100]){ 0 }, 100), 100);
	subject_checkpoint();
	CHECK(ioctl(p[0], FIONREAD, &n) == 0);
	CHECK_EQ(n, 8900);
	put(p[1], 9000, 50);
	get(p[0], 100, 8950);
}

/* a byte read of a full pipe makes no room, a page does */
static void test_full(void)
{
	int p[2];

	make(p, O_NONBLOCK);
	put(p[1], 0, 65536);
	CHECK_EQ(read(p[0], &(char){ 0 }, 1), 1);
	CHECK_EQ(events(p[1]), 0);
	subject_checkpoint();
	CHECK_EQ(events(p[1]), 0);
	expect_error(write(p[1], "", 1), EAGAIN);
	CHECK_EQ(read(p[0], (char[4095]){ 0 }, 4095), 4095);
	CHECK_EQ(events(p[1]), POLLOUT);
	put(p[1], 65536, 4096);
	get(p[0], 4096, 65536);
}

static void test_packets(void)
{
	static const size_t sizes[] = { 1, 1, 4096, 17, 4095, 4096, 2 };
	size_t at = 0;
	int p[2];

	make(p, O_DIRECT | O_NONBLOCK);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		put(p[1], at, sizes[i]);
		at += sizes[i];
	}
	/* then a page of stream, which the packet behind it cannot grow */
	CHECK(fcntl(p[1], F_SETFL, 0) == 0);
	put(p[1], at, 4096);
	CHECK(fcntl(p[1], F_SETFL, O_DIRECT) == 0);
	put(p[1], at + 4096, 5);
	put(p[1], at + 4101, 6);
	subject_checkpoint();
	CHECK_EQ(fcntl(p[1], F_GETFL), O_WRONLY | O_DIRECT);
	at = 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		get(p[0], at, sizes[i]);
		at += sizes[i];
	}
	get(p[0], at, 4101);
	get(p[0], at + 4101, 6);
	expect_error(read(p[0], &(char){ 0 }, 1), EAGAIN);
	put(p[1], 0, 3);
	put(p[1], 3, 3);
	get(p[0], 0, 3);
}

static void test_capacity(void)
{
	int p[2], q[2];

	make(p, 0);
	make(q, 0);
	CHECK_EQ(fcntl(p[0], F_SETPIPE_SZ, 4096), 4096);
	CHECK_EQ(fcntl(q[0], F_SETPIPE_SZ, 131072), 131072);
	put(p[1], 0, 4096);
	subject_checkpoint();
	CHECK_EQ(fcntl(p[0], F_GETPIPE_SZ), 4096);
	CHECK_EQ(fcntl(q[0], F_GETPIPE_SZ), 131072);
	CHECK_EQ(events(p[1]), 0);
	get(p[0], 0, 4096);
}

/* as large as anybody may have it, and full: more than one message of an image holds */
static void test_large(void)
{
	int p[2], q[2];

	make(p, 0);
	make(q, O_DIRECT);
	CHECK_EQ(fcntl(p[0], F_SETPIPE_SZ, MIB), MIB);
	CHECK_EQ(fcntl(q[0], F_SETPIPE_SZ, MIB), MIB);
	put(p[1], 0, MIB);
	for (size_t i = 0; i < 256; i++)
		put(q[1], i, 1 + i);
	subject_checkpoint();
	CHECK_EQ(events(p[1]), 0);
	get(p[0], 0, MIB);
	for (size_t i = 0; i < 256; i++)
		get(q[0], i, 1 + i);
}

static void test_no_writer(void)
{
	int p[2], q[2];

	make(p, 0);
	put(p[1], 0, 5);
	close(p[1]);
	make(q, 0);
	close(q[1]);
	subject_checkpoint();
	CHECK_EQ(events(p[0]), POLLIN | POLLHUP);
	get(p[0], 0, 5);
	get(p[0], 0, 0);
	CHECK_EQ(events(q[0]), POLLHUP);
	get(q[0], 0, 0);
}

static void test_no_reader(void)
{
	int p[2];

	signal(SIGPIPE, SIG_IGN);
	make(p, 0);
	close(p[0]);
	subject_checkpoint();
	CHECK_EQ(events(p[1]), POLLOUT | POLLERR);
	expect_error(write(p[1], "", 1), EPIPE);
}

/* nobody can read it but who opens the pipe anew */
static void test_unread(void)
{
	int p[2];

	make(p, 0);
	put(p[1], 0, 5);
	close(p[0]);
	subject_checkpoint();
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p[1]);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	get(fd, 0, 5);
}

static void test_blocked_reader(void)
{
	int p[2], q[2];

	make(p, 0);
	make(q, 0);
	pid_t child = fork();
	if (child == 0) {
		close(p[1]);
		close(q[0]);
		get(p[0], 0, 7);
		put(q[1], 0, 3);
		get(p[0], 0, 0);
		_exit(0);
	}
	close(q[1]);
	subject_wait_call(child, SYS_read);
	subject_checkpoint();
	put(p[1], 0, 7);
	get(q[0], 0, 3);
	close(p[1]);
	subject_check_exit(child, 0);
}

static void test_blocked_writer(void)
{
	int p[2];

	make(p, 0);
	put(p[1], 0, 65536);
	pid_t child = fork();
	if (child == 0) {
		close(p[0]);
		put(p[1], 65536, 4096);
		_exit(0);
	}
	close(p[1]);
	subject_wait_call(child, SYS_write);
	subject_checkpoint();
	for (size_t at = 0; at < 65536 + 4096; at += 4096) {
		CHECK_EQ(read(p[0], room, 4096), 4096);
		for (size_t i = 0; i < 4096; i++)
			CHECK(room[i] == pattern(at + i));
	}
	get(p[0], 0, 0);
	subject_check_exit(child, 0);
}

static void test_holders(void)
{
	int p[2];

	make(p, 0);
	put(p[1], 0, 20);
	pid_t children[5];
	for (int i = 0; i < 5; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			if (i % 2)
				close(p[0]);
			subject_wait_go();
			put(p[1], 20 + (size_t)i, 1);
			_exit(0);
		}
	}
	int twin = dup(p[0]);
	subject_checkpoint();
	for (int i = 0; i < 5; i++)
		subject_check_exit(children[i], 0);
	close(p[1]);
	CHECK_EQ(read(twin, (char[25]){ 0 }, 25), 25);
	get(p[0], 0, 0);
}

static int reopen(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int opened = open(path, flags);
	CHECK(opened >= 0);
	return opened;
}

static void test_read_write(void)
{
	int p[2];

	make(p, 0);
	int both = reopen(p[0], O_RDWR);
	close(p[0]);
	close(p[1]);
	put(both, 0, 4);
	subject_checkpoint();
	CHECK_EQ(fcntl(both, F_GETFL), O_RDWR | LARGEFILE);
	put(both, 4, 4);
	get(both, 0, 8);
}

/* open file descriptions of one pipe differ in their flags */
static void test_reopened(void)
{
	int p[2];

	make(p, 0);
	int second = reopen(p[0], O_RDONLY | O_NONBLOCK), third = reopen(p[0], O_WRONLY | O_APPEND);
	subject_checkpoint();
	CHECK_EQ(fcntl(p[0], F_GETFL), O_RDONLY);
	CHECK_EQ(fcntl(p[1], F_GETFL), O_WRONLY);
	CHECK_EQ(fcntl(second, F_GETFL), O_RDONLY | O_NONBLOCK | LARGEFILE);
	CHECK_EQ(fcntl(third, F_GETFL), O_WRONLY | O_APPEND | LARGEFILE);
	put(third, 0, 3);
	get(second, 0, 3);
	expect_error(read(second, &(char){ 0 }, 1), EAGAIN);
	close(p[1]);
	close(third);
	get(p[0], 0, 0);
}

static void test_path(void)
{
	int p[2];

	make(p, 0);
	int path = reopen(p[0], O_PATH);
	put(p[1], 0, 6);
	subject_checkpoint();
	CHECK(fcntl(path, F_GETFL) & O_PATH);
	get(reopen(path, O_RDONLY), 0, 6);
}

static void test_owner(void)
{
	struct stat st;
	int p[2];

	make(p, 0);
	CHECK(fchown(p[0], 65534, 12) == 0);
	CHECK(fchmod(p[1], 0642) == 0);
	subject_checkpoint();
	CHECK(fstat(p[1], &st) == 0);
	CHECK_EQ(st.st_mode, S_IFIFO | 0642);
	CHECK_EQ(st.st_uid, 65534);
	CHECK_EQ(st.st_gid, 12);
}

static void test_flags(void)
{
	int p[2];

	make(p, O_CLOEXEC);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK(fcntl(p[1], F_SETFD, 0) == 0);
	subject_checkpoint();
	CHECK_EQ(fcntl(p[0], F_GETFL), O_RDONLY | O_NONBLOCK);
	CHECK_EQ(fcntl(p[1], F_GETFL), O_WRONLY);
	CHECK_EQ(fcntl(p[0], F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(p[1], F_GETFD), 0);
}

/* every slot in use, each with few bytes */
static void test_spliced(void)
{
	int p[2], from[2];

	make(p, O_NONBLOCK);
	make(from, O_NONBLOCK);
	for (size_t i = 0; i < 16; i++) {
		put(from[1], i * 3, 3);
		CHECK_EQ(splice(from[0], NULL, p[1], NULL, 3, 0), 3);
	}
	CHECK_EQ(events(p[1]), 0);
	subject_checkpoint();
	CHECK_EQ(events(p[1]), 0);
	get(p[0], 0, 48);
}

/* a child between two pipes: each end is one of its own */
static void test_two_pipes(void)
{
	int to[2], from[2];

	make(to, 0);
	make(from, 0);
	pid_t child = fork();
	if (child == 0) {
		char c;
		close(to[1]);
		close(from[0]);
		while (read(to[0], &c, 1) == 1)
			CHECK_EQ(write(from[1], &c, 1), 1);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	subject_checkpoint();
	put(to[1], 0, 1000);
	close(to[1]);
	subject_check_exit(child, 0);
	get(from[0], 0, 1000);
	get(from[0], 0, 0);
}

static void set_pipe_max(const char *value)
{
	int fd = open("/proc/sys/fs/pipe-max-size", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		SKIP("fs.pipe-max-size cannot be changed here: %s", strerror(errno));
	close(fd);
}

static void test_above_max(void)
{
	int p[2];

	make(p, 0);
	if (fcntl(p[0], F_SETPIPE_SZ, 2 * MIB) == 2 * MIB)
		SKIP("CAP_SYS_RESOURCE is there");
	/* the limit is the machine's: never below what it was, and only for the moment */
	set_pipe_max("2097152");
	CHECK_EQ(fcntl(p[0], F_SETPIPE_SZ, 2 * MIB), 2 * MIB);
	set_pipe_max("1048576");
	put(p[1], 0, 5);
	subject_checkpoint();
	get(p[0], 0, 5);
}

/* buffers of more than a page, as splice(2) takes them from a socket */
static void test_spliced_large(void)
{
	static char bytes[MIB];
	int p[2], s[2], size = 4 * MIB, n = 0;

	make(p, O_NONBLOCK);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	CHECK(fcntl(s[0], F_SETFL, O_NONBLOCK) == 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(i);
	ssize_t written = write(s[0], bytes, sizeof(bytes));
	CHECK(written > 0);
	while (splice(s[1], NULL, p[1], NULL, MIB, SPLICE_F_NONBLOCK) > 0)
		;
	close(s[0]);
	close(s[1]);
	CHECK(ioctl(p[0], FIONREAD, &n) == 0);
	if (n <= 65536)
		SKIP("splice gives no buffers larger than a page: %d bytes", n);
	CHECK_EQ(events(p[1]), 0);
	subject_checkpoint();
	CHECK_EQ(events(p[1]), 0);
	int after = 0;
	CHECK(ioctl(p[0], FIONREAD, &after) == 0);
	CHECK_EQ(after, n);
	get(p[0], 0, (size_t)n);
}

static void test_watch_queue(void)
{
	int p[2];

	if (pipe2(p, O_EXCL) < 0)
		SKIP("no watch queues here: %s", strerror(errno));
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(
		argc, argv, TEST_CASE(empty), TEST_CASE(contents), TEST_CASE(partial),
		TEST_CASE(full), TEST_CASE(packets), TEST_CASE(capacity), TEST_CASE(large),
		TEST_CASE(no_writer), TEST_CASE(no_reader), TEST_CASE(unread),
		TEST_CASE(blocked_reader), TEST_CASE(blocked_writer), TEST_CASE(holders),
		TEST_CASE(read_write), TEST_CASE(reopened), TEST_CASE(path), TEST_CASE(owner),
		TEST_CASE(flags), TEST_CASE(spliced), TEST_CASE(two_pipes), TEST_CASE(above_max),
		TEST_CASE(spliced_large), TEST_CASE(watch_queue));
}
