/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals whose other end is outside the set: the window a shell runs in, the pty of `stasis
 * run`. At a foreground restart the new pty takes the place of one, others come from --external.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind tty_kind;

/*
 * For the engine, when the coordinator leads the session of the new pty (terminal_run()): before
 * the first clone it takes the pty as its controlling terminal, unless a session of the tree does.
 */
int tty_lead_session(struct restart *r, struct error *err);
/* and before the launch gives the foreground to the tree */
int tty_give_foreground(struct restart *r, struct error *err);

/* checkpoint: whether a task of the set has that one of a devpts open */
bool tty_is_known(struct checkpoint *c, dev_t filesystem, dev_t device);
/* restart: whether it is going to be made */
bool tty_is_made(const struct restart *r, uint32_t superblock, unsigned number);
