/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of VmFlags, proc_pid_smaps(5): what each means for a checkpoint. */
#pragma once

#include <stdint.h>

#include "proc/maps.h"
#include "util/error.h"

/* what is saved of a mapping's VmFlags: bits of MmState.Mapping.flags; never renumbered */
enum mm_flag {
	MM_SHARED = 1 << 0,       /* sh or MAP_SHARED of a file opened for reading */
	MM_GROWSDOWN = 1 << 1,    /* gd */
	MM_LOCKED = 1 << 2,       /* lo */
	MM_SEQUENTIAL = 1 << 3,   /* sr */
	MM_RANDOM = 1 << 4,       /* rr */
	MM_DONTFORK = 1 << 5,     /* dc */
	MM_NORESERVE = 1 << 6,    /* nr */
	MM_HUGETLB = 1 << 7,      /* ht */
	MM_WIPEONFORK = 1 << 8,   /* wf */
	MM_DONTDUMP = 1 << 9,     /* dd */
	MM_HUGEPAGE = 1 << 10,    /* hg */
	MM_NOHUGEPAGE = 1 << 11,  /* nh */
	MM_MERGEABLE = 1 << 12,   /* mg */
	MM_SEALED = 1 << 13,      /* sl */
	MM_DROPPABLE = 1 << 14,   /* dp */
	MM_LOCKONFAULT = 1 << 15, /* lf */
	MM_ACCOUNTED = 1 << 16,   /* ac: it was writable once */
	MM_MAY_WRITE = 1 << 17,   /* mw: for shared files, opened for writing */
	MM_FLAGS_ALL = (1 << 18) - 1,
};

/**
 * mm_flags() - the saved flags of a mapping
 * @kernel:	it is the kernel's own ([vdso], [vvar]): pf, io and de are then as they must be
 * Returns 0; -EOPNOTSUPP with the refusal (unknown.state for a word that no table has).
 */
int mm_flags(const struct proc_map *map, bool kernel, uint64_t *ret, struct error *refusal);
