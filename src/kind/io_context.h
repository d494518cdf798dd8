/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O contexts: which tasks share one, CLONE_IO in clone(2). */
#pragma once

#include "kind/kind.h"

extern const struct kind io_context_kind;
