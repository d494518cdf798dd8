/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: the file behind a mapping, whatever it is called by now. */
#pragma once

#include "kind/kind.h"
#include "proc/maps.h"

struct mm_file {
	char *link;   /* its exact name, which links under /proc show without escapes */
	char *source; /* a link under /proc */
};

/* our own O_PATH reference to it, the caller's; -1 with errno. mm_file_done(f) in both cases */
int mm_file_open(struct checkpoint *c, const struct task *task, const struct proc_map *map,
                 struct mm_file *f);
void mm_file_done(struct mm_file *f);
