/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials of threads, credentials(7), capabilities(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind cred_kind;

/*
 * Restart, before a stub enters the user namespace that its credentials are of: gives it their user
 * and group ids, of which the namespace need not have names, and lets it keep its capabilities.
 */
/* the same of the calling process, a helper that is going to clone @stub */
int cred_become(const struct stub *stub, struct error *err);
int cred_assume(struct restart *r, struct stub *stub, struct error *err);
