/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three interval timers of a process, setitimer(2): what was left when it was frozen. */
#pragma once

#include "kind/kind.h"

extern const struct kind itimer_kind;
