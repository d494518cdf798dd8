/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents of a file system as an image has them, into a small tmpfs that is mounted nowhere. What
 * is taken must be something that can be saved and restored again. Needs root.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount/content.h"
#include "mount/content_format.h"
#include "repair.h"
#include "util/alloc.h"

#define ENTRIES_MAX 256

/* a stream in memory, in pieces that end anywhere */
struct memory {
	const uint8_t *from; /* what is read */
	size_t size, piece;
	uint8_t *to; /* what is written */
	size_t n, room;
};

static int next(void *context, const void **ret, size_t *ret_size, struct error *err)
{
	struct memory *m = context;

	*ret = m->from;
	*ret_size = m->size < m->piece ? m->size : m->piece;
	m->from += *ret_size;
	m->size -= *ret_size;
	return *ret_size > 0;
}

static int lend(void *context, void **ret, size_t *ret_size, struct error *err)
{
	struct memory *m = context;

	if (m->room - m->n < 65536)
		m->to = xrealloc(m->to, m->room = 2 * m->room + 65536, 1);
	*ret = m->to + m->n;
	*ret_size = 65536;
	return 0;
}

static int filled(void *context, size_t size, struct error *err)
{
	((struct memory *)context)->n += size;
	return 0;
}

static int new_tmpfs(void)
{
	int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "1m", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "500", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		abort();
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOATIME);
	if (fd < 0)
		abort();
	close(fs);
	return fd;
}

/* 0 when the stream has been taken, settled and, with @m->room, saved again */
static int restore(int root, struct memory *m, struct content_totals *ret)
{
	const struct byte_source source = { m, next };
	struct error err = ERROR_INIT;
	struct content *c;
	int r = content_restore(root, &source, &c, &err);

	if (r == 0) {
		*ret = *content_totals(c);
		r = content_settle(c, &err);
	}
	content_free(c);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory m = { .from = data, .size = size, .piece = size % 97 ? size : 7 };
	const struct byte_sink sink = { &m, lend, filled };
	struct content_totals first, saved, second;
	struct error err = ERROR_INIT;
	int root = new_tmpfs();

	if (restore(root, &m, &first) == 0) {
		if (content_save(root, &sink, NULL, &saved, &err) < 0 ||
		    saved.n_inodes != first.n_inodes)
			abort();
		int again = new_tmpfs();
		struct memory copy = { .from = m.to, .size = m.n, .piece = m.n };
		if (restore(again, &copy, &second) < 0 || second.n_inodes != saved.n_inodes ||
		    second.bytes != saved.bytes)
			abort();
		close(again);
	}
	free(m.to);
	close(root);
	return 0;
}

/* ---- mutation: entries are changed, left out, doubled ---- */

/* bytes of the entry at @data, as far as they can be followed */
static size_t entry_size(const uint8_t *data, size_t size)
{
	struct content_entry e;
	uint64_t n = sizeof(e);

	if (size < sizeof(e))
		return size;
	memcpy(&e, data, sizeof(e));
	n += (uint64_t)e.name_size + e.target_size;
	for (struct content_extent x = { .size = 1 };
	     e.type == CONTENT_FILE && x.size && n + sizeof(x) <= size;) {
		memcpy(&x, data + n, sizeof(x));
		n += sizeof(x);
		if (!(x.size & CONTENT_UNWRITTEN))
			n += x.size < size ? x.size : size;
	}
	for (uint32_t i = 0; i < e.n_xattrs && n + sizeof(struct content_xattr) <= size; i++) {
		struct content_xattr x;
		memcpy(&x, data + n, sizeof(x));
		n += sizeof(x) + (uint64_t)x.name_size + x.value_size;
	}
	return n < size ? (size_t)n : size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size_t at[ENTRIES_MAX + 1], n = 0;

	for (size_t i = sizeof(struct content_header); i < size && n < ENTRIES_MAX;
	     i += entry_size(data + i, size - i))
		at[n++] = i;
	if (n < 2 || seed % 16 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	at[n] = size;
	size_t chosen = (seed >> 4) % n, start = at[chosen], end = at[chosen + 1],
	       length = end - start;
	size_t rest = size - end, room = length + 64;
	uint8_t *tail = xmemdup(data + end, rest), *entry = xcalloc(1, 2 * room);
	memcpy(entry, data + start, length);
	if (seed >> 12 & 1 && length > sizeof(struct content_entry))
		length = LLVMFuzzerMutate(entry, length, room);
	else if (seed >> 12 & 2) /* a field; what follows stays in step */
		LLVMFuzzerMutate(entry + (seed >> 14) % 20 * 4, 4, 4);
	else if (seed >> 12 & 4) {
		memcpy(entry + length, data + start, length);
		length *= 2;
	} else {
		length = 0;
	}
	if (start + length + rest <= max_size) {
		memcpy(data + start, entry, length);
		memcpy(data + start + length, tail, rest);
		size = start + length + rest;
	}
	free(tail);
	free(entry);
	return size;
}
