/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors of namespaces: /proc/PID/ns/X opened, or a file that one is bound to. namespaces(7).
 */
#pragma once

#include "kind/kind.h"

extern const struct kind nsfs_kind;
