/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind shmem: shared anonymous memory, an object of its own that relatives map. */
#pragma once

#include "kind/kind.h"

extern const struct kind shmem_kind;
