/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces: all must be the coordinator's. There is nothing to save, hence no message. */
#pragma once

#include "kind/kind.h"

extern const struct kind namespace_kind;
