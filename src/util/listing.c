/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listings of directories. See listing.h. */
#include "util/listing.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"

#define ROOM 65536u /* bytes of entries asked for at once */

static void note_entries(struct listing *l, size_t from)
{
	for (size_t at = from; at < l->size;) {
		const struct dirent64 *d = (const void *)(l->bytes + at);
		*array_push(l->at, l->n) = at;
		at += d->d_reclen;
	}
}

int listing_read(int fd, struct listing *ret)
{
	size_t room = 0;

	*ret = (struct listing)LISTING_INIT;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		if (room - ret->size < ROOM) {
			room = room ? 2 * room : ROOM;
			ret->bytes = xrealloc(ret->bytes, room, 1);
		}
		ssize_t n = getdents64(fd, ret->bytes + ret->size, ROOM);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		ret->size += (size_t)n;
		note_entries(ret, ret->size - (size_t)n);
	}
}

void listing_done(struct listing *l)
{
	free(l->bytes);
	free(l->at);
	*l = (struct listing)LISTING_INIT;
}

const struct dirent64 *listing_entry(const struct listing *l, size_t i)
{
	return (const void *)(l->bytes + l->at[i]);
}

int listing_next(int fd, off_t position, char name[NAME_MAX + 1])
{
	union {
		struct dirent64 entry;
		char bytes[2 * sizeof(struct dirent64)];
	} room;

	name[0] = 0;
	if (lseek(fd, position, SEEK_SET) < 0)
		return -errno;
	ssize_t n = getdents64(fd, &room, sizeof(room));
	if (n <= 0)
		return n < 0 ? -errno : 0;
	size_t size = strnlen(room.entry.d_name, NAME_MAX);
	memcpy(name, room.entry.d_name, size);
	name[size] = 0;
	return 1;
}

int listing_find(int fd, const char *name, off_t *ret)
{
	_cleanup_(listing_done) struct listing l;
	int r = listing_read(fd, &l);

	*ret = 0;
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		const struct dirent64 *d = listing_entry(&l, i);
		if (!strcmp(d->d_name, name))
			return 1;
		*ret = d->d_off;
	}
	return r < 0 ? r : !name[0];
}

bool listing_is_counted(uint32_t magic)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (magic != TMPFS_MAGIC || uname(&name) < 0)
		return magic == RAMFS_MAGIC;
	return sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	       (major < 6 || (major == 6 && minor < 6));
}

bool listing_counts(const struct listing *l)
{
	for (size_t i = 1; i < l->n; i++)
		if (listing_entry(l, i)->d_off <= listing_entry(l, i - 1)->d_off)
			return false;
	return l->n && listing_entry(l, 0)->d_off == 1 &&
	       listing_entry(l, l->n - 1)->d_off < INT32_MAX;
}

bool listing_goes_down(const struct listing *l)
{
	return l->n >= 4 && listing_entry(l, 1)->d_off > listing_entry(l, 2)->d_off;
}

bool listing_has(const struct listing *l, off_t position)
{
	bool found = position == 0;

	for (size_t i = 0; i < l->n && !found; i++)
		found = listing_entry(l, i)->d_off == position;
	return found;
}
