/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/fdinfo/N, proc_pid_fdinfo(5). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct proc_lock {      /* a "lock:" line, see proc_locks(5) */
	char type[8];   /* POSIX FLOCK OFDLCK LEASE */
	char mode[12];  /* ADVISORY MANDATORY; leases: ACTIVE BREAKING BREAKER */
	char access[8]; /* READ WRITE UNLCK */
	pid_t pid;      /* -1 for OFD locks */
	uint64_t device, inode;
	uint64_t start, end; /* end UINT64_MAX = EOF */
};

struct proc_fdinfo {
	int64_t pos;
	uint32_t flags; /* O_*, O_CLOEXEC of the descriptor included */
	uint32_t mnt_id;
	uint64_t ino;
	struct proc_lock *locks; /* owned: proc_fdinfo_done() */
	size_t n_locks;
	char unknown[64]; /* the first key that no table knows ("eventfd-count"...), empty if none
	                   */
};

/* "POSIX  ADVISORY  WRITE 255 08:04:1234 0 EOF": a lock without its number */
bool proc_lock_parse(const char *text, struct proc_lock *ret);
int proc_fdinfo_parse(const char *text, struct proc_fdinfo *ret, struct error *err);
void proc_fdinfo_done(struct proc_fdinfo *info);
