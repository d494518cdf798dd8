/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FIFOs: pipes with a name, as long as the set has them open. The file is not part of the image; it
 * must be there at restart, unless it was deleted. See kind pipe.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind fifo_kind;
