/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tmpfs tells by SEEK_DATA. A ramfs does not, and reading a hole would fill it with a page; what
 * it has is what is in the page cache, and mincore(2) tells that.
 */
#include "mount/content_data.h"

#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

void content_data_init(struct content_data *d, int fd, const struct stat *st, bool ramfs)
{
	d->fd = fd;
	d->size = (uint64_t)st->st_size;
	d->ramfs = ramfs;
	d->left = (uint64_t)st->st_blocks / (PAGE / 512);
	d->window = 0;
	d->n_pages = 0;
}

static int next_of_tmpfs(const struct content_data *d, uint64_t at, struct content_extent *ret)
{
	off_t start = lseek(d->fd, (off_t)at, SEEK_DATA);

	if (start < 0)
		return errno == ENXIO ? 0 : -1;
	off_t end = lseek(d->fd, start, SEEK_HOLE);
	if (end < 0)
		return -1;
	*ret = (struct content_extent){ (uint64_t)start, (uint64_t)(end - start) };
	return 1;
}

/* the pages from @at on */
static int look(struct content_data *d, uint64_t at)
{
	uint64_t n = (d->size - at + PAGE - 1) / PAGE;
	size_t size = (n < CONTENT_WINDOW ? (size_t)n : CONTENT_WINDOW) * PAGE;
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, d->fd, (off_t)at);

	if (p == MAP_FAILED)
		return -1;
	int r = mincore(p, size, d->pages);
	int saved = errno;
	munmap(p, size);
	errno = saved;
	d->window = at;
	d->n_pages = size / PAGE;
	return r;
}

/* the next stretch within the window: 0 when there is none */
static int next_in_window(struct content_data *d, uint64_t at, struct content_extent *ret)
{
	size_t i = (size_t)((at - d->window) / PAGE), end;

	while (i < d->n_pages && !(d->pages[i] & 1))
		i++;
	for (end = i; end < d->n_pages && d->pages[end] & 1;)
		end++;
	if (i == end)
		return 0;
	d->left -= end - i < d->left ? end - i : d->left;
	*ret = (struct content_extent){ d->window + i * PAGE, (end - i) * PAGE };
	if (ret->size > d->size - ret->offset)
		ret->size = d->size - ret->offset;
	return 1;
}

/* ends when as many pages have been found as there are: the rest may be long */
static int next_of_ramfs(struct content_data *d, uint64_t at, struct content_extent *ret)
{
	while (at < d->size && d->left) {
		uint64_t end = d->window + d->n_pages * PAGE;
		if (at < end && next_in_window(d, at, ret))
			return 1;
		if (at < end)
			at = end;
		if (at < d->size && look(d, at) < 0)
			return -1;
	}
	return 0;
}

int content_next_data(struct content_data *d, uint64_t at, struct content_extent *ret)
{
	if (at >= d->size)
		return 0;
	return d->ramfs ? next_of_ramfs(d, at, ret) : next_of_tmpfs(d, at, ret);
}
