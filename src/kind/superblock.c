/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File systems that are mounted in namespaces of the set. */
#include "kind/superblock.h"

#include "kind/mounts/parts.h"
#include "superblock.pb-c.h"

const struct kind superblock_kind = {
	.name = "superblock",
	.number = 70,
	.message = &superblock_state__descriptor,
	.judge = superblock_judge,
	.survey = superblock_survey,
	.save = superblock_save,
	.save_bulk = superblock_save_bulk,
	.validate = superblock_validate,
	.preflight = superblock_preflight,
	.restore = superblock_restore,
};
