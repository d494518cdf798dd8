/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chains of filters at restart. Filters are inherited over clone(2) as one chain, which matters:
 * SECCOMP_FILTER_FLAG_TSYNC works only among threads whose chains are one. So a parent installs
 * what it has in common with a child before it clones it. Filters cannot be taken away again: what
 * is installed before a clone must be right for all that is cloned then or later.
 */
#pragma once

#include <stddef.h>

#include "seccomp.pb-c.h"

struct restart;
struct stub;

struct chains;

/* filters [from, to) of @state */
struct chain_part {
	const SeccompState *state; /* NULL: none */
	size_t from, to;
};

/* computes it for all stubs of the plan */
struct chains *chains_new(const struct restart *r);
void chains_free(struct chains *chains); /* takes NULL */
/* what its parent is to install just before it clones @child */
struct chain_part chains_before_clone(const struct chains *chains, const struct stub *child);
/* what @stub has installed or inherited when all its children have been cloned */
size_t chains_installed(const struct chains *chains, const struct stub *stub);
