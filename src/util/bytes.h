/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Streams of bytes that are not copied on the way: the stream's own buffers are lent. */
#pragma once

#include <stddef.h>

#include "util/error.h"

/* where bytes go */
struct byte_sink {
	void *context;
	/* lends room for at least one byte */
	int (*room)(void *context, void **ret, size_t *ret_size, struct error *err);
	/* so many bytes at the start of that room have been written */
	int (*filled)(void *context, size_t size, struct error *err);
};

/* where bytes come from */
struct byte_source {
	void *context;
	/* lends the next bytes, at least one, until the next call: 1, or 0 at the end */
	int (*next)(void *context, const void **ret, size_t *ret_size, struct error *err);
};
