/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as an image: read, validate, plan, and decode all page blocks, as `stasis verify` does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/contents.h"

static int take(void *context, struct object *object, const struct page_block *block,
                struct error *err)
{
	volatile unsigned char *sink = context;

	for (size_t i = 0; i < block->data_size; i += 4096)
		*sink ^= ((const unsigned char *)block->data)[i];
	for (uint32_t i = 0; i < block->n_runs; i++)
		*sink ^= (unsigned char)block->runs[i].start;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct contents contents;
	struct error err = ERROR_INIT;
	unsigned char sink = 0;
	int fd = memfd_create("image", MFD_CLOEXEC), r = 1;

	if (fd < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (contents_open(&contents, fd, &err) == 0 && contents_read(&contents, &err) == 0 &&
	    contents_check(&contents, &err) == 0)
		while (r > 0)
			r = contents_next_block(&contents, take, &sink, &err);
	contents_close(&contents);
	close(fd);
	return 0;
}
