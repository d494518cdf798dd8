/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: an address space that is looked at. Its parts: collect.c, map_file.c. */
#pragma once

#include "kind/mm.h"
#include "kind/mm/mm.h"

struct proc_map;

/* one collection at work */
struct collector {
	struct checkpoint *c;
	struct task *task;
	MmState *state;
	struct mm *mm;
	struct object *last; /* what the mapping before this one maps: mostly the same file */
	dev_t last_dev;
	uint64_t last_inode;
	char *last_name; /* not owned */
	int file;        /* that file, O_PATH; -1: no regfile */
	bool noexec;     /* that file is on a mount with this flag */
	int merged;      /* that file open for reading, if it is an overlay's; -1 otherwise */
};

/* @refusal: which this says what mapping it is about */
void mm_refuse_mapping(struct collector *l, const struct proc_map *map, struct error *refusal);

/*
 * map_file.c: fills @m with the object that is mapped. What is wrong with a mapping is refused, and
 * the walk goes on; an error is one of reading.
 */
int mm_collect_file(struct collector *l, struct proc_map *map, Mapping *m, struct error *err);
/* a System V segment, of the task's IPC namespace if that goes along; or it is refused */
void mm_collect_segment(struct collector *l, struct proc_map *map, Mapping *m);
