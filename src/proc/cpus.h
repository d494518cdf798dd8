/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of CPUs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CPUS_BYTES 1024 /* 8192 CPUs, NR_CPUS of the largest kernels */

/* bit 0 of byte 0 = CPU 0 */
struct cpus {
	uint8_t mask[CPUS_BYTES];
};

/* "0-3,8": cpuset(7), List format; false when it is not of that form */
bool cpus_parse(const char *text, struct cpus *ret);
/* the CPUs that are online here; 0 or -errno */
int cpus_online(struct cpus *ret);
/* the affinity of a thread, sched_getaffinity(2); 0 or -errno */
int cpus_of_task(pid_t tid, struct cpus *ret);
/*
 * Whether @cpus is what a thread has that asked for nothing: all that are online, or all of its
 * cpuset. @tid: in our pid namespace.
 */
bool cpus_are_all(const struct cpus *cpus, pid_t tid);
