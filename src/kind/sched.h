/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scheduling: policy, nice, affinity, I/O priority; of the process its OOM score and autogroup. */
#pragma once

#include "kind/kind.h"

extern const struct kind sched_kind;
