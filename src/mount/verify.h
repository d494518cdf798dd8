/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether what was built is what was to be built. */
#pragma once

#include "mount/table.h"

struct mount_build;

/**
 * mount_verify() - read the new namespaces back and compare them with the table
 * Ids are compared by what they relate: parents, superblocks, groups. An error names the mount and
 * the field (mount.differs).
 */
int mount_verify(const struct mount_build *b, struct error *err);
/*
 * The same for two tables of the same namespaces in the same order; @external: superblocks of class
 * external and singleton may differ in all but their type. For tests, too.
 */
int mount_compare(const struct mount_table *want, const struct mount_table *have, bool external,
                  struct error *err);
