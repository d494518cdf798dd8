/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ways to read a mount namespace into a table: statmount(2), from outside, with all there
 * is to know; and mountinfo, by a helper that enters it. Both append to the table's mounts and
 * superblocks what mount_table_relate() then puts in relation.
 */
#pragma once

#include <sys/types.h>

#include "util/error.h"

struct mount_table;

/* @nsfd: the namespace; @member: a process in it, 0: none is known */
int mount_read_statmount(struct mount_table *t, int nsfd, pid_t member, struct error *err);
int mount_read_mountinfo(struct mount_table *t, int nsfd, pid_t member, struct error *err);
/* its text, which is cut into pieces; refuses what it does not know */
int mount_parse_mountinfo(struct mount_table *t, char *text, struct error *err);
/* mount.hidden: -EOPNOTSUPP */
int mount_refuse_hidden(struct error *err);
/* cuts "//deleted" off a root's path; whether it was there */
bool mount_cut_deleted(char *path);
