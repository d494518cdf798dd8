/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The root stub, and others that have no parent in the set: a fork of the coordinator that throws
 * away everything of it. */
#pragma once

#include "core/restart.h"
#include "util/error.h"

struct stub;

/*
 * Clones the root stub, or after it one that has entered its pid namespace from outside, by the
 * calling thread, which must live until tracer_adopt(). Returns when the stub has nothing of the
 * coordinator's left but the stub area, vDSO and socket, has all signals blocked, and dies with the
 * coordinator; then it is adopted by r->tracer, if there is one.
 */
int root_clone(struct restart *r, struct stub *stub, struct error *err);
