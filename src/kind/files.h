/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind files: descriptor tables (CLONE_FILES shares them), with their descriptors' own flags. */
#pragma once

#include "kind/kind.h"

extern const struct kind files_kind;
