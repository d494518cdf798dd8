/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open file descriptions. Descriptor tables (kind files) refer to them. */
#pragma once

#include <stdbool.h>

#include "kind/kind.h"

struct calls;

extern const struct kind file_kind;

/**
 * file_collect() - find or add the open file description behind a descriptor of a held task
 * @d:		complete, with a live reference, which stays the caller's
 * @position:	file offset
 * @ret:	NULL when it was refused
 */
int file_collect(struct checkpoint *c, const struct descriptor *d, uint64_t position,
                 struct object **ret, struct error *err);

/* restart: one more descriptor will ask for it; called before the first file_descriptor() */
void file_expect(struct object *object);
/*
 * The coordinator's descriptor of it, opened at the first call. After as many file_done() as there
 * were file_expect() it is closed.
 */
int file_descriptor(struct restart *r, struct object *object, int *ret_fd, struct error *err);
void file_done(struct object *object);
/* adds the calls that only its task can make for descriptor @fd: who gets its signals */
void file_install(struct object *object, struct calls *calls, int fd);
