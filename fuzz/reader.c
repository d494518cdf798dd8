/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image reader: framing, page blocks, decompression; as a file, or as a stream. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/image.h"
#include "repair.h"
#include "util/alloc.h"

static void decode(struct record *record)
{
	static char buffer[IMAGE_BLOCK_DATA_MAX];
	struct page_run runs[IMAGE_BLOCK_PAGES];
	struct page_block block;
	struct error err;
	volatile char last;

	if (record->type != IMAGE_PAGES ||
	    image_block_decode(record, buffer, runs, &block, &err) < 0)
		return;
	if (block.data_size)
		last = ((const char *)block.data)[block.data_size - 1];
	(void)last;
}

static void read_image(int fd)
{
	struct image_reader *reader;
	struct record record;
	struct error err;

	if (image_reader_new(&reader, fd, &err) < 0)
		return;
	image_reader_complete(reader, &err);
	while (image_reader_next(reader, &record, &err) > 0) {
		decode(&record);
		record_release(&record);
	}
	image_reader_free(reader);
}

/* small enough for a pipe to take it at once */
static int stream_of(const uint8_t *data, size_t size)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], data, size) != (ssize_t)size)
		abort();
	close(ends[1]);
	return ends[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = xmemdup(data, size);
	int fd;

	if (size == 0 || data[size - 1] % 8)
		repair(copy, size);
	fd = file_of(copy, size);
	read_image(fd);
	close(fd);
	if (size < 65536) {
		fd = stream_of(copy, size);
		read_image(fd);
		close(fd);
	}
	free(copy);
	return 0;
}
