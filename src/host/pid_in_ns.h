/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which processes have a pid in a pid namespace, asked without looking at the processes: for those
 * whose /proc/PID/ns belongs to somebody else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/error.h"

/**
 * pids_in_ns() - for each of @pids whether it is in a pid namespace, or below it
 * @nsfd:	the namespace; one below ours
 * @pids:	numbers of our pid namespace, of processes
 * @ret:	as many; what has ended meanwhile is not in it
 * By NS_GET_PID_IN_PIDNS (6.11); before, by a helper inside (which is the namespace's next pid):
 * pidfd_send_signal(2) with signal 0 says EINVAL of what is not visible there. Errors: -EPERM the
 * namespace may not be entered.
 */
int pids_in_ns(int nsfd, const pid_t *pids, size_t n, bool *ret, struct error *err);

/**
 * ns_list_pids() - all processes in a pid namespace, or below it
 * @nsfd:	the namespace, one below ours
 * @ret:	an array that they are appended to, in numbers of our pid namespace
 * By a new mount of proc, which hides nothing. Errors: -EPERM the namespace may not be entered, or
 * its proc not be mounted; before Linux 6.11 (NS_GET_PID_FROM_PIDNS), too.
 */
int ns_list_pids(int nsfd, pid_t **ret, size_t *ret_n, struct error *err);
