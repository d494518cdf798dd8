/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces of a sort that is not known. There is nothing to save, hence no message. */
#pragma once

#include "kind/kind.h"

extern const struct kind namespace_kind;
