/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image's writer and reader: what goes in comes out, by file and by pipe, from several threads;
 * and no bit can be changed, no byte be cut off or added, without an error.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>
#include <xxhash.h>

#include "image/format.h"
#include "image/image.h"
#include "task.pb-c.h"
#include "util/cleanup.h"

#define PAGE 4096

static const struct image_writer_options raw = { .compression = IMAGE_RAW };
static const struct image_writer_options lz4 = { .compression = IMAGE_LZ4 };
static const struct image_writer_options zstd = { .compression = IMAGE_ZSTD };

static char pages[IMAGE_BLOCK_PAGES * PAGE];

/* pages 0-2 text, 3-4 zero, 5 a counter, 6 zero, 7... noise */
static void fill_pages(void)
{
	uint64_t x = 88172645463325252ull;

	memset(pages, 0, sizeof(pages));
	for (size_t i = 0; i < 3 * PAGE; i++)
		pages[i] = "stasis "[i % 7];
	for (size_t i = 0; i < PAGE; i++)
		pages[5 * PAGE + i] = (char)i;
	for (size_t i = 7 * PAGE; i < sizeof(pages); i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		pages[i] = (char)x;
	}
}

static void must(int r, const struct error *err)
{
	if (r < 0)
		fail_msg("%s: %s", err->object, err->cause);
}

static int new_file(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void write_messages(struct image_writer *w, unsigned n)
{
	struct error err;

	for (unsigned i = 1; i <= n; i++) {
		TaskState t = TASK_STATE__INIT;
		uint32_t ids[3] = { i, i + 1, i + 2 };
		t.tid = 4711 + i;
		t.comm.data = (uint8_t *)"nginx";
		t.comm.len = 5;
		t.objects = ids;
		t.n_objects = 3;
		must(image_writer_message(w, 1, i, &t.base, &err), &err);
	}
}

static void write_block(struct image_writer *w, uint32_t object, uint32_t set, uint64_t start,
                        uint32_t n_pages)
{
	struct page_run runs[2] = { { start, n_pages, 0 }, { start + n_pages + 5, 1000, 1 } };
	struct page_block b = { object, set, 2, runs, pages, (size_t)n_pages * PAGE };
	struct error err;

	must(image_writer_block(w, &b, &err), &err);
}

static void write_image(int fd, const struct image_writer_options *options, unsigned n_pages)
{
	off_t begin = lseek(fd, 0, SEEK_CUR);
	struct image_writer *w;
	struct error err;

	must(image_writer_new(&w, fd, options, &err), &err);
	write_messages(w, 3);
	write_block(w, 1, 7, 100, n_pages);
	write_block(w, 2, 8, 1ull << 51, n_pages);
	must(image_writer_finish(w, &err), &err);
	off_t end = lseek(fd, 0, SEEK_CUR); /* as write(2) would have left it */
	if (end >= 0)
		assert_int_equal(image_writer_bytes(w), end - begin);
	image_writer_free(w);
}

/* what came out of an image: enough to compare */
struct seen {
	unsigned n_messages, n_blocks;
	uint64_t n_data, n_zero, sum; /* sum: over all that was decoded */
};

static int see_block(struct record *record, struct seen *seen, struct error *err)
{
	static char buffer[IMAGE_BLOCK_PAGES * PAGE];
	struct page_run runs[IMAGE_BLOCK_PAGES];
	struct page_block b;
	int r = image_block_decode(record, buffer, runs, &b, err);

	if (r < 0)
		return r;
	const char *data = b.data;
	for (uint32_t i = 0; i < b.n_runs; i++) {
		if (runs[i].zero) {
			seen->n_zero += runs[i].n_pages;
			continue;
		}
		for (uint32_t p = 0; p < runs[i].n_pages; p++, data += PAGE) {
			/* a page's place and contents, in any order of blocks and runs */
			seen->sum += XXH3_64bits_withSeed(data, PAGE,
			                                  runs[i].start + p + b.page_set);
			seen->n_data++;
		}
	}
	seen->n_blocks++;
	return 0;
}

static int see_message(struct record *record, struct seen *seen, struct error *err)
{
	ProtobufCMessage *m;
	int r = image_message_decode(record, &task_state__descriptor, &m, err);

	if (r < 0)
		return r;
	TaskState *t = (TaskState *)m;
	seen->sum += t->tid + t->n_objects + t->comm.len;
	seen->n_messages++;
	protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}

static int read_image(int fd, struct seen *seen, struct error *err)
{
	struct image_reader *reader;
	struct record record;
	int r = image_reader_new(&reader, fd, err);

	*seen = (struct seen){ 0 };
	if (r < 0)
		return r;
	while ((r = image_reader_next(reader, &record, err)) == 1) {
		r = record.type == IMAGE_PAGES ? see_block(&record, seen, err)
		                               : see_message(&record, seen, err);
		record_release(&record);
		if (r < 0)
			break;
	}
	image_reader_free(reader);
	return r;
}

static int read_bytes(const char *bytes, size_t size, bool as_stream, struct seen *seen,
                      struct error *err)
{
	_cleanup_(close_p) int fd = -1;

	if (as_stream) {
		int ends[2];
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
		assert_int_equal(write(ends[1], bytes, size), (ssize_t)size);
		close(ends[1]);
		fd = ends[0];
	} else {
		fd = new_file();
		assert_int_equal(write(fd, bytes, size), (ssize_t)size);
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	}
	return read_image(fd, seen, err);
}

static size_t slurp(int fd, char **ret)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	*ret = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, *ret, (size_t)st.st_size, 0), st.st_size);
	return (size_t)st.st_size;
}

static void check_round_trip(const struct image_writer_options *options, bool as_stream)
{
	_cleanup_(close_p) int fd = new_file();
	_cleanup_(free_p) char *bytes = NULL;
	struct seen seen;
	struct error err = ERROR_INIT;

	write_image(fd, options, 32);
	size_t size = slurp(fd, &bytes);
	must(read_bytes(bytes, size, as_stream, &seen, &err), &err);
	assert_int_equal(seen.n_messages, 3);
	assert_int_equal(seen.n_blocks, 2);
	assert_int_equal(seen.n_data, 2 * 29); /* three of the 32 are zero */
	assert_int_equal(seen.n_zero, 2 * (3 + 1000));
	uint64_t sum = (4712 + 4713 + 4714) + 3 * (3 + 5);
	for (uint64_t i = 0; i < 32; i++)
		if (i != 3 && i != 4 && i != 6)
			sum += XXH3_64bits_withSeed(pages + i * PAGE, PAGE, 100 + i + 7) +
			       XXH3_64bits_withSeed(pages + i * PAGE, PAGE, (1ull << 51) + i + 8);
	assert_int_equal(seen.sum, sum);
}

static void test_round_trip(void **state)
{
	check_round_trip(&raw, false);
	check_round_trip(&raw, true);
	check_round_trip(&lz4, false);
	check_round_trip(&lz4, true);
	check_round_trip(&zstd, false);
	check_round_trip(&zstd, true);
}

/* written to a pipe, and behind something else in a file */
static void test_other_outputs(void **state)
{
	int ends[2];
	struct seen seen;
	struct error err;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	write_image(ends[1], &raw, 32);
	close(ends[1]);
	must(read_image(ends[0], &seen, &err), &err);
	assert_int_equal(seen.n_data, 58);
	close(ends[0]);

	_cleanup_(close_p) int fd = new_file();
	assert_int_equal(write(fd, "hello", 5), 5);
	write_image(fd, &raw, 32);
	lseek(fd, 5, SEEK_SET);
	must(read_image(fd, &seen, &err), &err);
	assert_int_equal(seen.n_data, 58);
}

static void check_flips(const struct image_writer_options *options, bool as_stream)
{
	_cleanup_(close_p) int fd = new_file();
	_cleanup_(free_p) char *bytes = NULL;
	struct seen seen;
	struct error err;

	write_image(fd, options, 2);
	size_t size = slurp(fd, &bytes);
	for (size_t i = 0; i < size; i++) {
		bytes[i] ^= (char)(1 << i % 8);
		if (read_bytes(bytes, size, as_stream, &seen, &err) != -EBADMSG)
			fail_msg("byte %zu of %zu changed and nobody noticed", i, size);
		bytes[i] ^= (char)(1 << i % 8);
	}
	must(read_bytes(bytes, size, as_stream, &seen, &err), &err);
}

static void test_every_byte_counts(void **state)
{
	check_flips(&zstd, false);
	check_flips(&zstd, true);
	check_flips(&raw, false);
}

static void test_truncated(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	_cleanup_(free_p) char *bytes = NULL;
	struct seen seen;
	struct error err;

	write_image(fd, &zstd, 2);
	size_t size = slurp(fd, &bytes);
	for (size_t i = 0; i < size; i++)
		for (int as_stream = 0; as_stream < 2; as_stream++)
			if (read_bytes(bytes, i, as_stream, &seen, &err) != -EBADMSG)
				fail_msg("cut to %zu of %zu and nobody noticed", i, size);
	bytes = realloc(bytes, size + 1);
	bytes[size] = 0;
	assert_int_equal(read_bytes(bytes, size + 1, false, &seen, &err), -EBADMSG);
}

/* a copy that is not complete is known before the first record is read */
static void test_complete(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	struct image_reader *reader;
	struct error err;

	write_image(fd, &zstd, 32);
	off_t size = lseek(fd, 0, SEEK_END);
	lseek(fd, 0, SEEK_SET);
	must(image_reader_new(&reader, fd, &err), &err);
	must(image_reader_complete(reader, &err), &err);
	image_reader_free(reader);
	assert_int_equal(ftruncate(fd, size - 1), 0);
	must(image_reader_new(&reader, fd, &err), &err);
	assert_int_equal(image_reader_complete(reader, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_truncated);
	image_reader_free(reader);
}

/* truncated by somebody else while it is being read: an error, not a crash */
static void test_truncated_while_read(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	_cleanup_(free_p) char *buffer = malloc(IMAGE_BLOCK_PAGES * PAGE);
	struct page_run runs[IMAGE_BLOCK_PAGES];
	struct image_reader *reader;
	struct page_block b;
	struct record record;
	struct error err;

	write_image(fd, &raw, IMAGE_BLOCK_PAGES);
	lseek(fd, 0, SEEK_SET);
	must(image_reader_new(&reader, fd, &err), &err);
	do
		assert_int_equal(image_reader_next(reader, &record, &err), 1);
	while (record.type != IMAGE_PAGES && (record_release(&record), 1));
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(image_block_decode(&record, buffer, runs, &b, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_truncated);
	record_release(&record);
	image_reader_free(reader);
}

/* a record of another image, even at the same place, is foreign */
static void test_foreign_record(void **state)
{
	_cleanup_(close_p) int one = new_file(), two = new_file();
	_cleanup_(free_p) char *a = NULL, *b = NULL;
	struct seen seen;
	struct error err;

	write_image(one, &zstd, 2);
	write_image(two, &zstd, 2);
	size_t size = slurp(one, &a);
	assert_int_equal(slurp(two, &b), size);
	memcpy(a + sizeof(struct image_header), b + sizeof(struct image_header), 60);
	assert_int_equal(read_bytes(a, size, false, &seen, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_checksum);
}

/* changes the header and makes its checksum right again */
static int with_header(void (*change)(struct image_header *), struct error *err)
{
	_cleanup_(close_p) int fd = new_file();
	_cleanup_(free_p) char *bytes = NULL;
	struct image_header h;
	struct seen seen;

	write_image(fd, &zstd, 2);
	size_t size = slurp(fd, &bytes);
	memcpy(&h, bytes, sizeof(h));
	change(&h);
	h.checksum = XXH3_64bits(&h, offsetof(struct image_header, checksum));
	memcpy(bytes, &h, sizeof(h));
	return read_bytes(bytes, size, false, &seen, err);
}

static void newer(struct image_header *h)
{
	h->version_major++;
}
static void needy(struct image_header *h)
{
	h->needed |= 1ull << 40;
}
static void arm(struct image_header *h)
{
	h->arch = 183;
}
static void big_pages(struct image_header *h)
{
	h->page_size = 65536;
}
static void increment(struct image_header *h)
{
	h->parent[3] = 1;
}
static void unterminated(struct image_header *h)
{
	memset(h->kernel_release, 'x', sizeof(h->kernel_release));
}
static void escape(struct image_header *h)
{
	h->stasis_version[0] = '\033';
}

static void test_header(void **state)
{
	void (*const features[])(struct image_header *) = { newer, needy, arm, big_pages,
		                                            increment };
	struct error err;

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		assert_int_equal(with_header(features[i], &err), -EBADMSG);
		assert_int_equal(err.code, CODE_image_feature);
	}
	assert_int_equal(with_header(unterminated, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_invalid);
	assert_int_equal(with_header(escape, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_invalid);
}

static void test_not_an_image(void **state)
{
	struct seen seen;
	struct error err;

	assert_int_equal(read_bytes("", 0, false, &seen, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_invalid);
	assert_int_equal(read_bytes("PK\3\4 and so on", 14, true, &seen, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_invalid);
}

/* a checkpoint that failed says so in the stream */
static void test_error_record(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	struct image_writer *w;
	struct error why, err;
	struct seen seen;

	must(image_writer_new(&w, fd, &raw, &err), &err);
	write_messages(w, 2);
	error_raise(&why, EIO, "the disk is gone");
	image_writer_fail(w, &why);
	TaskState t = TASK_STATE__INIT;
	assert_int_equal(image_writer_message(w, 1, 9, &t.base, &err), -EIO); /* nothing more */
	image_writer_free(w);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(read_image(fd, &seen, &err), -EBADMSG);
	assert_int_equal(err.code, CODE_image_failed);
	assert_non_null(strstr(err.cause, "the disk is gone"));
}

/* the first failure sticks, and finish reports it */
static void test_full_disk(void **state)
{
	_cleanup_(close_p) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct image_writer *w;
	struct page_run run = { 0, 8, 0 };
	struct page_block b = { 1, 1, 1, &run, pages, 8 * PAGE };
	struct error err;

	must(image_writer_new(&w, fd, &raw, &err), &err);
	assert_int_equal(image_writer_block(w, &b, &err), -ENOSPC);
	assert_int_equal(image_writer_finish(w, &err), -ENOSPC);
	image_writer_free(w);
}

/* a message with a field that this build does not know would be state lost without a word */
static void test_unknown_field(void **state)
{
	const uint8_t known[] = { 0x08, 5 }, unknown[] = { 0x08, 5, 0xf8, 0x07, 1 };
	struct record record = { .type = 1, .body = known, .size = sizeof(known) };
	ProtobufCMessage *m;
	struct error err;

	must(image_message_decode(&record, &task_state__descriptor, &m, &err), &err);
	protobuf_c_message_free_unpacked(m, NULL);
	record.body = unknown;
	record.size = sizeof(unknown);
	assert_int_equal(image_message_decode(&record, &task_state__descriptor, &m, &err),
	                 -EBADMSG);
	assert_int_equal(err.code, CODE_image_message);
}

static void test_too_large_message(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	TaskState t = TASK_STATE__INIT;
	struct image_writer *w;
	struct error err;

	must(image_writer_new(&w, fd, &raw, &err), &err);
	t.comm.len = IMAGE_RECORD_MAX;
	t.comm.data = calloc(1, t.comm.len);
	assert_int_equal(image_writer_message(w, 1, 1, &t.base, &err), -EMSGSIZE);
	free(t.comm.data);
	image_writer_free(w);
}

static void test_malformed_blocks_are_not_written(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	struct page_run overlap[2] = { { 10, 2, 0 }, { 11, 2, 0 } }, empty = { 3, 0, 0 },
			far = { UINT64_MAX / PAGE, 2, 0 };
	struct image_writer *w;
	struct error err;

	must(image_writer_new(&w, fd, &raw, &err), &err);
	struct page_block b = { 1, 1, 2, overlap, pages, 4 * PAGE };
	assert_int_equal(image_writer_block(w, &b, &err), -EINVAL);
	b = (struct page_block){ 1, 1, 1, &empty, pages, 0 };
	assert_int_equal(image_writer_block(w, &b, &err), -EINVAL);
	b = (struct page_block){ 1, 1, 1, &far, pages, 2 * PAGE };
	assert_int_equal(image_writer_block(w, &b, &err), -EINVAL);
	image_writer_free(w);
}

/* every other page zero, behind as many zero runs as fit: more runs than one block holds */
static void test_more_runs_than_fit(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	_cleanup_(free_p) char *striped = calloc(IMAGE_BLOCK_PAGES, PAGE);
	struct page_run runs[IMAGE_BLOCK_PAGES];
	struct image_writer *w;
	struct error err;
	struct seen seen;

	for (unsigned i = 0; i < IMAGE_BLOCK_PAGES; i += 2)
		memset(striped + (size_t)i * PAGE, 'x', PAGE);
	for (unsigned i = 0; i < IMAGE_BLOCK_PAGES - 1; i++)
		runs[i] = (struct page_run){ 2 * i, 1, 1 };
	runs[IMAGE_BLOCK_PAGES - 1] = (struct page_run){ 4096, IMAGE_BLOCK_PAGES, 0 };
	struct page_block b = { 1,    0,       IMAGE_BLOCK_PAGES,
		                runs, striped, (size_t)IMAGE_BLOCK_PAGES * PAGE };
	must(image_writer_new(&w, fd, &lz4, &err), &err);
	must(image_writer_block(w, &b, &err), &err);
	must(image_writer_finish(w, &err), &err);
	image_writer_free(w);
	lseek(fd, 0, SEEK_SET);
	must(read_image(fd, &seen, &err), &err);
	assert_int_equal(seen.n_data, IMAGE_BLOCK_PAGES / 2);
	assert_int_equal(seen.n_zero, IMAGE_BLOCK_PAGES - 1 + IMAGE_BLOCK_PAGES / 2);
	assert_true(seen.n_blocks >= 2);
}

struct thread {
	struct image_writer *w;
	uint32_t number;
	pthread_t id;
};

static void *write_from_thread(void *argument)
{
	struct thread *t = argument;

	for (unsigned i = 0; i < 20; i++)
		write_block(t->w, t->number, i, (uint64_t)i << 20, 1 + (i * 37 + t->number) % 250);
	return NULL;
}

static void test_threads(void **state)
{
	_cleanup_(close_p) int fd = new_file();
	struct thread threads[4];
	uint64_t n_data = 0;
	struct image_writer *w;
	struct error err;
	struct seen seen;

	must(image_writer_new(&w, fd, &lz4, &err), &err);
	write_messages(w, 100);
	for (uint32_t i = 0; i < 4; i++) {
		threads[i] = (struct thread){ .w = w, .number = i + 1 };
		assert_int_equal(
			pthread_create(&threads[i].id, NULL, write_from_thread, &threads[i]), 0);
		for (unsigned b = 0; b < 20; b++) {
			unsigned n = 1 + (b * 37 + i + 1) % 250;
			n_data += n - (n > 6 ? 3 : n > 4 ? 2 : n > 3 ? 1 : 0);
		}
	}
	for (uint32_t i = 0; i < 4; i++)
		pthread_join(threads[i].id, NULL);
	must(image_writer_finish(w, &err), &err);
	image_writer_free(w);
	lseek(fd, 0, SEEK_SET);
	must(read_image(fd, &seen, &err), &err);
	assert_int_equal(seen.n_messages, 100);
	assert_int_equal(seen.n_blocks, 80);
	assert_int_equal(seen.n_data, n_data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_other_outputs),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_truncated_while_read),
		cmocka_unit_test(test_foreign_record),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_not_an_image),
		cmocka_unit_test(test_error_record),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_unknown_field),
		cmocka_unit_test(test_too_large_message),
		cmocka_unit_test(test_malformed_blocks_are_not_written),
		cmocka_unit_test(test_more_runs_than_fit),
		cmocka_unit_test(test_threads),
	};

	fill_pages();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
