/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stat(2) that asks nobody: of a file on FUSE whose server is held itself an answer would never
 * come. What is remembered of it does; that can be old, or nothing but type and inode.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

/* as fstatat(2), with AT_STATX_DONT_SYNC and AT_NO_AUTOMOUNT */
int still_stat(int dir, const char *path, int flags, struct stat *ret);
int still_fstat(int fd, struct stat *ret);
/*
 * Whether the file system of @fd tells anything about itself within a second. For one of which
 * nothing else says what it is: one that asks a server which is held itself does not. A child asks,
 * which holds nothing of ours, and is killed.
 */
bool still_answers(int fd);
/* whether a socket, of any network namespace, is bound to the node @fd; it does not notice */
bool still_is_bound(int fd);
