/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: shared anonymous memory without a descriptor, for which map_files would take
 * CAP_CHECKPOINT_RESTORE: as the mappings of tasks that are held show it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proc/pagemap.h"
#include "util/error.h"

struct checkpoint;
struct object;
struct proc_map;
struct task;

struct shmem_seen {
	struct shmem_view {
		const struct task *task;
		uint64_t start, size, offset;
		bool swapped; /* some of it; which pages nobody tells */
	} * views;
	size_t n_views;
	struct page_range *pages; /* that exist, by offset; once it has been judged */
	size_t n_pages;
};

void shmem_seen_add(struct shmem_seen *seen, const struct task *task, const struct proc_map *map);
/*
 * Finds how large it is and which pages it has. Refuses it if nobody has mapped all of it: what is
 * not mapped cannot be seen.
 */
int shmem_seen_judge(struct checkpoint *c, struct shmem_seen *seen, uint64_t *ret_size,
                     struct error *err);
int shmem_seen_save(struct checkpoint *c, const struct object *object,
                    const struct shmem_seen *seen, struct error *err);
void shmem_seen_done(struct shmem_seen *seen);
