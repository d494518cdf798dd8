/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart, phases read and fill: the image's contents (core/contents.h), handed to the kinds. */
#include <stdatomic.h>
#include <sys/stat.h>

#include "core/progress.h"
#include "core/restart_parts.h"
#include "kind/kind.h"
#include "kind/pid_ns.h"
#include "task/plan.h"

uint64_t restart_blocks_left(const struct restart *r)
{
	return r->blocks_size > r->blocks_done ? r->blocks_size - r->blocks_done : 0;
}

int restart_read(struct restart *r, int fd, struct error *err)
{
	struct contents *c = &r->image;
	struct stat st;
	int e = contents_read(c, err);

	if (e == 0 && c->ahead.type && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size > c->ahead.offset)
		r->blocks_size = (uint64_t)st.st_size - c->ahead.offset;

	if (e == 0)
		e = contents_check(c, err);
	if (e < 0)
		return error_trace(err, e);
	r->tasks = c->tasks;
	r->plan_tasks = c->plan_tasks;
	r->n_tasks = c->n_tasks;
	r->plan = c->plan;
	if (r->plan_tasks[r->plan->root].state == PLAN_ZOMBIE)
		return error_refuse(err, CODE_image_invalid, "its root task is dead");
	r->new_pidns = r->options->new_pidns || pid_ns_of_root(r->tasks[0], r->objects);
	return 0;
}

static int restore_block(void *context, struct object *object, const struct page_block *block,
                         struct error *err)
{
	struct restart *r = context;

	/* what takes a stream has taken it by now */
	if (!object->kind->restore_bulk)
		return error_refuse(err, CODE_image_invalid, "a page block that is too late");
	int e = object->kind->restore_bulk(r, object, block, err);
	if (e < 0)
		return error_trace(err, e);
	atomic_fetch_add(&r->memory_bytes, block->data_size);
	atomic_fetch_add(&r->blocks_done, block->stored_size);
	progress_add(r->options->progress, r->blocks_size ? block->stored_size : block->data_size);
	return 0;
}

int restart_next_block(struct restart *r, struct error *err)
{
	return contents_next_block(&r->image, restore_block, r, err);
}

int restart_take_blocks(struct restart *r, const struct object *object, struct error *err)
{
	uint32_t next = 0;
	int e;

	while ((e = contents_peek(&r->image, &next, err)) > 0 && next == object->id) {
		e = restart_next_block(r, err);
		if (e < 0)
			break;
	}
	return e < 0 ? error_trace(err, e) : 0;
}

int restart_fill(struct restart *r, struct error *err)
{
	return contents_each_block(&r->image, restore_block, r, err);
}
