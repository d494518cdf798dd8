/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mappings of an overlay's file from before it was written to first. The kernel copies it to the
 * upper layer then: who opens it or reads from a descriptor sees the copy, but what was mapped goes
 * on showing the file of the lower layer (Documentation/filesystems/overlayfs.rst, "Non-standard
 * behavior"). No path leads there, and /proc shows nothing of it: the pages do.
 */
#pragma once

#include "kind/kind.h"
#include "proc/maps.h"

/* whether @fd, O_PATH or not, is of an overlay: a descriptor for reading, the caller's; or -1 */
int mm_open_merged(struct checkpoint *c, int fd);
/**
 * mm_judge_copied_up() - whether a mapping shows the file that is found under its name
 * @merged:	from mm_open_merged()
 * -EOPNOTSUPP: @err is a refusal. A page that is mapped is compared: by its frame, or without
 * CAP_SYS_ADMIN all that are by their contents. Where none is, one is read.
 */
int mm_judge_copied_up(const struct task *task, const struct proc_map *map, int merged,
                       struct error *err);
