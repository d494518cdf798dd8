/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices that keep no state: null, zero, full, random, urandom. */
#pragma once

#include "kind/kind.h"

extern const struct kind chardev_kind;
