/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/status, proc_pid_status(5). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

#define PROC_NS_LEVELS 33 /* MAX_PID_NS_LEVEL of the kernel, and the first */

struct proc_status {
	uint32_t umask;
	bool has_umask; /* zombies have none */
	pid_t tracer_pid;
	uint32_t uid[4], gid[4]; /* real, effective, saved, fs; in the reader's user namespace */
	size_t n_ns_pids;
	pid_t ns_tgid[PROC_NS_LEVELS], ns_pid[PROC_NS_LEVELS], ns_pgid[PROC_NS_LEVELS],
		ns_sid[PROC_NS_LEVELS];
	uint64_t sig_pending, shared_pending, sig_blocked, sig_ignored,
		sig_caught; /* bit 0 = signal 1 */
	uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
	bool no_new_privs;
	uint32_t seccomp, seccomp_filters;
	int thp_enabled;     /* 1 unless PR_SET_THP_DISABLE; -1 = not shown */
	uint64_t untag_mask; /* LAM: ~0 when off */
	char speculation_store_bypass[48], speculation_indirect_branch[48];
	char x86_thread_features[64],
		x86_thread_features_locked[64]; /* shadow stack: "shstk wrss" */
	uint64_t threads;
};

/*
 * Parses the whole text. A key that is not in the table of known keys (saved, derived or
 * irrelevant, with the reason, in status.c) is reported: *ret_unknown is set to its name (a static
 * buffer is not used; room for 64 bytes), empty when there is none. -EBADMSG when the text is
 * malformed.
 */
int proc_status_parse(const char *text, struct proc_status *ret, char ret_unknown[64],
                      struct error *err);
