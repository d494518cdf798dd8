/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts in namespaces of the set. */
#include "kind/mount.h"

#include "kind/mounts/parts.h"
#include "mount.pb-c.h"

const struct kind mount_kind = {
	.name = "mount",
	.number = 72,
	.message = &mount_state__descriptor,
	.judge = mount_judge,
	.save = mount_save,
	.validate = mount_validate,
	.preflight = mount_preflight,
	.restore = mount_restore,
};
