/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cgroup namespaces: which group each hierarchy seems to begin at. cgroup_namespaces(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind cgroup_ns_kind;
