/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind shmem: shared anonymous memory, an object of its own that relatives map. */
#pragma once

#include <sys/types.h>

#include "kind/kind.h"

extern const struct kind shmem_kind;

struct proc_map;

/*
 * The memory behind a mapping, of which the caller may have no descriptor; NULL: it is none. As it
 * is then seen through mappings, each of them has to be told.
 */
struct object *shmem_seen_by(struct checkpoint *c, const struct task *task,
                             const struct proc_map *map);

/* the kernel's own tmpfs: shared anonymous memory and System V segments live there; 0 if unknown */
dev_t shmem_device(void);
