/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A restart by a user without CAP_SYS_ADMIN: what needs rights over namespaces is done in a user
 * namespace of the restart's own, which it enters before anything is made and where it has all
 * capabilities. Ids are there what they are outside, those that the user may map, so that nothing
 * else need know of it; the user namespaces of the image are made below it.
 */
#pragma once

#include "core/restart.h"
#include "util/error.h"

/* for a tree with a pid namespace of its own; does nothing if we have CAP_SYS_ADMIN */
int own_user_enter(struct restart *r, struct error *err);
