/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in a pipe or FIFO, read without consuming it and written again: kinds pipe and fifo.
 *
 * A pipe is a ring of buffers, one per page of its capacity. How full it is counts in buffers, and
 * a buffer may be a packet; so the buffers come back one for one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipe.pb-c.h"
#include "util/error.h"

struct checkpoint;
struct object;
struct page_block;
struct restart;

/**
 * pipe_capacity_max() - what an unprivileged F_SETPIPE_SZ may ask for, in bytes: fs.pipe-max-size
 */
uint32_t pipe_capacity_max(void);

/* ---- checkpoint ---- */

struct pipe_buffer {
	uint32_t length; /* bytes */
	bool packet;
};

struct pipe_data {
	char *bytes; /* owned, like buffers: pipe_data_done(); room up to a full page, zeroed */
	size_t size;
	struct pipe_buffer *buffers;
	size_t n_buffers;
};
void pipe_data_done(struct pipe_data *data);

/**
 * pipe_read() - a copy of what is in a pipe
 * @fd:		a read end; nothing is consumed, and its flags do not matter
 * Returns 0; -EOPNOTSUPP with a refusal when a copy is not possible: pipe.capacity.
 */
int pipe_read(int fd, struct pipe_data *ret, struct error *err);
/* the message; -EOPNOTSUPP, pipe.contents, when its buffers could not be put back */
int pipe_describe(const struct pipe_data *data, uint32_t capacity, PipeContents **ret,
                  struct error *err);
/* writes the bytes as page blocks */
int pipe_save_bulk(struct checkpoint *c, const struct object *object, const struct pipe_data *data,
                   struct error *err);

/* ---- restart ---- */

/* pure; NULL is refused too */
int pipe_contents_validate(const PipeContents *contents, struct error *err);
/* refuses what F_SETPIPE_SZ will not give: pipe.capacity */
int pipe_contents_preflight(struct restart *r, const PipeContents *contents, const char *what);
uint64_t pipe_contents_size(const PipeContents *contents); /* bytes, validated */

/* takes page blocks of the object into @bytes, of pipe_contents_size() rounded up to a page */
int pipe_restore_bulk(const struct page_block *block, char *bytes, uint64_t size,
                      struct error *err);
int pipe_set_capacity(int fd, const PipeContents *contents, struct error *err);
/*
 * puts the buffers into an empty pipe of that capacity; @fd: open for writing, not in packet mode
 */
int pipe_write(int fd, const PipeContents *contents, const char *bytes, struct error *err);
