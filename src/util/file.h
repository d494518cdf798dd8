/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the kernel's: texts that are made while they are read, and small ones that take a value.
 */
#pragma once

#include <sys/types.h>

#include "util/error.h"

/**
 * file_read() - read a file to its end
 * @dir:	what @path is relative to, or AT_FDCWD
 * @ret:	the text, with a NUL behind it; the caller's
 * Returns its length, or -errno.
 */
ssize_t file_read(int dir, const char *path, char **ret);
/*
 * gives what @fd (O_PATH will do) refers to that owner and mode, unless it has them. In a user
 * namespace of our own the kernel's root has no name, and stays. -errno
 */
int file_give(int fd, uid_t uid, gid_t gid, mode_t mode);
/* writes a text in one go to a file that is there: printf */
int file_write(const char *path, struct error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
