/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FIFOs that were deleted while they were open: what they have, and new ones like them. */
#pragma once

#include "fifo.pb-c.h"
#include "kind/kind.h"
#include "kind/place.h"
#include "kind/regfile/names.h"

/*
 * Its path without " (deleted)", the caller's, if that was deleted, and it has others or can be
 * made again. Else NULL with a refusal, or with CODE_NONE if it was not deleted.
 */
char *fifo_deleted_path(const struct descriptor *d, const struct place *place,
                        struct error *refusal);
FifoDeleted *fifo_deleted_describe(const struct stat *st);
int fifo_deleted_validate(const FifoDeleted *d, struct error *err); /* pure */
/* a new one, deleted too, which @name keeps until it is closed, the caller's; *ret_fd: O_PATH */
int fifo_deleted_make(struct restart *r, uint32_t mount, const char *path, struct old_name *name,
                      int *ret_fd, struct error *err);
/*
 * gives @fd, which has other names, its old one for a moment; *ret_fd: O_PATH, -1 if that is taken
 */
int fifo_linked_find(struct restart *r, uint32_t mount, const char *path, int fd, int *ret_fd,
                     struct error *err);
/*
 * gives it what the old one had, times too: after the contents. @fd is open for reading or writing
 */
int fifo_deleted_finish(int fd, const FifoDeleted *d, struct error *err);
