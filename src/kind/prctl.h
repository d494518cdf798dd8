/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What prctl(2), arch_prctl(2), personality(2) and membarrier(2) set for threads and processes. */
#pragma once

#include "kind/kind.h"

extern const struct kind prctl_kind;
