/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers as descriptors, timerfd_create(2). */
#pragma once

#include "kind/kind.h"

extern const struct kind timerfd_kind;
