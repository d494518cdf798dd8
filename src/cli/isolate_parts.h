/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two files of run --isolate know of each other. */
#pragma once

#include "mount/table.h"

/* a new file system, not yet attached; @options is "key=value,key=value" */
int isolate_make_fs(const char *type, const char *options, unsigned attributes, struct error *err);
/* whether it is of a tmpfs or something else that would be shared with the host */
bool isolate_in_memory(const struct mount_table *t, const struct mount_entry *e);
/* a root like the host's, attached over it, that a user can make; its directory */
int isolate_own_root(struct error *err);
