/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What another user has put into the set's pid namespaces, nsenter(1): we may not look at it, not
 * even at its namespaces, but it ends with them.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "util/error.h"

/**
 * unseen_find() - the processes in the set's pid namespaces that we may not look at
 * @set:	the processes of the set; what is below the pid namespaces of these counts, ours not
 * @ret:	on the heap, in no order; children of the set are among them, dead ones only if
 *their state is hidden, too None where we may look at all. -EPERM: nothing tells on this kernel
 *whether there are any.
 */
int unseen_find(const pid_t *set, size_t n, pid_t **ret, size_t *ret_n, struct error *err);
