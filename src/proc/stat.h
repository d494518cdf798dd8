/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/stat, proc_pid_stat(5). */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct proc_stat {
	pid_t pid, ppid, pgrp, session;
	char comm[64];
	char state; /* R S D Z T t X I */
	uint32_t tty_nr;
	pid_t tpgid;
	uint64_t flags; /* PF_* */
	int64_t priority, nice, num_threads;
	uint64_t starttime; /* clock ticks since boot; with the pid it identifies a process */
	uint64_t start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
	int exit_signal, exit_code; /* exit_code in waitpid(2)'s form */
	uint32_t rt_priority, policy;
};

/* parses the whole text; -EBADMSG with @err when it is not of that form */
int proc_stat_parse(const char *text, struct proc_stat *ret, struct error *err);
