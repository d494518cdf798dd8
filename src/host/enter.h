/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Into namespaces, with the rights of their owner. setns(2) wants CAP_SYS_ADMIN here as well as
 * there. Who has made a user namespace has all capabilities there, and none here: he goes into that
 * first, and into what belongs to it from there. That is one-way, so it is for helpers only
 * (host/helper.h); and ids are those of the user namespace from then on.
 */
#pragma once

#include <stdbool.h>

/* whether it is the one that we are in; @link: of /proc/PID/ns */
bool namespace_is_own(int nsfd, const char *link);

/* whether the kernel lets us: CAP_SYS_ADMIN, or a user namespace of ours owns it or is above */
bool namespace_may_enter(int nsfd);

/* setns(2), and as its owner where that is refused. @type: CLONE_NEW*; 0 any. -1 with errno. */
int namespace_enter(int nsfd, int type);

/* into the user namespace that owns it, unless we are there; -1 with errno */
int namespace_enter_owner(int nsfd);
