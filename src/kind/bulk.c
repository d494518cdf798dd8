/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents as page blocks. See bulk.h. */
#include "kind/bulk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "image/image.h"
#include "kind/mm/pages.h"
#include "kind/object.h"
#include "util/alloc.h"

#define PAGE 4096ull

/* ---- checkpoint ---- */

struct file {
	int fd;
	const char *what;
};

/* what of it exists; file systems that cannot tell say that all of it does */
static int find_data(const struct file *f, uint64_t size, struct page_range **ret, size_t *ret_n,
                     struct error *err)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		off_t start = lseek(f->fd, at, SEEK_DATA);
		if (start < 0 && errno == ENXIO)
			break;
		off_t end = start < 0 ? -1 : lseek(f->fd, start, SEEK_HOLE);
		if (start < 0 || end <= start)
			return error_raise(err, errno, "look for data in %s", f->what);
		if ((uint64_t)end > size)
			end = (off_t)size;
		uint64_t first = (uint64_t)start & ~(PAGE - 1);
		uint64_t last = ((uint64_t)end + PAGE - 1) & ~(PAGE - 1);
		if (*ret_n && (*ret)[*ret_n - 1].end > first) /* one page of two stretches */
			first = (*ret)[*ret_n - 1].end;
		if (first < last)
			*array_push(*ret, *ret_n) = (struct page_range){ .start = first,
				                                         .end = last };
		at = end;
	}
	return 0;
}

static int fetch_file(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                      struct error *err)
{
	const struct file *f = context;
	char *at = buffer;

	for (uint32_t i = 0; i < n_runs; i++) {
		size_t size = runs[i].n_pages * PAGE, done = 0;
		while (done < size) {
			ssize_t n = pread(f->fd, at + done, size - done,
			                  (off_t)(runs[i].start * PAGE + done));
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return error_raise(err, errno, "read %s", f->what);
			if (n == 0)
				break;
			done += (size_t)n;
		}
		memset(at + done, 0, size - done);
		at += size;
	}
	return 0;
}

int bulk_save_file(struct checkpoint *c, const struct object *object, int fd, uint64_t size,
                   const char *what, struct error *err)
{
	struct file f = { fd, what };
	struct page_range *ranges = NULL;
	size_t n = 0;
	int r = find_data(&f, size, &ranges, &n, err);

	if (r >= 0)
		r = pages_save(c->image, object->id, 0, ranges, n, fetch_file, &f,
		               c->options->progress, err);
	free(ranges);
	return r < 0 ? error_trace(err, r) : 0;
}

struct bytes {
	const char *data;
	size_t size;
};

static int fetch_bytes(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                       struct error *err)
{
	const struct bytes *b = context;
	char *at = buffer;

	for (uint32_t i = 0; i < n_runs; i++) {
		size_t start = runs[i].start * PAGE, size = runs[i].n_pages * PAGE;
		size_t there = b->size - start < size ? b->size - start : size;
		memcpy(at, b->data + start, there);
		memset(at + there, 0, size - there);
		at += size;
	}
	return 0;
}

int bulk_save_bytes(struct checkpoint *c, const struct object *object, const void *bytes,
                    size_t size, struct error *err)
{
	struct bytes b = { bytes, size };
	struct page_range range = { .end = (size + PAGE - 1) & ~(PAGE - 1) };
	int r = size ? pages_save(c->image, object->id, 0, &range, 1, fetch_bytes, &b,
	                          c->options->progress, err)
	             : 0;

	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

int bulk_restore(const struct page_block *block, uint64_t size, const char *what, bulk_put put,
                 void *context, struct error *err)
{
	uint64_t n_pages = size / PAGE + (size % PAGE > 0);
	const char *at = block->data;

	for (uint32_t i = 0; i < block->n_runs; i++) {
		const struct page_run *run = &block->runs[i];
		if (block->page_set != 0 || run->start > n_pages ||
		    run->n_pages > n_pages - run->start)
			return error_refuse(err, CODE_image_invalid, "a page outside of %s", what);
		if (run->zero)
			continue; /* as it was made */
		uint64_t start = run->start * PAGE, left = size - start, n = run->n_pages * PAGE;
		int r = put(context, start, at, left < n ? left : n, err);
		if (r < 0)
			return error_trace(err, r);
		at += n;
	}
	return 0;
}

int bulk_put_file(void *context, uint64_t offset, const char *bytes, size_t size, struct error *err)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(*(int *)context, bytes + done, size - done,
		                   (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_raise(err, n < 0 ? errno : EIO, "write contents");
		done += (size_t)n;
	}
	return 0;
}
