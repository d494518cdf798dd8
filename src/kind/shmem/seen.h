/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: shared memory, or a deleted file, without a descriptor, for which map_files would
 * take CAP_CHECKPOINT_RESTORE: as the shared mappings of tasks that are held show it.
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
		bool unclear; /* which pages of it exist: then all are saved */
	} * views;
	size_t n_views;
	struct page_range *pages; /* that exist, by offset; once it has been judged */
	size_t n_pages;
};

/* @in_memory: it is of a tmpfs, so that what is neither in memory nor swapped does not exist */
void shmem_seen_add(struct shmem_seen *seen, const struct task *task, const struct proc_map *map,
                    bool in_memory);
/*
 * Finds how large it is and which pages it has. Refuses it if nobody has mapped all of it: what is
 * not mapped cannot be seen. @what it is, for messages
 */
int shmem_seen_judge(struct checkpoint *c, struct shmem_seen *seen, const char *what,
                     uint64_t *ret_size, struct error *err);
uint64_t shmem_seen_bytes(const struct shmem_seen *seen);
int shmem_seen_save(struct checkpoint *c, const struct object *object,
                    const struct shmem_seen *seen, struct error *err);
void shmem_seen_done(struct shmem_seen *seen);
