/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UTS namespaces: host name and domain name. uts_namespaces(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind uts_ns_kind;
