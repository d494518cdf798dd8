/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File systems that are mounted in namespaces of the set. kind/mounts/mounts.h has the whole. */
#pragma once

#include "kind/kind.h"

extern const struct kind superblock_kind;
