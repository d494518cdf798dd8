/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secure computing, seccomp(2): strict mode and filters of threads. */
#pragma once

#include "kind/kind.h"

extern const struct kind seccomp_kind;
