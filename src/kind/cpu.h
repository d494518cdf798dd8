/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers of a thread; what of its processor state cannot be saved is refused here. */
#pragma once

#include "kind/kind.h"

extern const struct kind cpu_kind;
