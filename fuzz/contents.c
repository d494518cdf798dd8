/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What images say: every kind's message decoded, validated, planned as a tree and described, by
 * the commands that do it. The mutator knows the framing, so that what it changes are messages.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "repair.h"
#include "util/alloc.h"

static void run(const struct command *command, const char *path, const char *view)
{
	char *argv[] = { (char *)command->name, (char *)path, (char *)view, NULL };

	optind = 0; /* getopt(3): scan anew */
	command->run(view ? 3 : 2, argv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const views[] = { "--tree",    "--memory",  "--files",
		                             "--objects", "--records", "--json" };
	uint8_t *copy = xmemdup(data, size);
	char path[32];

	repair(copy, size);
	int fd = file_of(copy, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* what the commands print is not looked at (-close_fd_mask) */
	run(&verify_command, path, NULL);
	run(&inspect_command, path, NULL);
	run(&inspect_command, path, views[size % 6]);
	close(fd);
	free(copy);
	return 0;
}

/* ---- mutation ---- */

struct copier {
	uint8_t *to;
	size_t size, max_size;
};

static void copy(struct copier *c, const void *from, size_t size)
{
	if (size > c->max_size - c->size)
		return;
	memcpy(c->to + c->size, from, size);
	c->size += size;
}

static void copy_record(struct copier *c, const struct span *s, const uint8_t *body, size_t size)
{
	struct image_record_header h = s->header;

	if (sizeof(h) + size > c->max_size - c->size)
		return;
	h.padding = 0;
	h.length = size;
	copy(c, &h, sizeof(h));
	copy(c, body, size);
}

/* a trailer and footer for as many records as there are; repair() fills them in */
static void copy_end(struct copier *c, size_t n)
{
	uint8_t *zeros =
		xcalloc(1, sizeof(struct image_trailer) + n * sizeof(struct image_index_entry));
	struct span s = { .header.type = IMAGE_TRAILER };

	copy_record(c, &s, zeros,
	            sizeof(struct image_trailer) + n * sizeof(struct image_index_entry));
	copy(c, zeros, sizeof(struct image_footer));
	free(zeros);
}

static size_t count_records(const uint8_t *data, size_t size)
{
	struct span s;
	size_t n = 0;

	for (size_t at = sizeof(struct image_header); span_at(data, size, at, &s); at = s.end)
		n++;
	return n;
}

/* one record of the image: its body mutated, its id or type changed, left out or doubled */
static void mutate_record(struct copier *c, const uint8_t *data, struct span *s, unsigned how)
{
	size_t size = s->end - s->body, room = size + 256;
	uint8_t *body = xcalloc(1, room);

	memcpy(body, data + s->body, size);
	if (how % 16 == 0)
		s->header.object = (how >> 4) % 64;
	else if (how % 16 == 1)
		s->header.type = (how >> 4) % 64;
	else if (how % 16 > 3)
		size = LLVMFuzzerMutate(body, size, room);
	if (how % 16 != 2)
		copy_record(c, s, body, size);
	if (how % 16 == 3)
		copy_record(c, s, body, size);
	free(body);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size_t n = count_records(data, size), i = 0, kept;

	if (n < 2 || seed % 32 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	struct copier c = { .to = xcalloc(1, max_size + 1), .max_size = max_size };
	size_t chosen = (seed >> 5) % n;
	struct span s;
	copy(&c, data, sizeof(struct image_header));
	for (size_t at = sizeof(struct image_header); span_at(data, size, at, &s); at = s.end) {
		if (s.header.type == IMAGE_TRAILER)
			break;
		if (i++ == chosen)
			mutate_record(&c, data, &s, seed >> 12);
		else
			copy_record(&c, &s, data + s.body, s.end - s.body);
	}
	kept = count_records(c.to, c.size);
	copy_end(&c, kept);
	memcpy(data, c.to, c.size);
	free(c.to);
	return c.size;
}
