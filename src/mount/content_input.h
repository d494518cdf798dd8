/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stream of content_format.h as a restart reads it: nothing in it is trusted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mount/content_format.h"
#include "util/bytes.h"

struct content_input {
	const struct byte_source *source;
	const char *piece; /* lent by the source, what is left of it */
	size_t left;
	uint64_t at; /* bytes of the stream so far */
};

/* an entry, checked by itself; name and target end in a NUL that is not counted */
struct content_item {
	struct content_entry e;
	char name[CONTENT_NAME_MAX + 1];
	char target[CONTENT_TARGET_MAX + 1];
};

/* starts an error that is a malformed stream; returns -EBADMSG */
#define content_invalid(err, ...)                                                             \
	error_negative(error_raise_at((err), EBADMSG, CODE_image_invalid, __func__, __LINE__, \
	                              __VA_ARGS__))

/* take what comes next in the stream, see content_format.h; -EBADMSG if it is something else */
int content_read_header(struct content_input *in, struct error *err);
int content_read_item(struct content_input *in, struct content_item *ret, struct error *err);
/*
 * @ret: ->offset and ->size as written; data within a file of @size, from @at on; then padding is
 * over
 */
int content_read_extent(struct content_input *in, uint64_t size, uint64_t at,
                        struct content_extent *ret, struct error *err);
/* lends at least one byte and at most @most of what comes */
int content_read_bytes(struct content_input *in, uint64_t most, const char **ret, size_t *ret_size,
                       struct error *err);
/* @name ends in a NUL; @value: room for CONTENT_XATTR_MAX */
int content_read_xattr(struct content_input *in, char name[CONTENT_NAME_MAX + 1], char *value,
                       size_t *ret_size, struct error *err);
/* nothing but zeros may be left */
int content_read_end(struct content_input *in, struct error *err);
