/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind shmem: shared anonymous memory, an object of its own that relatives map. */
#pragma once

#include <sys/types.h>

#include "kind/kind.h"

extern const struct kind shmem_kind;

/* the kernel's own tmpfs: shared anonymous memory and System V segments live there; 0 if unknown */
dev_t shmem_device(void);
