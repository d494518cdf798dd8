/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a directory lists, in the order of getdents64(2), "." and ".." among it; and where in that
 * order an entry stands. A position means something in one directory only: in another one with the
 * same names it has to be found by the name of the entry that comes next.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct listing {
	char *bytes; /* struct dirent64 one after the other */
	size_t size;
	size_t *at; /* where each begins */
	size_t n;
};

/* all that @fd lists, which stands at the end then. 0 or -errno; listing_done() in both cases */
int listing_read(int fd, struct listing *ret);
void listing_done(struct listing *l);
const struct dirent64 *listing_entry(const struct listing *l, size_t i);
#define LISTING_INIT \
	{            \
		0    \
	}

/*
 * The entry that @fd goes on with at @position: 1 and its @name, or 0 at the end (@name is ""
 * then); -errno. @fd stands elsewhere afterwards.
 */
int listing_next(int fd, off_t position, char name[NAME_MAX + 1]);
/*
 * Where @fd has to stand for @name to come next; "" is the end. 1, or 0: there is none of that
 * name; -errno. @fd stands elsewhere afterwards.
 */
int listing_find(int fd, const char *name, off_t *ret);
/*
 * Whether a position in a file system of this type, statfs(2), is a mere count of entries, of which
 * what was made last comes first: ramfs, and tmpfs before Linux 6.6 (fs/libfs.c, dcache_readdir).
 * Where a description stands it says only as long as nothing is made or deleted: that remembers an
 * entry, too, which nobody is shown.
 */
bool listing_is_counted(uint32_t magic);
/*
 * pure: whether positions may be a mere count in a listing that was read, as in a directory that an
 * overlay merges of several: each description counts what was there when it began, what hides
 * entries of lower layers (whiteouts) among it.
 */
bool listing_counts(const struct listing *l);
/*
 * pure: whether positions go down from the first entry ("." and ".." apart) to the last, as tmpfs
 * has it since Linux 6.14 (and where that came to older ones): what was made last comes first, and
 * where the entry of a position has gone the kernel goes on at one made later. False of less than
 * two entries.
 */
bool listing_goes_down(const struct listing *l);
/* pure: whether an entry, or the end, of a listing that was read from its begin is there */
bool listing_has(const struct listing *l, off_t position);
