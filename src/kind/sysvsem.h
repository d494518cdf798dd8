/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of System V semaphore adjustments (SEM_UNDO): which tasks share one, CLONE_SYSVSEM. */
#pragma once

#include "kind/kind.h"

extern const struct kind sysvsem_kind;
