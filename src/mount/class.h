/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How superblocks are treated: by what else they are mounted in, and by type. */
#pragma once

#include "mount/table.h"

/* by a superblock's type alone; MOUNT_REFUSED for those that are not known */
enum mount_class mount_class_of_type(const char *type);
/*
 * Sets the class of every superblock of @t. Those that are mounted in @outside, too, are external:
 * what is shared with others is never copied.
 */
void mount_classify(struct mount_table *t, const struct mount_table *outside);
