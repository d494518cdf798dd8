/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/smaps (or maps), proc_pid_smaps(5): one entry per mapping. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct proc_map {
	uint64_t start, end; /* addresses in the task */
	bool read, write, exec, shared;
	uint64_t offset; /* bytes into the file */
	dev_t dev;
	uint64_t inode;
	char *name;          /* path, "[heap]", "[anon:...]"; octal escapes undone; "" if none */
	char (*vm_flags)[3]; /* words of VmFlags, "rd" "mr"...; NULL when parsed from maps */
	size_t n_vm_flags;
	uint64_t kernel_page_size;                  /* bytes; from smaps only */
	uint64_t rss, pss, swap, locked, anonymous; /* bytes; from smaps only */
	uint64_t anon_huge_pages;                   /* likewise */
	int protection_key;                         /* -1 = not shown */
	char unknown[64]; /* the first smaps key that no table knows, empty if none */
};

/* whether VmFlags has the word */
bool proc_map_flag(const struct proc_map *map, const char *word);

/*
 * parses the text of maps or smaps; the array and what it holds is the caller's: proc_maps_free()
 */
int proc_maps_parse(const char *text, struct proc_map **ret, size_t *ret_n, struct error *err);
void proc_maps_free(struct proc_map *maps, size_t n);
