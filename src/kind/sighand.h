/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process does on each signal, sigaction(2): shared by threads, and by CLONE_SIGHAND. */
#pragma once

#include "kind/kind.h"

extern const struct kind sighand_kind;
