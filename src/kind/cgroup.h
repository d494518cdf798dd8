/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Membership in control groups, v1 and v2, cgroups(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind cgroup_kind;
