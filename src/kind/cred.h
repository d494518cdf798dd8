/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials of threads, credentials(7), capabilities(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind cred_kind;
