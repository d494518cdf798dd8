/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pipes without a name: capacity, contents, packet boundaries, owner; any number of holders. One
 * that something outside the set holds is a leak, or with --external another one takes its place.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind pipe_kind;
