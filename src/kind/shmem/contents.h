/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of a file of shared memory as page blocks, page set 0: kinds shmem and ipc_shm. */
#pragma once

#include "kind/kind.h"

/* saves what of @size bytes there is; holes stay holes */
int shmem_contents_save(struct checkpoint *c, const struct object *object, int fd, uint64_t size,
                        struct error *err);
/* @map: where it is mapped, if it is of huge pages, which write(2) does not take, or @fd is -1 */
int shmem_contents_write(int fd, char *map, uint64_t size_bytes, const struct page_block *block,
                         struct error *err);
