/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restart --new-pidns: the tree gets a pid namespace of its own. If its root was pid 1 it is the
 * namespace's init again; otherwise an init of ours reaps what is orphaned, and ends with the last
 * task.
 */
#pragma once

#include "core/restart.h"
#include "util/error.h"

/* whether the root itself will be pid 1 */
bool pidns_root_is_init(const struct restart *r);
/* makes the namespace with our init, unless the root is it; children of ours then go into it */
int pidns_enter(struct restart *r, struct error *err);
/* children of ours go where we are again */
int pidns_leave(struct restart *r, struct error *err);
/* finds host_tid of the stubs that @parent has cloned since */
int pidns_resolve(struct restart *r, const struct stub *parent, struct error *err);
/* before the launch: our init now lives until the tree has ended, whatever becomes of us */
int pidns_release(struct restart *r, struct error *err);
/* kills and reaps our init, and with it all in the namespace */
void pidns_undo(struct restart *r);
