/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image holds, decoded and checked: the part of a restart that makes nothing. inspect and
 * verify end here, restart goes on from here, so that all three judge an image by the same code.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tree.h"
#include "image/image.h"
#include "util/error.h"

struct object;
struct objects;
struct plan;
struct plan_task;
struct progress;

struct contents {
	struct image_reader *reader;
	struct objects *objects;
	struct object **tasks; /* the objects of kind task, in order of the image */
	size_t n_tasks;
	struct plan_task *plan_tasks;      /* the same, for the planner; from contents_check() on */
	struct tree_namespaces namespaces; /* of plan_tasks */
	struct plan *plan;
	struct record
		ahead; /* a page block that has been read and not yet given out; type 0: none */
	bool ended;    /* the trailer has been seen, and is right */
};

/* reads and checks the header; @fd stays the caller's */
int contents_open(struct contents *c, int fd, struct error *err);
void contents_close(struct contents *c); /* takes what contents_open() left, failed or not */

/*
 * Reads and decodes all messages, up to the first page block or the trailer. On failure what came
 * before is in @c, for inspect. Of a file the end is looked at too: a copy that is not complete is
 * rejected before anything is made of it.
 */
int contents_read(struct contents *c, struct error *err);
/* Validates all objects, what tasks refer to, and that the tree can be built: c->plan. */
int contents_check(struct contents *c, struct error *err);

/*
 * Takes one page block: verified, decompressed, of an object whose kind has bulk data. Called from
 * several threads at once by contents_each_block().
 */
typedef int take_block(void *context, struct object *object, const struct page_block *block,
                       struct error *err);
/* the next page block: 1, or 0 when there are no more. Not for two threads at once. */
int contents_next_block(struct contents *c, take_block *take, void *context, struct error *err);
/*
 * The next page block if it is @object's, undecoded: 1, or 0 when another's or the end comes. For
 * who decodes and takes them himself. Not for two threads at once.
 */
int contents_next_of(struct contents *c, uint32_t object, struct record *ret, struct error *err);
/* the object that the next page block belongs to: 1, or 0 when there are no more */
int contents_peek(struct contents *c, uint32_t *ret_object, struct error *err);
/* all that are left, in several threads; then the trailer has been verified */
int contents_each_block(struct contents *c, take_block *take, void *context, struct error *err);
/* passes over all that are left, undecoded: of a file, without reading them */
int contents_skip_blocks(struct contents *c, struct error *err);
