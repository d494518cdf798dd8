/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals whose other end is outside the set: the window a shell runs in, the pty of `stasis
 * run`. At a foreground restart the new pty takes the place of one, others come from --external.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind tty_kind;
