/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All mount namespaces of the machine that can be seen. */
#pragma once

#include "mount/table.h"

/**
 * mount_scan() - read every mount namespace that is not in @known
 * What cannot be read completely is left out: its owner may not be ours to look at. Those
 * that no process is in are found from Linux 6.15 on, by who is in the initial pid namespace.
 */
int mount_scan(struct mount_table *t, const struct mount_table *known, struct error *err);
