/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time namespaces: CLOCK_MONOTONIC and CLOCK_BOOTTIME go on where they were. The one that the
 * checkpoint runs in is recorded, too: restart --clock continue makes a new one in its place.
 * time_namespaces(7).
 */
#pragma once

#include "kind/kind.h"

extern const struct kind time_ns_kind;
