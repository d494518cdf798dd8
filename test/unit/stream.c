/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Streams of bytes as page blocks (core/stream.h), through a file, a pipe, and images that lie. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "core/contents.h"
#include "core/stream.h"
#include "image/image.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define BLOCK ((size_t)IMAGE_BLOCK_PAGES * 4096)

static void check(int r, const struct error *err)
{
	if (r < 0) {
		error_print(stderr, err, "test", true);
		fail();
	}
}

/* what lies at an offset of the stream: every fourth page is zero */
static unsigned char byte_at(uint64_t offset)
{
	uint64_t x = offset * 0x9e3779b97f4a7c15;

	return offset / 4096 % 4 == 3 ? 0 : (unsigned char)((x >> 60) + offset / BLOCK);
}

/* @step: bytes filled in at once */
static void write_stream(struct image_writer *w, uint32_t object, uint32_t page_set, uint64_t size,
                         size_t step)
{
	struct stream_out *out = stream_out_new(w, object, page_set, NULL);
	struct byte_sink sink = stream_out_sink(out);
	struct error err = ERROR_INIT;
	uint64_t at = 0;

	while (at < size) {
		void *room;
		size_t n;
		check(sink.room(sink.context, &room, &n, &err), &err);
		assert_true(n > 0);
		if (n > step)
			n = step;
		if (n > size - at)
			n = size - at;
		for (size_t i = 0; i < n; i++)
			((unsigned char *)room)[i] = byte_at(at + i);
		check(sink.filled(sink.context, n, &err), &err);
		at += n;
	}
	check(stream_out_end(out, &err), &err);
	stream_out_free(out);
}

static struct image_writer *begin(int fd, enum image_compression compression)
{
	const struct image_writer_options how = { .compression = compression };
	struct error err = ERROR_INIT;
	struct image_writer *w;

	check(image_writer_new(&w, fd, &how, &err), &err);
	return w;
}

static void end(struct image_writer *w)
{
	struct error err = ERROR_INIT;

	check(image_writer_finish(w, &err), &err);
	image_writer_free(w);
}

static struct contents *open_image(int fd)
{
	struct contents *c = xcalloc(1, sizeof(*c));
	struct error err = ERROR_INIT;

	check(contents_open(c, fd, &err), &err);
	check(contents_read(c, &err), &err);
	return c;
}

static void close_image(struct contents *c)
{
	contents_close(c);
	free(c);
}

/* all of it, or up to @most bytes; checks each byte */
static int read_stream(struct contents *c, uint32_t object, uint64_t size, uint64_t most,
                       struct error *err)
{
	struct stream_in *in = stream_in_new(c, object, 1, NULL);
	struct byte_source source = stream_in_source(in);
	const void *piece;
	uint64_t at = 0;
	size_t n;
	int r = 1;

	while (at < most && (r = source.next(source.context, &piece, &n, err)) > 0) {
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++)
			if (((const unsigned char *)piece)[i] !=
			    (at + i < size ? byte_at(at + i) : 0))
				fail_msg("byte %llu", (unsigned long long)(at + i));
		at += n;
	}
	if (r == 0)
		assert_int_equal(at, (size + 4095) / 4096 * 4096);
	assert_int_equal(stream_in_bytes(in), at);
	stream_in_free(in);
	return r;
}

static void there_and_back(void **state)
{
	static const uint64_t sizes[] = { 1, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 20 * BLOCK + 77 };
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (int how = IMAGE_RAW; how <= IMAGE_ZSTD; how++) {
			_cleanup_(close_p) int fd = memfd_create("image", MFD_CLOEXEC);
			struct image_writer *w = begin(fd, (enum image_compression)how);
			write_stream(w, 5, 0, sizes[i], i % 2 ? SIZE_MAX : 1000);
			write_stream(w, 6, 0, sizes[i], SIZE_MAX);
			end(w);
			lseek(fd, 0, SEEK_SET);
			struct contents *c = open_image(fd);
			assert_int_equal(read_stream(c, 5, sizes[i], UINT64_MAX, &err), 0);
			assert_int_equal(read_stream(c, 6, sizes[i], UINT64_MAX, &err), 0);
			assert_true(c->ended);
			close_image(c);
		}
}

static void *write_to_pipe(void *fd)
{
	struct image_writer *w = begin(*(int *)fd, IMAGE_LZ4);

	write_stream(w, 5, 0, 10 * BLOCK + 1, SIZE_MAX);
	end(w);
	close(*(int *)fd);
	return NULL;
}

static void through_a_pipe(void **state)
{
	struct error err = ERROR_INIT;
	pthread_t thread;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_to_pipe, &fds[1]), 0);
	struct contents *c = open_image(fds[0]);
	assert_int_equal(read_stream(c, 5, 10 * BLOCK + 1, UINT64_MAX, &err), 0);
	assert_true(c->ended);
	close_image(c);
	pthread_join(thread, NULL);
	close(fds[0]);
}

/* many short ones: threads are ahead by several */
static void one_after_the_other(void **state)
{
	_cleanup_(close_p) int fd = memfd_create("image", MFD_CLOEXEC);
	struct error err = ERROR_INIT;
	struct image_writer *w = begin(fd, IMAGE_LZ4);

	for (uint32_t i = 0; i < 50; i++)
		write_stream(w, 5, i, i % 7 ? 1 + i : 2 * BLOCK, SIZE_MAX);
	end(w);
	lseek(fd, 0, SEEK_SET);
	struct contents *c = open_image(fd);
	struct stream_in *in = stream_in_new(c, 5, 50, NULL);
	struct byte_source source = stream_in_source(in);
	for (uint32_t i = 0; i < 50; i++, stream_in_go_on(in)) {
		const void *piece;
		uint64_t at = 0;
		size_t n;
		int r;
		while ((r = source.next(source.context, &piece, &n, &err)) > 0) {
			assert_int_equal(*(const unsigned char *)piece, byte_at(at));
			at += n;
		}
		assert_int_equal(r, 0);
		assert_int_equal(at, i % 7 ? 4096 : 2 * BLOCK);
	}
	assert_true(c->ended);
	stream_in_free(in);
	close_image(c);
}

/* what fails half way leaves nothing behind and does not hang */
static void left_early(void **state)
{
	_cleanup_(close_p) int fd = memfd_create("image", MFD_CLOEXEC);
	struct error err = ERROR_INIT;
	struct image_writer *w = begin(fd, IMAGE_LZ4);

	write_stream(w, 5, 0, 30 * BLOCK, SIZE_MAX);
	end(w);
	lseek(fd, 0, SEEK_SET);
	struct contents *c = open_image(fd);
	assert_int_equal(read_stream(c, 5, 30 * BLOCK, 1, &err), 1);
	close_image(c);
}

static void disk_full(void **state)
{
	_cleanup_(close_p) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct error err = ERROR_INIT;
	struct image_writer *w = begin(fd, IMAGE_RAW);
	struct stream_out *out = stream_out_new(w, 1, 0, NULL);
	struct byte_sink sink = stream_out_sink(out);
	int r = 0;

	for (int i = 0; i < 100 && r == 0; i++) {
		void *room;
		size_t n;
		r = sink.room(sink.context, &room, &n, &err);
		if (r == 0) {
			memset(room, 'x', n);
			r = sink.filled(sink.context, n, &err);
		}
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(err.errnum, ENOSPC);
	stream_out_free(out);
	image_writer_free(w);
}

/* ---- images that lie ---- */

static void put_block(struct image_writer *w, uint32_t page_set, uint64_t start, uint32_t n,
                      uint32_t zero)
{
	static char data[BLOCK];
	struct page_run run = { start, n, zero };
	struct page_block block = { .object = 5,
		                    .page_set = page_set,
		                    .n_runs = 1,
		                    .runs = &run,
		                    .data = data,
		                    .data_size = zero ? 0 : n * 4096 };
	struct error err = ERROR_INIT;

	memset(data, 'x', sizeof(data));
	check(image_writer_block(w, &block, &err), &err);
}

static void lies(void **state)
{
	static const struct {
		uint32_t page_set;
		uint64_t start;
		uint32_t n, zero;
	} second[] = {
		{ 0, 3, 1, 0 },   /* a gap */
		{ 0, 1, 1, 0 },   /* back */
		{ 3, 2, 1, 0 },   /* another page set */
		{ 1, 0, 1, 0 },   /* another stream, where one is expected */
		{ 0, 2, 257, 1 }, /* endless zeros */
	};

	for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
		_cleanup_(close_p) int fd = memfd_create("image", MFD_CLOEXEC);
		struct error err = ERROR_INIT;
		struct image_writer *w = begin(fd, IMAGE_RAW);
		put_block(w, 0, 0, 2, 0);
		put_block(w, second[i].page_set, second[i].start, second[i].n, second[i].zero);
		end(w);
		lseek(fd, 0, SEEK_SET);
		struct contents *c = open_image(fd);
		struct stream_in *in = stream_in_new(c, 5, 1, NULL);
		struct byte_source source = stream_in_source(in);
		const void *piece;
		size_t n;
		int r;
		while ((r = source.next(source.context, &piece, &n, &err)) > 0)
			;
		assert_true(r < 0);
		assert_int_equal(err.code, CODE_image_invalid);
		stream_in_free(in);
		close_image(c);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back), cmocka_unit_test(through_a_pipe),
		cmocka_unit_test(left_early),     cmocka_unit_test(one_after_the_other),
		cmocka_unit_test(disk_full),      cmocka_unit_test(lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
