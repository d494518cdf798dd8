/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File systems that are mounted in namespaces of the set. kind/mounts/mounts.h has the whole. */
#pragma once

#include "kind/kind.h"

extern const struct kind superblock_kind;

/*
 * checkpoint: the one of that number, if it is made again at restart, as far as is known; else NULL
 */
struct object *superblock_of_set(struct checkpoint *c, dev_t device);
/* restart, after its restore(): its root, lent; -1: it is not made */
int superblock_fd(const struct restart *r, const struct object *object);
