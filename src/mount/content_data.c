/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tmpfs tells by SEEK_DATA. A ramfs does not, and reading a hole would fill it with a page; what
 * it has is what is in the page cache, and mincore(2) tells that. What a tmpfs has allocated
 * without data are pages in the cache as well, which cachestat(2) counts, and mincore(2) does not.
 */
#include "mount/content_data.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/uapi.h"

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

/* ---- allocated, not written ---- */

struct unwritten {
	int fd;
	uint64_t left; /* pages that have not been found */
	struct content_extent *found;
	size_t n;
};

#define LAST_PAGE ((uint64_t)INT64_MAX / PAGE)

/* how many pages there are in [from, to) */
static int count(const struct unwritten *u, uint64_t from, uint64_t to, uint64_t *ret)
{
	struct cachestat_range range = { from * PAGE, (to - from) * PAGE };
	struct cachestat found;

	if (syscall(__NR_cachestat, u->fd, &range, &found, 0) < 0)
		return -1;
	*ret = found.nr_cache + found.nr_evicted;
	return 0;
}

static void add(struct unwritten *u, uint64_t from, uint64_t to)
{
	struct content_extent *last = u->n ? &u->found[u->n - 1] : NULL;

	if (last && last->offset + last->size == from * PAGE)
		last->size += (to - from) * PAGE;
	else
		*array_push(u->found, u->n) = (struct content_extent){ from * PAGE,
			                                               (to - from) * PAGE };
	u->left -= to - from < u->left ? to - from : u->left;
}

/* in halves, down to what is there as a whole; @n pages are somewhere in it */
static int find(struct unwritten *u, uint64_t from, uint64_t to, uint64_t n)
{
	uint64_t middle = from + (to - from) / 2, first;

	if (n == 0)
		return 0;
	if (n >= to - from) {
		add(u, from, to);
		return 0;
	}
	if (count(u, from, middle, &first) < 0)
		return -1;
	int r = find(u, from, middle, first);
	return r < 0 ? r : find(u, middle, to, n > first ? n - first : 0);
}

int content_find_unwritten(int fd, const struct stat *st, uint64_t n_pages,
                           struct content_extent **ret, size_t *ret_n)
{
	struct unwritten u = { .fd = fd, .left = n_pages };
	struct content_extent data = { 0 };
	struct content_data d;
	int r = 1;

	content_data_init(&d, fd, st, false);
	for (uint64_t from = 0, n; r > 0 && u.left;
	     from = (data.offset + data.size + PAGE - 1) / PAGE) {
		r = content_next_data(&d, data.offset + data.size, &data);
		uint64_t to = r > 0 ? data.offset / PAGE : LAST_PAGE;
		if (r >= 0 && to > from &&
		    (count(&u, from, to, &n) < 0 || find(&u, from, to, n) < 0))
			r = -1;
	}
	*ret = u.found;
	*ret_n = u.n;
	return r < 0 ? -1 : 0;
}
