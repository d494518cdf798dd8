/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind fs: working directory, root directory and umask (CLONE_FS shares them). */
#pragma once

#include "kind/kind.h"

extern const struct kind fs_kind;
