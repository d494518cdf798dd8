/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What writing and playing back a journal share. A record is a letter, for inodes their device and
 * number in hex, the path and a NUL. Where only a handle leads to the folder, "b", the device, the
 * type of the handle and the handle in hex come before all that, and the path is a slash and the
 * name. That a tree is about to run is "t", the inode of our pid namespace, the pid and the start
 * time of its root, in hex, with colons.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

#define JOURNAL_SIZE_MAX (16u << 20)
#define BELOW_LETTER     'b'
#define TREE_LETTER      't'

extern const char journal_letters[]; /* by enum journal_effect */

/* the folder of all journals; the caller frees it */
char *journal_folder(void);
/* in /tmp anybody may have made it: -EPERM unless it is ours, and nobody else's to write to */
int journal_open_folder(const char *path, int *ret_fd, struct error *err);
/*
 * What tells a process from another that has its pid later: our pid namespace and when it was
 * started, in clock ticks; its state as in /proc/PID/stat (@ret_state may be NULL). False: there is
 * none.
 */
bool journal_process(pid_t pid, uint64_t *ret_pidns, uint64_t *ret_start, char *ret_state);
