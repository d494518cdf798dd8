/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of shared memory. See contents.h. */
#include "kind/shmem/contents.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "image/image.h"
#include "kind/mm/pages.h"
#include "util/alloc.h"

#define PAGE 4096ull

/* what of it exists: holes stay holes */
static int find_data(int fd, uint64_t size, struct page_range **ret, size_t *ret_n,
                     struct error *err)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		off_t start = lseek(fd, at, SEEK_DATA);
		if (start < 0 && errno == ENXIO)
			break;
		off_t end = start < 0 ? -1 : lseek(fd, start, SEEK_HOLE);
		if (start < 0 || end <= start)
			return error_raise(err, errno, "looking for data in shared memory");
		if ((uint64_t)end > size)
			end = (off_t)size;
		*array_push(*ret, *ret_n) =
			(struct page_range){ .start = (uint64_t)start & ~(PAGE - 1),
			                     .end = ((uint64_t)end + PAGE - 1) & ~(PAGE - 1) };
		at = end;
	}
	return 0;
}

static int fetch(void *context, const struct page_run *runs, uint32_t n_runs, void *buffer,
                 struct error *err)
{
	char *at = buffer;

	for (uint32_t i = 0; i < n_runs; i++) {
		for (size_t done = 0, size = runs[i].n_pages * PAGE; done < size;) {
			ssize_t n = pread(*(int *)context, at + done, size - done,
			                  (off_t)(runs[i].start * PAGE + done));
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return error_raise(err, n < 0 ? errno : EIO,
				                   "reading shared memory");
			done += (size_t)n;
		}
		at += runs[i].n_pages * PAGE;
	}
	return 0;
}

int shmem_contents_save(struct checkpoint *c, const struct object *object, int fd, uint64_t size,
                        struct error *err)
{
	struct page_range *ranges = NULL;
	size_t n = 0;
	int r = find_data(fd, size, &ranges, &n, err);

	if (r >= 0)
		r = pages_save(c->image, object->id, 0, ranges, n, fetch, &fd, c->options->progress,
		               err);
	free(ranges);
	return r < 0 ? error_trace(err, r) : 0;
}

static int write_out(int fd, char *map, uint64_t start, const char *at, size_t size,
                     struct error *err)
{
	for (size_t done = 0; done < size;) {
		/* to ourselves: where no huge page is to be had this is an error and no SIGBUS */
		struct iovec from = { (void *)(at + done), size - done },
			     to = { map + start + done, size - done };
		ssize_t n = map ? process_vm_writev(getpid(), &from, 1, &to, 1, 0)
		                : pwrite(fd, at + done, size - done, (off_t)(start + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_raise(err, n < 0 ? errno : EIO, "writing shared memory");
		done += (size_t)n;
	}
	return 0;
}

int shmem_contents_write(const struct object *object, int fd, char *map, uint64_t size_bytes,
                         const struct page_block *block, struct error *err)
{
	const char *at = block->data;

	for (uint32_t i = 0; i < block->n_runs; i++) {
		uint64_t start = block->runs[i].start * PAGE;
		size_t size = block->runs[i].n_pages * PAGE;

		if (block->page_set != 0 || start > size_bytes || size > size_bytes - start)
			return error_raise(err, EBADMSG, "a page outside of shared memory %u",
			                   object->id);
		if (block->runs[i].zero)
			continue; /* a hole reads as zero */
		int e = write_out(fd, map, start, at, size, err);
		if (e < 0)
			return error_trace(err, e);
		at += size;
	}
	return 0;
}
