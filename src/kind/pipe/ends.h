/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ends of pipes and FIFOs: which the set has, opened for a look; made at restart. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kind/kind.h"
#include "kind/pipe/contents.h"

#define PIPE_PAGE             4096u
#define PIPE_CAPACITY_DEFAULT 65536u  /* pipe(7) */
#define PIPE_LARGEFILE        0100000 /* the kernel's O_LARGEFILE; the C library says 0 */

/* a descriptor of the set; task NULL = none */
struct pipe_end {
	const struct task *task;
	int fd;
};

struct pipe_ends {
	struct pipe_end reader, writer; /* both for O_RDWR */
	struct pipe_end path;           /* O_PATH */
};

/* ---- checkpoint ---- */

/* notes an end that the set has; of readers and writers the first is kept */
void pipe_ends_add(struct pipe_ends *ends, const struct descriptor *d);
const struct task *pipe_ends_task(const struct pipe_ends *ends); /* one that has it */

/**
 * pipe_ends_open() - a description of our own of an end that the set has too
 * @ret_fd:	nonblocking, for reading if the set reads it; -1 when the set only has O_PATH ones.
 *		Of a side that is open already, so nobody is woken or told.
 */
int pipe_ends_open(const struct pipe_ends *ends, int *ret_fd, struct error *err);
/*
 * Whether someone has the side that nobody in the set has, according to the kernel. For FIFOs it
 * may not be known: false.
 */
bool pipe_ends_other_side_open(const struct pipe_ends *ends, int fd);
/* capacity and a copy of the contents; @fd: from pipe_ends_open(), or -1 */
int pipe_ends_read(const struct pipe_ends *ends, int fd, struct pipe_data *ret,
                   uint32_t *ret_capacity, struct error *err);

/* ---- restart ---- */

/* a new description of the pipe behind @fd, with the flags that the set's one has */
int pipe_end_reopen(int fd, uint32_t flags, int *ret_fd, struct error *err);
/* sets O_NONBLOCK and O_DIRECT as in @flags */
int pipe_end_set_flags(int fd, uint32_t flags, struct error *err);

/* pure: a name that can be given on a command line, or empty */
bool pipe_external_valid(const ProtobufCBinaryData *name);
/* refuses an external pipe that was not supplied, is none, or lacks the end that is needed */
void pipe_external_preflight(struct restart *r, const char *name, bool reads, bool writes);
int pipe_external_open(struct restart *r, const char *name, int *ret_fd, struct error *err);
