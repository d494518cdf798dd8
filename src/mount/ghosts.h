/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: inodes that have no name, or none that is mounted: mounts show what has been deleted.
 * While everything is built they lie in a directory of ours at the root of their file system, named
 * "1", "2"...; in the end each gets its old name for a moment and loses it.
 */
#pragma once

#include "mount/build.h"

/* that directory, made for the superblock, empty: O_RDONLY, lent */
int mount_ghosts_open(struct mount_build *b, size_t sb, int *ret_fd, struct error *err);
/*
 * When all of them have come. A symbolic link among them stands for what it leads to, from the root
 * of the file system, and is replaced by that. Mounts that show a file whose directory is mounted
 * nowhere have it under its name afterwards.
 */
int mount_ghosts_place(struct mount_build *b, size_t sb, struct error *err);
/*
 * Opens one of them, O_PATH, under the name @path from the root of the file system, which it has
 * for that moment; if that is taken, under another one there. @folder: the directory of it, through
 * the mount that it is to be open on. The caller's; -1 with errno.
 */
int mount_ghosts_show(const struct mount_build *b, size_t sb, uint32_t ghost, const char *path,
                      int folder);
/* takes all names away; nothing is left of the directory */
int mount_ghosts_bury(struct mount_build *b, size_t sb, struct error *err);
/* closes what it has open of them, which keeps it in being; after content_settle() */
void mount_ghosts_forget(struct mount_build *b);
