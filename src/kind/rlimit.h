/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resource limits of a process, getrlimit(2). */
#pragma once

#include "kind/kind.h"

extern const struct kind rlimit_kind;
