/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind prctl: what a checkpoint asks (collect.c), and restart (prctl.c). */
#pragma once

#include <linux/membarrier.h>
#include <sys/prctl.h>

#include "kind/prctl.h"
#include "prctl.pb-c.h"

#define MEMBARRIER_REGISTERS                                   \
	((uint32_t)MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |  \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |           \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ)
#define THP_DISABLE_ALL  1u
#define MDWE_ALL         ((uint32_t)(PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT))
#define DUMPABLE_BY_ROOT 2u /* SUID_DUMP_ROOT, which prctl(2) cannot set */
#define COREDUMP_FILTER  0x1ffu

enum { N_SPECULATIONS = 3 };
extern const unsigned prctl_speculations[N_SPECULATIONS]; /* PR_SPEC_* */
/* where the state of one of them is kept */
uint32_t *prctl_speculation(PrctlState *s, size_t i);
/* ours, as a number; negative: the kernel has no such thing */
int prctl_own_speculation(size_t i);

/* operation of the kind, see kind.h */
int prctl_collect(struct checkpoint *c, struct task *task, struct error *err);
