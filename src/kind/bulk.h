/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents of one thing as page blocks of its object, page set 0, by offset. Holes and zeros cost
 * nothing; the last page is filled up with zeros.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct checkpoint;
struct object;
struct page_block;

/* of a file, which stays as sparse as it is; @what it is, for messages */
int bulk_save_file(struct checkpoint *c, const struct object *object, int fd, uint64_t size,
                   const char *what, struct error *err);
/* of memory of ours */
int bulk_save_bytes(struct checkpoint *c, const struct object *object, const void *bytes,
                    size_t size, struct error *err);

/* puts @size bytes, at most to the end of it all, where they belong */
typedef int (*bulk_put)(void *context, uint64_t offset, const char *bytes, size_t size,
                        struct error *err);
/**
 * bulk_restore() - the data of one block of something of @size bytes; what is zero is left as it is
 * -EBADMSG: a page of another set, or behind the end
 */
int bulk_restore(const struct page_block *block, uint64_t size, const char *what, bulk_put put,
                 void *context, struct error *err);
/* a bulk_put: into a file, whose descriptor @context points to */
int bulk_put_file(void *context, uint64_t offset, const char *bytes, size_t size,
                  struct error *err);
