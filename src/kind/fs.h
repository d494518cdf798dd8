/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Working directory, root directory and umask (fs_struct). */
#pragma once

#include "kind/kind.h"

extern const struct kind fs_kind;
