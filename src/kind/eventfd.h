/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event counters, eventfd(2). */
#pragma once

#include "kind/kind.h"

extern const struct kind eventfd_kind;
