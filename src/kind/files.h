/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptor tables (files_struct): which number is which open file description (kind file). */
#pragma once

#include "kind/kind.h"

extern const struct kind files_kind;
