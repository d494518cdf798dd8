/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of signals, signalfd(2). */
#pragma once

#include "kind/kind.h"

extern const struct kind signalfd_kind;
