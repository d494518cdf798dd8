/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of content.h have in common: streams in memory, trees, and an independent look. */
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "util/bytes.h"
#include "util/error.h"

#define FROM "/tmp/from"
#define TO   "/tmp/to"

#define ok(x)                                                                       \
	do                                                                          \
		if ((x) < 0) {                                                      \
			fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #x); \
			fail();                                                     \
		}                                                                   \
	while (0)

/* fails the test when @r is negative */
void check(int r, const struct error *err);

/* a stream in memory, in pieces of any size */
struct memory {
	char *data;
	size_t size, room;
	size_t piece; /* bytes lent at once */
	size_t at;    /* read so far */
};
struct byte_sink sink_of(struct memory *m);
struct byte_source source_of(struct memory *m);

/* what an independent walk finds below @root, as text that the caller frees */
char *description(const char *root);
void assert_same(const char *a, const char *b);

void save(const char *from, struct memory *m);
int try_restore(const char *to, struct memory *m, struct error *err);
void mount_at(const char *path, const char *type, const char *options);
void unmount(void); /* FROM and TO */

void make_file(const char *path, const void *data, size_t size, off_t offset);
void set_times(const char *path, time_t atime, time_t mtime);
void make_types(void); /* one of each below FROM */

/* a mount namespace with an empty /tmp; false: not root */
bool enter_room(void);
