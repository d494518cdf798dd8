/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UTS namespaces: host name and domain name. uts_namespaces(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind uts_ns_kind;

/* one that a descriptor or bind mount refers to; NULL: the coordinator's own */
int uts_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err);
