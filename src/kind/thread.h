/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What belongs to a single thread and to no other kind: signal mask, alternate stack, robust list,
 * address to clear at its end, rseq registration, memory policy. One object per thread.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind thread_kind;
