/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How each feature of features.def is found out; capabilities are asked for elsewhere. */
#pragma once

#include <stdbool.h>

#define FEATURE(name, since, purpose) bool probe_##name(void);
#define CAPABILITY(name, number, purpose)
#include "host/features.def"
#undef FEATURE
#undef CAPABILITY
