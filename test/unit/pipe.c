/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in a pipe: read without consuming it, described, written into another. No root needed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kind/pipe/contents.h"
#include "util/cleanup.h"

#define PAGE 4096

static void make(int fds[2])
{
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
}

static void put(int fd, size_t n, char c, bool packet)
{
	char bytes[65536];

	memset(bytes, c, n);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK | (packet ? O_DIRECT : 0)), 0);
	assert_int_equal(write(fd, bytes, n), n);
}

static void expect(int fd, size_t n, char c)
{
	char bytes[65536], want[65536];

	memset(want, c, n);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), n);
	assert_memory_equal(bytes, want, n);
}

/* what is in @from, into a new pipe */
static void copy(const int from[2], int to[2], size_t want_runs)
{
	struct pipe_data data;
	struct error err = ERROR_INIT;
	PipeContents *contents;
	int before, after;

	assert_int_equal(ioctl(from[0], FIONREAD, &before), 0);
	assert_int_equal(pipe_read(from[0], &data, &err), 0);
	assert_int_equal(ioctl(from[0], FIONREAD, &after), 0);
	assert_int_equal(before, after);
	assert_int_equal(data.size, before);
	assert_int_equal(
		pipe_describe(&data, (uint32_t)fcntl(from[0], F_GETPIPE_SZ), &contents, &err), 0);
	assert_int_equal(contents->n_runs, want_runs);
	assert_int_equal(pipe_contents_validate(contents, &err), 0);
	assert_int_equal(pipe_contents_size(contents), before);
	make(to);
	assert_int_equal(pipe_set_capacity(to[1], contents, &err), 0);
	assert_int_equal(fcntl(to[1], F_GETPIPE_SZ), fcntl(from[0], F_GETPIPE_SZ));
	assert_int_equal(pipe_write(to[1], contents, data.bytes, &err), 0);
	pipe_contents__free_unpacked(contents, NULL);
	pipe_data_done(&data);
}

static void close_pipe(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static void test_empty(void **state)
{
	int a[2], b[2];

	make(a);
	copy(a, b, 0);
	assert_int_equal(read(b[0], &(char){ 0 }, 1), -1);
	close_pipe(a);
	close_pipe(b);
}

static void test_stream(void **state)
{
	int a[2], b[2];

	make(a);
	put(a[1], 5000, 'a', false); /* two buffers, the second grows */
	put(a[1], 100, 'a', false);
	copy(a, b, 2);
	expect(b[0], 5100, 'a');
	expect(a[0], 5100, 'a');
	close_pipe(a);
	close_pipe(b);
}

/* one byte taken from a full pipe frees no slot: a writer must go on waiting */
static void test_full(void **state)
{
	int a[2], b[2];
	char c;

	make(a);
	put(a[1], 65536, 'f', false);
	assert_int_equal(read(a[0], &c, 1), 1);
	assert_int_equal(write(a[1], "x", 1), -1);
	copy(a, b, 2);
	assert_int_equal(write(b[1], "x", 1), -1);
	expect(b[0], 65535, 'f');
	close_pipe(a);
	close_pipe(b);
}

static void test_packets(void **state)
{
	int a[2], b[2];

	make(a);
	put(a[1], 1, 'a', true);
	put(a[1], 1, 'b', true);
	put(a[1], 10, 'c', false);
	put(a[1], 4096, 'd', true);
	put(a[1], 7, 'e', true);
	copy(a, b, 4);
	expect(b[0], 1, 'a');
	expect(b[0], 1, 'b');
	char bytes[65536];
	/* the stream goes on into the packet, which ends the read */
	assert_int_equal(read(b[0], bytes, sizeof(bytes)), 10 + 4096);
	assert_int_equal(bytes[9], 'c');
	assert_int_equal(bytes[10], 'd');
	expect(b[0], 7, 'e');
	close_pipe(a);
	close_pipe(b);
}

/* capacity of one MiB, all slots but one in use, of all lengths */
static void test_large(void **state)
{
	int a[2], b[2];

	make(a);
	assert_int_equal(fcntl(a[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
	for (int i = 0; i < 255; i++)
		put(a[1], 1 + i * 16, (char)i, true);
	copy(a, b, 255);
	for (int i = 0; i < 255; i++)
		expect(b[0], 1 + i * 16, (char)i);
	close_pipe(a);
	close_pipe(b);
}

/* slots that were moved there half full stay so */
static void test_spliced(void **state)
{
	int a[2], b[2], from[2];

	make(a);
	make(from);
	for (int i = 0; i < 16; i++) {
		put(from[1], 3, 's', false);
		assert_int_equal(splice(from[0], NULL, a[1], NULL, 3, 0), 3);
	}
	copy(a, b, 1);
	/* what splice has moved may grow, so look at a second write, which cannot */
	put(b[1], 4093, 's', false);
	assert_int_equal(write(b[1], "x", 1), -1);
	expect(b[0], 16 * 3 + 4093, 's');
	close_pipe(a);
	close_pipe(b);
	close_pipe(from);
}

/* buffers of more than a page, as splice(2) takes them from a socket: one slot each */
static void test_spliced_large(void **state)
{
	static const size_t lengths[] = { 4097, 5, 8192, 20000, 32768, 4096, 32767 };
	int a[2], b[2], s[2], slot[2];
	char bytes[65536];

	make(a);
	make(slot);
	assert_int_equal(fcntl(slot[1], F_SETPIPE_SZ, PAGE), PAGE);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	for (int i = 0; i < 7; i++) {
		memset(bytes, 'a' + i, sizeof(bytes));
		size_t piece = lengths[i] < 8192 ? 8192 : 32768;
		assert_int_equal(write(s[0], bytes, piece), piece);
		assert_int_equal(splice(s[1], NULL, a[1], NULL, lengths[i], SPLICE_F_NONBLOCK),
		                 lengths[i]);
		while (read(s[1], bytes, sizeof(bytes)) > 0)
			;
	}
	copy(a, b, 7);
	for (int i = 0; i < 7; i++) {
		assert_int_equal(tee(b[0], slot[1], sizeof(bytes), SPLICE_F_NONBLOCK), lengths[i]);
		expect(slot[0], lengths[i], (char)('a' + i));
		assert_int_equal(read(b[0], bytes, lengths[i]), lengths[i]);
	}
	close_pipe(a);
	close_pipe(b);
	close_pipe(s);
	close_pipe(slot);
}

/* larger ones are cut; where there is no room for that, joined; and refused where that is not
 * enough */
static void test_too_large(void **state)
{
	struct error err = ERROR_INIT;
	struct pipe_buffer buffers[] = {
		{ 40000, false }, { 100, true }, { 1, false }, { 5, false }
	};
	struct pipe_data data = { .buffers = buffers, .n_buffers = 4 };
	PipeContents *contents;

	assert_int_equal(pipe_describe(&data, 65536, &contents, &err), 0);
	assert_int_equal(contents->n_runs, 5);
	pipe_contents__free_unpacked(contents, NULL);
	assert_int_equal(pipe_describe(&data, 16384, &contents, &err), 0);
	assert_int_equal(contents->n_runs, 4);
	assert_int_equal(contents->runs[3]->length, 6);
	pipe_contents__free_unpacked(contents, NULL);
	data.n_buffers = 1;
	assert_int_equal(pipe_describe(&data, 4096, &contents, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_pipe_contents);
	pipe_contents__free_unpacked(contents, NULL);
}

static void test_hostile(void **state)
{
	struct error err = ERROR_INIT;
	PipeContents contents;
	PipeRun run, *runs[] = { &run };

	assert_true(pipe_contents_validate(NULL, &err) < 0);
	pipe_contents__init(&contents);
	pipe_run__init(&run);
	contents.runs = runs;
	contents.n_runs = 1;
	const struct {
		uint32_t capacity, count, length;
		bool good;
	} cases[] = { { 65536, 16, 4096, true },
		      { 65536, 17, 1, false },
		      { 65536, 0, 1, false },
		      { 65536, 1, 0, false },
		      { 65536, 1, 32769, false },
		      { 0, 1, 1, false },
		      { 12288, 1, 1, false },
		      { 65536, UINT32_MAX, 4096, false },
		      { 2048, 1, 1, false },
		      { 1u << 31, 1u << 19, 4095, true },
		      { 1u << 31, 1u << 19, 4096, false },
		      { UINT32_MAX, 1, 4096, false } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		contents.capacity = cases[i].capacity;
		run.count = cases[i].count;
		run.length = cases[i].length;
		assert_int_equal(pipe_contents_validate(&contents, &err) == 0, cases[i].good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),         cmocka_unit_test(test_stream),
		cmocka_unit_test(test_full),          cmocka_unit_test(test_packets),
		cmocka_unit_test(test_large),         cmocka_unit_test(test_spliced),
		cmocka_unit_test(test_spliced_large), cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
