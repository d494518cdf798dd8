/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces, network_namespaces(7), other than the coordinator's: only those that the user
 * declares to stay outside, by --external net:[INO]=NAME, and supplies at restart.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind net_ns_kind;

/* one that a descriptor or bind mount refers to; NULL: the coordinator's own */
int net_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err);
